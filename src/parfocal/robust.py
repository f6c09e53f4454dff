"""What a row of numbers is like: its scatter, whatever a few wild ones do, and the longest run in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

MAD_TO_SD = 1.4826
"""Standard deviation of normal values over their median absolute deviation."""


def robust_sd(values: ArrayLike, centre: float | None = None) -> float:
    """Return the standard deviation of the bulk of values: 1.4826 MAD.

    Parameters
    ----------
    values : array_like
        Of any shape; NaN in, NaN out.
    centre : float, optional
        What they deviate from, where it is known; default: their median.

    Returns
    -------
    float
        0 where more than half of the values are equal.
    """
    given = np.asarray(values)
    middle = np.median(given) if centre is None else centre
    return MAD_TO_SD * float(np.median(np.abs(given - middle)))


def longest_run(flags: ArrayLike) -> int:
    """Return how many flags in a row are set at most."""
    set_at = np.flatnonzero(np.diff(np.concatenate(([False], np.asarray(flags, dtype=np.bool_), [False]))))
    return int((set_at[1::2] - set_at[::2]).max(initial=0))
