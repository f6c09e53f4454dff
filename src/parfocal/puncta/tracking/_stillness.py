"""Whether a track moves at all: its radius of gyration over its steps, against what does not move."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.puncta.tracking._steps_kernel import scaled_radii

Floats = NDArray[np.float64]

MIN_POINTS = 20
"""Shorter tracks are not judged: a short walk cannot be told from noise."""

_GRID_RATIO = 1.2
_LONGEST = 500
_TAIL_DRAWS = 60


def stillness_p(scaled_radius: ArrayLike, n_points: ArrayLike, false_mobile_rate: float = 0.01) -> Floats:
    """Return how often a punctum that does not move has a scaled radius of gyration as large.

    The scaled radius sqrt(pi/2) Rg / <step> of a still punctum that is localized with normal errors does not
    depend on how large they are: 1 on average, with a spread that goes as 1 / sqrt(n). So what a track of n points
    may have by chance is drawn once (seeded) and kept; between lengths drawn, `(value - 1) sqrt(n)` is compared.

    Parameters
    ----------
    scaled_radius : array_like of float
    n_points : array_like of int
        Localizations of each track, 3 or more.
    false_mobile_rate : float
        The rate that will be judged by; the draws are enough for its tail.

    Returns
    -------
    ndarray of float64
        In (0, 1]; NaN where the radius is NaN.
    """
    values, n = np.broadcast_arrays(np.asarray(scaled_radius, float), np.asarray(n_points))
    out = np.full(values.shape, np.nan)
    for length in np.unique(n):
        chosen = (n == length) & np.isfinite(values)
        if length < 3 or not chosen.any():
            continue
        null = _null(_drawn_length(int(length)), _n_draws(false_mobile_rate))
        excess = (values[chosen] - 1) * math.sqrt(length)
        above = null.size - np.searchsorted(null, excess, side="left")
        out[chosen] = (above + 1) / (null.size + 1)
    return out


@lru_cache(maxsize=4096)
def scaled_radius_cut(n_points: int, false_mobile_rate: float = 0.01) -> float:
    """Return the scaled radius of gyration that a still punctum exceeds at `false_mobile_rate`.

    Raises
    ------
    BadInputError
        Fewer than 3 points, or a rate outside of 0 to 0.5.
    """
    if n_points < 3:
        raise BadInputError(f"scaled radius: {n_points} points, expected 3 or more")
    null = _null(_drawn_length(n_points), _n_draws(false_mobile_rate))
    return 1 + float(np.quantile(null, 1 - false_mobile_rate)) / math.sqrt(n_points)


def _n_draws(rate: float) -> int:
    if not 0 < rate < 0.5:
        raise BadInputError(f"scaled radius: false_mobile_rate is {rate}, expected more than 0 and less than 0.5")
    return min(max(4000, math.ceil(_TAIL_DRAWS / rate)), 100_000)


def _drawn_length(n: int) -> int:
    """Return the nearest length for which draws are kept."""
    if n <= MIN_POINTS:
        return n
    steps = round(math.log(n / MIN_POINTS) / math.log(_GRID_RATIO))
    return min(round(MIN_POINTS * _GRID_RATIO**steps), _LONGEST)


@lru_cache(maxsize=64)
def _null(n: int, n_draws: int) -> Floats:
    rng = np.random.default_rng(n)
    parts: list[Floats] = []
    block = max(1, 1_000_000 // n)
    for begin in range(0, n_draws, block):
        y, x = rng.standard_normal((2, min(block, n_draws - begin), n))
        parts.append(np.asarray(scaled_radii(y, x)))
    drawn = np.sort((np.concatenate(parts) - 1) * math.sqrt(n))
    drawn.setflags(write=False)
    return drawn


def motion_p(scaled_radius: float, n_points: int, step_over_error2: float) -> float:
    """Return how often a punctum that diffuses has a scaled radius of gyration as small.

    Parameters
    ----------
    scaled_radius : float
    n_points : int
    step_over_error2 : float
        2 D times the frame interval over the squared localization error.
    """
    # a little less motion than told: few draws are kept, and doubt speaks for motion
    grid = math.floor(4 * math.log10(min(max(step_over_error2, 1e-3), 1e3)))
    drawn = _diffusing(_drawn_length(n_points), grid)
    return (int(np.searchsorted(drawn, scaled_radius, side="right")) + 1) / (drawn.size + 1)


@lru_cache(maxsize=256)
def _diffusing(n: int, grid: int) -> Floats:
    rng = np.random.default_rng((n, grid + 100))
    step = math.sqrt(10 ** (grid / 4))
    n_draws = min(4000, 1_000_000 // n)
    y, x = np.cumsum(step * rng.standard_normal((2, n_draws, n)), axis=-1) + rng.standard_normal((2, n_draws, n))
    return np.sort(np.asarray(scaled_radii(y, x)))
