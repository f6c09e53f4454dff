"""How each track moves: diffusion, its kind, whether at all, and when that changes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import PunctaTracks
from parfocal.puncta.tracking._by_track import ByTrack, by_track
from parfocal.puncta.tracking._steps_kernel import lag_sums, sliding_scaled_radius, step_sums
from parfocal.puncta.tracking._stillness import scaled_radius_cut, stillness_p
from parfocal.puncta.tracking._stretches import MobilitySettings, stretches

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_MOST_LAGS = 100
_ALPHA_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Mobility:
    """How tracks move, a row each; NaN where a track is too short to say.

    Parameters
    ----------
    frame_interval_s : float
    n_points : int64[n_tracks]
        Localizations of the track.
    n_frames : int64[n_tracks]
        From the first to the last, dark ones too.
    d_um2_s, d_se_um2_s : float64[n_tracks]
        Diffusion coefficient by the covariance of steps, and its standard error. Unbiased, so it may be below 0.
    d_msd_um2_s : float64[n_tracks]
        The same by the slope of the mean squared displacement.
    localization_um : float64[n_tracks]
        Localization error along an axis: as it was told, else by the covariance of steps.
    alpha : float64[n_tracks]
        Exponent of the mean squared displacement over time; NaN where D is not three errors above 0.
    step_um : float64[n_tracks]
        Root mean square step from frame to frame.
    scaled_radius : float64[n_tracks]
        sqrt(pi/2) Rg / <step>: 1 for what does not move, about sqrt(n/3) for diffusion.
    scaled_radius_cut : float64[n_tracks]
        What a still punctum of that length exceeds at the false-mobile rate.
    p : float64[n_tracks]
        How often a still punctum has such a scaled radius.
    is_judged : bool[n_tracks]
        Whether the track is long enough to be called mobile or immobile.
    is_mobile : bool[n_tracks]
    n_switches : int64[n_tracks]
        How often it goes over between the two.
    mobile_share : float64[n_tracks]
        Of its points, in a mobile stretch.
    point_is_mobile : int8[n_localizations]
        1 in a mobile stretch, 0 in an immobile one, -1 not judged.
    """

    frame_interval_s: float
    n_points: Ints
    n_frames: Ints
    d_um2_s: Floats
    d_se_um2_s: Floats
    d_msd_um2_s: Floats
    localization_um: Floats
    alpha: Floats
    step_um: Floats
    scaled_radius: Floats
    scaled_radius_cut: Floats
    p: Floats
    is_judged: Flags
    is_mobile: Flags
    n_switches: Ints
    mobile_share: Floats
    point_is_mobile: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.n_points)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what there is of each track, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_BY_TRACK}


_NOT_BY_TRACK = ("frame_interval_s", "point_is_mobile")


def mobility_of(
    localizations: Localizations,
    tracks: PunctaTracks,
    frame_interval_s: float,
    exposure_s: float | None = None,
    settings: MobilitySettings | None = None,
) -> Mobility:
    """Measure how tracks move.

    With steps dx of a frame interval d along an axis, and R = exposure / (6 d) for blur while the shutter is open:
    D = <dx²> / 2d + <dx dx'> / d, localization error² = R <dx²> + (2R - 1) <dx dx'> (C. L. Vestergaard et al.,
    Physical Review E 89, 022726, 2014, with their variance of D). The mean squared displacement over a lag t is
    4 D (t - exposure / 3) + 4 error², fitted over the first max(4, n/4) lags; alpha is its slope in logarithms
    once error and blur are off. Whether a track moves at all says its scaled radius of gyration, which needs no D
    (`stillness_p`).

    Parameters
    ----------
    localizations : Localizations
        With `x_se_px` and `y_se_px` the localization error is as told; without, it is measured.
    tracks : PunctaTracks
    frame_interval_s : float
    exposure_s : float, optional
        How long the shutter is open; the whole interval by default.
    settings : MobilitySettings, optional

    Raises
    ------
    BadInputError
        An interval is not above 0, the exposure is longer, or tracks are not those of the localizations.
    """
    wanted = MobilitySettings() if settings is None else settings
    open_s = checked_exposure(frame_interval_s, exposure_s)
    rows = by_track(localizations, tracks)
    n = rows.n_points
    blur = open_s / (6 * frame_interval_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        squares, n_steps, products, n_products = np.asarray(
            step_sums(rows.first, rows.frame, rows.y_um, rows.x_um)
        ).T
        mean_square, mean_product = squares / (2 * n_steps), products / (2 * n_products)
        d = mean_square / (2 * frame_interval_s) + mean_product / frame_interval_s
        error2 = np.maximum(blur * mean_square + (2 * blur - 1) * mean_product, 0.0)
        # steps on both sides of a dark frame have no product: what counts is how many have
        d_se = d_error(d, error2, n_products + 1, frame_interval_s, blur)
        told = _told_error2(localizations, rows)
        error2 = np.where(np.isfinite(told), told, error2)
        d_msd, alpha = _by_msd(rows, d, d_se, error2, frame_interval_s, open_s)
    radius = np.full(n.size, np.nan)
    whole = np.asarray(sliding_scaled_radius(rows.first, rows.y_um, rows.x_um, 0))
    radius[n > 0] = whole[rows.first[:-1][n > 0]]
    radius[n < 3] = np.nan
    p = stillness_p(radius, n, wanted.false_mobile_rate)
    lengths, of_length = np.unique(np.maximum(n, 3), return_inverse=True)
    cuts = np.array([scaled_radius_cut(int(k), wanted.false_mobile_rate) for k in lengths])[of_length.reshape(-1)]
    is_judged = (n >= wanted.min_points) & np.isfinite(p)
    is_mobile = is_judged & (p <= wanted.false_mobile_rate)
    state = stretches(rows, is_judged, is_mobile, error2, frame_interval_s, wanted)
    point_is_mobile = np.full(len(localizations), -1, np.int8)
    point_is_mobile[rows.row] = state
    track_of = np.repeat(np.arange(n.size), n)
    inner = (track_of[1:] == track_of[:-1]) & (state[1:] != state[:-1])
    counts = np.maximum(n, 1)
    span = np.zeros(n.size, np.int64)
    span[n > 0] = 1 + rows.frame[rows.first[1:][n > 0] - 1] - rows.frame[rows.first[:-1][n > 0]]
    return Mobility(
        frame_interval_s=frame_interval_s,
        n_points=n.astype(np.int64),
        n_frames=span,
        d_um2_s=d,
        d_se_um2_s=d_se,
        d_msd_um2_s=d_msd,
        localization_um=np.sqrt(error2),
        alpha=alpha,
        step_um=np.sqrt(2 * mean_square),
        scaled_radius=radius,
        scaled_radius_cut=np.where(n >= 3, cuts, np.nan),
        p=p,
        is_judged=is_judged,
        is_mobile=is_mobile,
        n_switches=np.bincount(track_of[1:][inner], minlength=n.size).astype(np.int64),
        mobile_share=np.where(is_judged, np.bincount(track_of[state == 1], minlength=n.size) / counts, np.nan),
        point_is_mobile=point_is_mobile,
    )


def checked_exposure(frame_interval_s: float, exposure_s: float | None) -> float:
    """Return the exposure, by default the whole interval; `BadInputError` where it cannot be."""
    if not frame_interval_s > 0:
        raise BadInputError(f"mobility: frame_interval_s is {frame_interval_s}, expected more than 0")
    open_s = frame_interval_s if exposure_s is None else exposure_s
    if not 0 <= open_s <= frame_interval_s * (1 + 1e-6):
        raise BadInputError(f"mobility: exposure_s is {open_s}, expected 0 to the frame interval")
    return open_s


def d_error(d: Floats, error2: Floats, n: Floats, interval_s: float, blur: float) -> Floats:
    """Return the standard error of D over two axes, written so that D may be 0."""
    d = np.maximum(d, 0.0)
    rest = error2 / interval_s - 2 * blur * d  # D times their epsilon
    variance = (6 * d**2 + 4 * d * rest + 2 * rest**2) / n + 4 * (d + rest) ** 2 / n**2
    return np.where(n > 1, np.sqrt(variance / 2), np.nan)


def _told_error2(localizations: Localizations, rows: ByTrack) -> Floats:
    """Return the mean squared localization error of each track; NaN where a point has none."""
    size_y, size_x = localizations.pixel_size_um
    square = (np.square(localizations.x_se_px * size_x) + np.square(localizations.y_se_px * size_y)) / 2
    n = rows.n_points
    return np.bincount(np.repeat(np.arange(n.size), n), square[rows.row], n.size) / n


def _by_msd(
    rows: ByTrack, d: Floats, d_se: Floats, error2: Floats, interval_s: float, open_s: float
) -> tuple[Floats, Floats]:
    """Return D and alpha by the mean squared displacement, its part that is not motion taken off."""
    n = rows.n_points
    n_lags = np.minimum(np.maximum(4, n // 4), _MOST_LAGS)
    most = int(n_lags.max(initial=4))
    sums, counts = lag_sums(rows.first, rows.frame, rows.y_um, rows.x_um, most)
    lag = np.arange(1, most + 1)
    used = (counts > 0) & (lag <= n_lags[:, None])
    msd = np.where(used, sums / np.maximum(counts, 1), 0.0)
    # the spread of a lag grows with the lag, and with what it stands on
    reduced = np.where(d > 0, error2 / (np.maximum(d, 1e-300) * interval_s), np.inf)
    weight = np.where(used, counts / lag, 0.0)
    weight = np.where(np.isfinite(reduced)[:, None], weight / np.square(1 + lag / (1 + reduced)[:, None]), weight)
    time = lag * interval_s - open_s / 3
    motion = msd - 4 * error2[:, None]
    d_msd = np.sum(weight * time * motion, axis=1) / (4 * np.sum(weight * time**2, axis=1))
    free = msd - 4 * error2[:, None]
    alpha = np.ones(n.size)
    for _ in range(_ALPHA_ROUNDS):
        motion = free * lag ** alpha[:, None] / _blurred(lag, alpha[:, None], open_s / interval_s)
        alpha = np.clip(_slope(np.log(lag), motion, np.where(used, counts / lag, 0.0)), 0.05, 2.5)
    alpha[((used & (free > 0)).sum(axis=1) < 3) | ~(d > 3 * d_se)] = np.nan
    d_msd[~np.isfinite(d)] = np.nan
    return d_msd, alpha


def _slope(log_time: Floats, values: Floats, weight: Floats) -> Floats:
    """Return the slope of the logarithms of what is above 0, row by row."""
    weight = np.where(values > 0, weight, 0.0)
    logs = np.log(np.where(values > 0, values, 1.0))
    total = weight.sum(axis=1)
    off = log_time - ((weight * log_time).sum(axis=1) / total)[:, None]
    rise = logs - ((weight * logs).sum(axis=1) / total)[:, None]
    return (weight * off * rise).sum(axis=1) / (weight * off**2).sum(axis=1)


def _blurred(lag: NDArray[np.int64], alpha: Floats, open_share: float) -> Floats:
    """Return what `lag^alpha` becomes when each position is the mean over a share of the interval.

    ((n + f)^(a + 2) + (n - f)^(a + 2) - 2 n^(a + 2)) / (f² (a + 1)(a + 2)) - 2 f^a / ((a + 1)(a + 2)), which is
    n - f/3 for diffusion and n² for straight motion (M. P. Backlund et al., Physical Review E 91, 062716, 2015).
    """
    if open_share < 1e-3:
        return lag**alpha
    over = (alpha + 1) * (alpha + 2)
    bent = (lag + open_share) ** (alpha + 2) + (lag - open_share) ** (alpha + 2) - 2.0 * lag ** (alpha + 2)
    return bent / (open_share**2 * over) - 2 * open_share**alpha / over
