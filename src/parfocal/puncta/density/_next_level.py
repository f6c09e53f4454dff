"""From the densities that some levels of light gave to the level to try next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from parfocal.puncta.density._density_range import DensityRange

_LARGEST_STEP = 4.0
_SMALLEST_STEP = 1.25


def next_level(
    tried: Sequence[tuple[float, float]], wanted: DensityRange, lowest: float, highest: float
) -> float | None:
    """Return the level of light to try next; None where the last was right or nothing better is left to try.

    More light shows more spots. Between a level that gave too few and one that gave too many, the next is their
    geometric mean; while only one side is known, density is taken to be proportional to light, and the step to be
    at most 4 and at least 1.25 times.

    Parameters
    ----------
    tried : sequence of (level, density)
        In the order they were tried; not empty.
    wanted : DensityRange
    lowest, highest : float
        Levels that can be had, above 0.

    Examples
    --------
    >>> next_level([(0.1, 8.0)], DensityRange(1.0, 3.0), 0.001, 1.0)
    0.025
    >>> next_level([(0.1, 8.0), (0.025, 0.5)], DensityRange(1.0, 3.0), 0.001, 1.0)
    0.05
    """
    level, density = tried[-1]
    wrong = wanted.says(density)
    if not wrong:
        return None
    too_low = [at for at, was in tried if wanted.says(was) == "too few"]
    too_high = [at for at, was in tried if wanted.says(was) == "too many"]
    if too_low and too_high and max(too_low) < min(too_high):
        low, high = max(too_low), min(too_high)
        return math.sqrt(low * high) if high / low > 1.01 else None
    # One side is known, or the sample has changed since (it bleaches): the last look is what holds.
    middle = 0.5 * (wanted.low_per_um2 + wanted.high_per_um2)
    factor = min(max(middle / density, 1 / _LARGEST_STEP), _LARGEST_STEP) if density > 0 else _LARGEST_STEP
    factor = max(factor, _SMALLEST_STEP) if wrong == "too few" else min(factor, 1 / _SMALLEST_STEP)
    proposed = min(max(level * factor, lowest), highest)
    return None if math.isclose(proposed, level, rel_tol=1e-6) else proposed
