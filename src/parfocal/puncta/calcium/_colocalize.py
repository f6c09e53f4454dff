"""Spots of two channels: how many lie together, and how many would by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.puncta._tracks import CalciumEvents, CalciumTraces
from parfocal.puncta.calcium._statistics import chance_of, odds_ratio

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Colocalization:
    """Spots of channel a and of channel b that are each other's nearest and near enough.

    Parameters
    ----------
    n_a, n_b, n_pairs : int
    fraction_a, fraction_b : float
        Share of each channel in a pair.
    median_distance_um : float
        Of the pairs.
    expected_pairs : float
        Mean over the random shifts.
    odds_ratio, p : float
        Of a spot of `a` being in a pair, against the shifts.
    pairs : int64[n_pairs, 2]
        Rows of a and of b.
    """

    n_a: int
    n_b: int
    n_pairs: int
    fraction_a: float
    fraction_b: float
    median_distance_um: float
    expected_pairs: float
    odds_ratio: float
    p: float
    pairs: NDArray[np.int64]


def colocalize(
    a_um: ArrayLike,
    b_um: ArrayLike,
    max_distance_um: float,
    size_um: tuple[float, float],
    *,
    n_shifts: int = 200,
    seed: int = 0,
) -> Colocalization:
    """Pair spots of two channels, and ask chance by shifting one channel over the other, round the field.

    Parameters
    ----------
    a_um, b_um : array_like of shape (n, 2)
        (y, x) of each spot in one frame of reference.
    max_distance_um : float
    size_um : (float, float)
        Of the field, (y, x). Shifts smaller than twice the distance are not drawn.
    n_shifts, seed : int
    """
    a, b = (np.asarray(given, np.float64).reshape(-1, 2) for given in (a_um, b_um))
    size = np.array(size_um, np.float64)
    if not (max_distance_um > 0 and (size > 4 * max_distance_um).all()):
        raise BadInputError(f"co-localization: {max_distance_um} um in a field of {size_um} um, expected far less")
    pairs, distance = _mutual(a, b, max_distance_um)
    rng = np.random.default_rng(seed)
    shifts = rng.uniform(2 * max_distance_um, size - 2 * max_distance_um, (n_shifts, 2))
    by_chance = np.array([len(_mutual(a, (b + shift) % size, max_distance_um)[0]) for shift in shifts], np.float64)
    n = len(pairs)
    expected = float(by_chance.mean())
    return Colocalization(
        len(a),
        len(b),
        n,
        n / len(a) if len(a) else np.nan,
        n / len(b) if len(b) else np.nan,
        float(np.median(distance)) if n else np.nan,
        expected,
        odds_ratio(n, len(a), expected),
        chance_of(n, by_chance),
        pairs,
    )


def _mutual(a: Floats, b: Floats, reach: float) -> tuple[NDArray[np.int64], Floats]:
    if not (len(a) and len(b)):
        return np.empty((0, 2), np.int64), np.empty(0)
    distance, to_b = (np.asarray(found) for found in KDTree(b).query(a))
    to_a = np.asarray(KDTree(a).query(b)[1])
    rows = np.flatnonzero((to_a[to_b] == np.arange(len(a))) & (distance <= reach))
    return np.column_stack((rows, to_b[rows])).astype(np.int64), distance[rows].astype(np.float64)


@dataclass(frozen=True)
class MobilityContrast:
    """Calcium of mobile puncta beside that of immobile ones; medians over tracks.

    Parameters
    ----------
    n_mobile, n_immobile : int
    rate_mobile_hz, rate_immobile_hz : float
        Events a second of a punctum's own time.
    dff_mobile, dff_immobile : float
        Peak of their events.
    p_rate : float
        Mann-Whitney, two-sided, that the rates do not differ; NaN with fewer than three of either.
    """

    n_mobile: int
    n_immobile: int
    rate_mobile_hz: float
    rate_immobile_hz: float
    dff_mobile: float
    dff_immobile: float
    p_rate: float


def calcium_by_mobility(
    traces: CalciumTraces, events: CalciumEvents, is_mobile: NDArray[np.bool_]
) -> MobilityContrast:
    """Compare the events of mobile and immobile puncta. `is_mobile` has a flag for every track."""
    from scipy.stats import mannwhitneyu  # slow to import, and only needed here

    n_tracks = len(traces.dff)
    if is_mobile.shape != (n_tracks,):
        raise BadInputError(f"mobility: {is_mobile.size} flags for {n_tracks} tracks")
    seconds = np.isfinite(traces.dff).sum(axis=1) * traces.frame_interval_s
    counts = np.bincount(events.track, minlength=n_tracks)
    seen = seconds > 0
    rate = np.divide(counts, seconds, out=np.zeros(n_tracks), where=seen)
    mobile, still = rate[seen & is_mobile], rate[seen & ~is_mobile]
    is_of_mobile = is_mobile[events.track]
    p = float(mannwhitneyu(mobile, still).pvalue) if min(mobile.size, still.size) >= 3 else np.nan
    return MobilityContrast(
        mobile.size,
        still.size,
        _median(mobile),
        _median(still),
        _median(events.peak_dff[is_of_mobile]),
        _median(events.peak_dff[~is_of_mobile]),
        p,
    )


def _median(values: Floats) -> float:
    return float(np.median(values)) if values.size else np.nan
