"""What is judged, in one form: true puncta, hand-made labels or another program's table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta._localizations import Localizations
from parfocal.puncta._truth import PunctaTruth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a recording; `row` says where each stood in its table."""

    row: Ints
    frame: Ints
    x_um: Floats
    y_um: Floats
    z_um: Floats
    photons: Floats


def points_of(table: PunctaTruth | Localizations) -> Points:
    """Return the points of a table; of a truth, those that can be seen."""
    size_y, size_x = table.pixel_size_um
    rows = np.arange(len(table.frame))
    if isinstance(table, PunctaTruth):
        rows = np.flatnonzero(table.is_visible)
    return Points(
        rows.astype(np.int64),
        np.asarray(table.frame, np.int64)[rows],
        np.asarray(table.x_px, np.float64)[rows] * size_x,
        np.asarray(table.y_px, np.float64)[rows] * size_y,
        np.asarray(table.z_um, np.float64)[rows],
        np.asarray(table.photons, np.float64)[rows],
    )
