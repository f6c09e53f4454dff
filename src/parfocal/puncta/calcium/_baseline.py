"""What a trace rests at, and how noisy it is, whatever events it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d
from scipy.special import ndtri

from parfocal.errors import BadInputError
from parfocal.robust import MAD_TO_SD

Floats = NDArray[np.float64]

BaselineMethod = Literal["percentile", "maximin"]

_KNOTS_A_WINDOW = 8
_CLIP_SD = 2.5
_ROUNDS = 3


@dataclass(frozen=True)
class BaselineSettings:
    """How F0 is found.

    Parameters
    ----------
    method : str
        `percentile`: a running low percentile; `maximin`: smoothed, lowest of a window, highest of those
        (as suite2p). Both are then moved to the middle of the values that lie at rest, since a low percentile
        of noise lies below what it rests at.
    window_s : float
        Longer than events, shorter than bleaching.
    percentile : float
        Of the running percentile.
    smooth_frames : float
        Standard deviation of the smoothing before maximin.
    subtract_surround : bool
        Take off what a punctum does in proportion to its surround, beyond the surround itself: it may well be
        brighter in a wave.
    subtract_cell_median : bool
        Take what most puncta do in the same frame off each: a wave through the cell.
    min_tracks : int
        Fewer tracks in a frame have no median to take off.
    """

    method: BaselineMethod = "percentile"
    window_s: float = 30.0
    percentile: float = 10.0
    smooth_frames: float = 10.0
    subtract_surround: bool = True
    subtract_cell_median: bool = True
    min_tracks: int = 10

    def __post_init__(self) -> None:
        if self.method not in ("percentile", "maximin"):
            raise BadInputError(f"calcium: baseline method is {self.method!r}, expected percentile or maximin")
        if not (self.window_s > 0 and 0 < self.percentile < 50 and self.smooth_frames > 0):
            raise BadInputError("calcium: window_s and smooth_frames must be above 0, percentile between 0 and 50")


def noise_sd(traces: NDArray[np.floating[Any]]) -> Floats:
    """Return the noise of each trace `[track, frame]`: MAD of differences of neighbouring frames over sqrt(2).

    Events rise and fall in few frames, and slow changes hardly differ from frame to frame. NaN where fewer than
    three differences are known.
    """
    steps = np.diff(np.asarray(traces, dtype=np.float64), axis=1)
    known = np.isfinite(steps).sum(axis=1)
    found = np.full(len(steps), np.nan)
    enough = known >= 3
    if enough.any():
        some = steps[enough]
        middle = np.nanmedian(some, axis=1, keepdims=True)
        found[enough] = MAD_TO_SD * np.nanmedian(np.abs(some - middle), axis=1) / math.sqrt(2.0)
    return found


def baseline(
    traces: NDArray[np.floating[Any]], frame_interval_s: float, settings: BaselineSettings | None = None
) -> Floats:
    """Return the slow baseline of each trace `[track, frame]`; it goes on through NaN.

    Parameters
    ----------
    traces : ndarray of shape (n_tracks, n_frames)
    frame_interval_s : float
    settings : BaselineSettings, optional

    Returns
    -------
    ndarray of shape (n_tracks, n_frames)
        NaN for a trace without any value.
    """
    how = settings or BaselineSettings()
    values = np.asarray(traces, dtype=np.float64)
    n_tracks, n_frames = values.shape
    if not n_tracks or not n_frames:
        return np.empty(values.shape)
    window = max(3, round(how.window_s / frame_interval_s))
    noise = np.nan_to_num(noise_sd(values))
    if how.method == "maximin":
        rest = _maximin(values, window, how.smooth_frames)
        return rest + _at_rest(values - rest, noise, how.percentile)[:, None]
    knots = np.linspace(0, n_frames - 1, max(2, math.ceil(_KNOTS_A_WINDOW * n_frames / window)))
    if window >= 2 * n_frames:
        knots = np.array([(n_frames - 1) / 2])
    levels = np.empty((n_tracks, knots.size))
    for k, knot in enumerate(knots):
        begin = int(np.clip(round(knot - window / 2), 0, max(0, n_frames - window)))
        levels[:, k] = _at_rest(values[:, begin : begin + window], noise, how.percentile)
    frames = np.arange(n_frames)
    result = np.empty(values.shape)
    for row, level in enumerate(levels):
        known = np.isfinite(level)
        result[row] = np.interp(frames, knots[known], level[known]) if known.any() else np.nan
    return result


def _at_rest(values: Floats, noise: Floats, percentile: float) -> Floats:
    """Return the middle of the values at rest of each row.

    It begins where the percentile would have the middle of normal noise lie, and goes to the median of what is
    within 2.5 standard deviations: events, which lie above, do not count.
    """
    count = np.isfinite(values).sum(axis=1)
    ranked = np.sort(values, axis=1)  # NaN last
    place = np.clip((percentile / 100 * (count - 1)).round().astype(np.int64), 0, None)
    level = ranked[np.arange(len(values)), place] - ndtri(percentile / 100) * noise
    for _ in range(_ROUNDS):
        is_rest = np.abs(ranked - level[:, None]) <= _CLIP_SD * noise[:, None]
        n_rest = is_rest.sum(axis=1)
        first = np.argmax(is_rest, axis=1)  # ranked: what is at rest lies together
        low = np.clip(first + (n_rest - 1) // 2, 0, values.shape[1] - 1)
        high = np.clip(first + n_rest // 2, 0, values.shape[1] - 1)
        rows = np.arange(len(values))
        level = np.where(n_rest > 0, 0.5 * (ranked[rows, low] + ranked[rows, high]), level)
    return np.where(count > 0, level, np.nan)


def _maximin(values: Floats, window: int, smooth_frames: float) -> Floats:
    """Return each row smoothed, then the highest of the lowest within a window."""
    known = np.isfinite(values)
    blurred = gaussian_filter1d(np.where(known, values, 0.0), smooth_frames, axis=1, mode="nearest")
    weight = gaussian_filter1d(known.astype(np.float64), smooth_frames, axis=1, mode="nearest")
    smooth = np.full(values.shape, np.nan)
    np.divide(blurred, weight, out=smooth, where=weight > 1e-6)
    frames = np.arange(values.shape[1])
    for row in smooth:
        known_here = np.isfinite(row)
        if known_here.any() and not known_here.all():
            row[:] = np.interp(frames, frames[known_here], row[known_here])
    lowest = minimum_filter1d(smooth, window, axis=1, mode="nearest")
    return maximum_filter1d(lowest, window, axis=1, mode="nearest")
