"""How all tracks together move: mean squared displacement over lag, and its power of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import PunctaTracks
from parfocal.puncta.tracking._by_track import by_track
from parfocal.puncta.tracking._mobility import checked_exposure
from parfocal.puncta.tracking._steps_kernel import lag_sums

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PopulationMsd:
    """Mean squared displacement of many tracks.

    Parameters
    ----------
    lag_s, msd_um2, se_um2 : float64[n_lags]
        In the plane, with the standard error that tracks' differing from each other gives.
    n_pairs, n_tracks : int64[n_lags]
    """

    lag_s: Floats
    msd_um2: Floats
    se_um2: Floats
    n_pairs: NDArray[np.int64]
    n_tracks: NDArray[np.int64]


@dataclass(frozen=True)
class PowerLaw:
    """A mean squared displacement as `floor + 4 D t^alpha`.

    Parameters
    ----------
    alpha, alpha_se : float
    d_um2_s : float
        Of the straight line, alpha 1.
    floor_um2 : float
        What is there without motion: 4 error² - 4/3 D exposure.
    r2_line : float
        Share of the variance that the straight line explains.
    """

    alpha: float
    alpha_se: float
    d_um2_s: float
    floor_um2: float
    r2_line: float


def population_msd(
    localizations: Localizations,
    tracks: PunctaTracks,
    frame_interval_s: float,
    max_lag: int = 10,
    which: ArrayLike | None = None,
) -> PopulationMsd:
    """Return the mean squared displacement over all pairs of points that are so many frames apart.

    Parameters
    ----------
    localizations, tracks
    frame_interval_s : float
    max_lag : int
        In frames.
    which : array_like of bool, shape (n_tracks,), optional
        The tracks to take, such as `mobility.is_mobile`.

    Raises
    ------
    BadInputError
        `max_lag` is below 1, or no two points of a track are so near in time.
    """
    checked_exposure(frame_interval_s, None)
    if max_lag < 1:
        raise BadInputError(f"population msd: max_lag is {max_lag}, expected 1 or more")
    rows = by_track(localizations, tracks)
    sums, counts = lag_sums(rows.first, rows.frame, rows.y_um, rows.x_um, max_lag)
    if which is not None:
        chosen = np.asarray(which, np.bool_)
        sums, counts = sums[chosen], counts[chosen]
    n_pairs = counts.sum(axis=0)
    there = np.flatnonzero(n_pairs)
    if not there.size:
        raise BadInputError(f"population msd: no track has two points within {max_lag} frames")
    sums, counts, n_pairs = sums[:, there], counts[:, there], n_pairs[there]
    msd = sums.sum(axis=0) / n_pairs
    # of a ratio of sums, tracks being independent of each other
    se = np.sqrt(np.sum(np.square(sums - counts * msd), axis=0)) / n_pairs
    return PopulationMsd(
        (there + 1) * frame_interval_s,
        msd,
        se,
        n_pairs.astype(np.int64),
        (counts > 0).sum(axis=0).astype(np.int64),
    )


def fit_power_law(curve: PopulationMsd, localization_um: float | None = None, exposure_s: float = 0.0) -> PowerLaw:
    """Fit a line and a power of time to a mean squared displacement.

    Parameters
    ----------
    curve : PopulationMsd
        At least 3 lags.
    localization_um : float, optional
        Localization error along an axis. None: the line says it.
    exposure_s : float
        Blur takes 4/3 D times this off.

    Raises
    ------
    BadInputError
        Fewer than 3 lags, or nothing is left once the floor is off.
    """
    if curve.lag_s.size < 3:
        raise BadInputError(f"power law: {curve.lag_s.size} lags, expected 3 or more")
    t, y = curve.lag_s, curve.msd_um2
    weight = 1 / np.square(np.maximum(curve.se_um2, 1e-6 * y.max() + 1e-300))
    if localization_um is None:
        mean_t, mean_y = np.average(t, weights=weight), np.average(y, weights=weight)
        slope = float(np.sum(weight * (t - mean_t) * (y - mean_y)) / np.sum(weight * np.square(t - mean_t)))
        floor = float(mean_y - slope * mean_t)
    else:
        known = 4 * localization_um**2
        free_t = t - exposure_s / 3
        slope = float(np.sum(weight * free_t * (y - known)) / np.sum(weight * free_t**2))
        floor = known - slope * exposure_s / 3
    line = floor + slope * t
    r2 = 1 - float(np.sum(np.square(y - line)) / np.sum(np.square(y - y.mean())))
    free = y - floor
    if np.count_nonzero(free > 0) < 3:
        raise BadInputError("power law: the displacement does not rise above the localization error")
    kept = free > 0
    weight = np.square(free[kept]) * weight[kept]
    log_t = np.log(t[kept])
    off = log_t - np.average(log_t, weights=weight)
    spread = float(np.sum(weight * off**2))
    alpha = float(np.sum(weight * off * np.log(free[kept])) / spread)
    return PowerLaw(alpha, spread**-0.5, slope / 4, floor, r2)
