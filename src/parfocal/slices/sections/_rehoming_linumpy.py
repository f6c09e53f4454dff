"""linumpy's two passes over the steps, number for number: for comparison only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.slices.sections._positions import FloatArray, less_tile_steps


def linumpy_rehoming(
    step_mm: FloatArray, max_shift_mm: float, return_fraction: float, tile_mm: FloatArray | None, tolerance: float
) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.bool_]]:
    """Return corrected steps, tile steps taken out, and which rows its second pass changed.

    The second pass goes through the rows in order and mends in place, so the second half of a pair is compared
    with a first half that has been mended already, and stays.
    """
    before, n_tiles = less_tile_steps(step_mm, tile_mm, tolerance)
    after = before.copy()
    length = np.hypot(before[:, 0], before[:, 1])
    long = length > max_shift_mm
    n = len(after)
    for i in np.flatnonzero(long):
        beside = [j for j in (i - 1, i + 1) if 0 <= j < n]
        if not any(np.hypot(*(after[i] + after[j])) < return_fraction * length[i] for j in beside):
            continue
        ordinary = [j for j in (i - 2, i - 1, i + 1, i + 2) if 0 <= j < n and not long[j]]
        if ordinary:
            after[i] = np.median(after[ordinary], axis=0)
        elif not long.all():
            after[i] = np.median(after[~long], axis=0)
        else:
            after[i] = np.nan
    return after, n_tiles, (after != before).any(axis=1)
