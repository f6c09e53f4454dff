"""Where spots are that stand alone, and how well that is known: by their own widths, or by the common one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting import PsfFits
from parfocal.puncta.detection._uncertainty import with_next_order

Floats = NDArray[np.float64]

_OTHER_WIDTH = 9.0
"""A spot whose own width takes so much off its deviance, three standard deviations, is not like the others."""


def own_places(fits: Any) -> dict[str, Floats]:
    """Return columns of places and their standard errors, px, as each spot's own picture tells them."""
    variances = np.diagonal(fits.covariance, axis1=1, axis2=2)
    return {
        "x_px": fits.x_px,
        "y_px": fits.y_px,
        "x_se_px": with_next_order(np.sqrt(variances[:, 0]), fits.photons, np.sqrt(variances[:, 2])),
        "y_se_px": with_next_order(np.sqrt(variances[:, 1]), fits.photons, np.sqrt(variances[:, 2])),
    }


def places_of_common_width(
    fits: PsfFits, tied: PsfFits, at: NDArray[np.int64], radius_px: int
) -> dict[str, Floats]:
    """Return those columns with places by fits that were drawn to the width of the others.

    A place and a width are told by different pixels: of a symmetric spot a wrong width puts no bias on its
    place, and so a dim one gains by the others' width whatever its own is. Its light does not: photons and width
    stay what its own picture says. A spot that another width fits much better, or that is drawn away from its
    candidate `at` (y, x), keeps its own place.
    """
    near = (np.abs(tied.x_px - at[:, 1]) <= radius_px) & (np.abs(tied.y_px - at[:, 0]) <= radius_px)
    drawn = tied.is_mle & near & ~(tied.deviance - fits.deviance > _OTHER_WIDTH)
    own, common = own_places(fits), own_places(tied)
    return {name: np.where(drawn, common[name], own[name]) for name in own}
