"""Correlations with gaps, false discoveries, and what chance would do."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_FEWEST = 5


def false_discovery(p: ArrayLike) -> Floats:
    """Return q values by Benjamini and Hochberg: the share of false ones among all that are called at that p.

    NaN stays NaN and does not count as a test.
    """
    values = np.asarray(p, dtype=np.float64)
    q = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return q
    order = known[np.argsort(values[known])]
    scaled = values[order] * known.size / np.arange(1, known.size + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def pearson(a: Floats, b: Floats) -> float:
    """Return the correlation where both are known; NaN of fewer than five, or where one does not vary."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < _FEWEST:
        return np.nan
    x, y = a[known], b[known]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)))


def spearman(a: Floats, b: Floats) -> float:
    """Return the correlation of ranks where both are known."""
    from scipy.stats import rankdata  # slow to import, and only needed here

    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < _FEWEST:
        return np.nan
    return pearson(rankdata(a[known]), rankdata(b[known]))


def lagged(a: Floats, b: Floats, max_lag: int) -> Floats:
    """Return the correlation of `a[t]` with `b[t + lag]` for lag from -max_lag to max_lag."""
    n = a.size
    found = np.full(2 * max_lag + 1, np.nan)
    for k, lag in enumerate(range(-max_lag, max_lag + 1)):
        if abs(lag) < n:
            found[k] = pearson(a[max(0, -lag) : n - max(0, lag)], b[max(0, lag) : n + min(0, lag)])
    return found


def chance_of(observed: float, by_chance: Floats) -> float:
    """Return the one-sided p of a value among those that chance gave; never 0, since the shifts are finite."""
    return float((1 + np.sum(by_chance >= observed)) / (1 + by_chance.size))


def odds_ratio(hits: float, n: int, hits_by_chance: float) -> float:
    """Return the odds of a hit over those by chance; half a case is added to each cell (Haldane)."""
    return ((hits + 0.5) / (n - hits + 0.5)) / ((hits_by_chance + 0.5) / (n - hits_by_chance + 0.5))
