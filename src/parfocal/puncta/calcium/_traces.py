"""From a movie of calcium and tracks of puncta to the trace of every punctum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumTraces, PunctaTracks
from parfocal.puncta.calcium._baseline import BaselineSettings, baseline, noise_sd
from parfocal.puncta.calcium._reading import Readings, ReadSettings, join_readings, read_signals

Floats = NDArray[np.float64]

_FEWEST_DIFFERENCES = 20


def calcium_traces(
    calcium_movie: Iterable[NDArray[Any]],
    localizations: Localizations,
    tracks: PunctaTracks,
    psf_sigma_px: float,
    frame_interval_s: float,
    *,
    camera_model: CameraModel | None = None,
    channel_shift_px: tuple[float, float] = (0.0, 0.0),
    bleed_through: float | None = 0.0,
    read: ReadSettings | None = None,
    rest: BaselineSettings | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> CalciumTraces:
    """Read the calcium of every punctum, frame by frame, and its slow baseline.

    Parameters
    ----------
    calcium_movie : iterable of ndarray of shape (height, width)
        Frames as they were taken, one for each of the puncta; only one is held at a time.
    localizations : Localizations
        Where puncta are; also those of no track are sources of light.
    tracks : PunctaTracks
        Which row is of which punctum.
    psf_sigma_px : float
        Width of a punctum's calcium on this camera.
    frame_interval_s : float
    camera_model : CameraModel, optional
        Turns frames into photoelectrons; without it they are taken to be that.
    channel_shift_px : (float, float)
        (y, x) from the camera of the puncta to that of the calcium.
    bleed_through : float, optional
        The share of a punctum's photons that the calcium camera sees; taken off. None: estimated, see
        `estimate_bleed_through`.
    read : ReadSettings, optional
        Annulus and masks; `psf_sigma_px` is taken from there.
    rest : BaselineSettings, optional
    on_progress : callable, optional
        Called with the number of frames read.

    Returns
    -------
    CalciumTraces

    Raises
    ------
    BadInputError
        Tracks do not fit the localizations, or the movie ends before they do.
    """
    how = read or ReadSettings(psf_sigma_px)
    order = np.argsort(localizations.frame, kind="stable")
    frames_sorted = localizations.frame[order]
    parts: list[Readings] = []
    n_frames = 0
    for n_frames, frame in enumerate(calcium_movie, 1):
        image = np.asarray(frame) if camera_model is None else camera_model.to_electrons(np.asarray(frame))
        begin, end = np.searchsorted(frames_sorted, [n_frames - 1, n_frames])
        rows = order[begin:end]
        y = localizations.y_px[rows] + channel_shift_px[0]
        parts.append(read_signals(image, y, localizations.x_px[rows] + channel_shift_px[1], how))
        if on_progress is not None:
            on_progress(n_frames)
    if len(localizations) and n_frames < localizations.n_frames:
        raise BadInputError(f"calcium: the movie has {n_frames} frames, puncta lie in {localizations.n_frames}")
    found = join_readings(parts)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    in_order = Readings(*(c[back] for c in (found.signal, found.surround, found.moment_y, found.moment_x)))
    return traces_of(
        in_order,
        localizations,
        tracks,
        n_frames,
        frame_interval_s,
        footprint_px=how.footprint_px,
        bleed_through=bleed_through,
        rest=rest,
    )


def traces_of(
    readings: Readings,
    localizations: Localizations,
    tracks: PunctaTracks,
    n_frames: int,
    frame_interval_s: float,
    *,
    footprint_px: float,
    bleed_through: float | None = 0.0,
    rest: BaselineSettings | None = None,
) -> CalciumTraces:
    """Put what was read at localizations, as frames arrived, into traces of tracks that were found later.

    `readings` has a value for each row of `localizations`; otherwise as `calcium_traces`.
    """
    n = len(localizations)
    if len(tracks.track) != n or readings.signal.size != n:
        raise BadInputError(
            f"calcium: {n} localizations, {len(tracks.track)} of them in tracks and {readings.signal.size} read; "
            "expected as many of each"
        )
    if not frame_interval_s > 0:
        raise BadInputError(f"calcium: frame_interval_s is {frame_interval_s}, expected a time above 0")
    how = rest or BaselineSettings()
    held = tracks.track >= 0
    at = (tracks.track[held], localizations.frame[held])

    def table(column: Floats) -> Floats:
        values = np.full((tracks.n_tracks, n_frames), np.nan)
        values[at] = column[held]
        return values

    signal, surround = table(readings.signal), table(readings.surround)
    share = 0.0
    if bleed_through is None or bleed_through != 0.0:
        photons = table(localizations.photons)
        share = estimate_bleed_through(signal, photons)[0] if bleed_through is None else bleed_through
        signal -= share * np.nan_to_num(photons)
    rise, rest_level = _above(signal, frame_interval_s, how)
    light, light_rest = _above(surround * footprint_px, frame_interval_s, how)
    if how.subtract_surround:
        rise -= _coupling(rise, light)[:, None] * np.nan_to_num(light)
    if how.subtract_cell_median:
        rise -= _cell_median(rise, how.min_tracks)
    floor = np.nan_to_num(noise_sd(rise), nan=0.0)[:, None]
    f0 = np.maximum(np.maximum(rest_level, 0.0) + np.maximum(light_rest, 0.0), np.maximum(floor, 1e-6))
    dff = rise / f0
    return CalciumTraces(
        frame_interval_s,
        signal.astype(np.float32),
        surround.astype(np.float32),
        f0.astype(np.float32),
        dff.astype(np.float32),
        noise_sd(dff).astype(np.float32),
        (light / f0).astype(np.float32),
        table(readings.moment_y).astype(np.float32),
        table(readings.moment_x).astype(np.float32),
        footprint_px,
        float(share),
    )


def estimate_bleed_through(signal: Floats, photons: Floats) -> tuple[float, float]:
    """Return the share of a punctum's photons that leaks into the calcium channel, and its standard error.

    The slope of steps of `signal` on steps of `photons` from frame to frame, both `[track, frame]`: a punctum that
    blinks or flickers takes its leak along, whatever calcium is doing. Steps beyond 3 standard deviations of what
    the line leaves over (events begin there) are left out, thrice. (0, inf) where there is too little to tell.
    """
    dx, dy = np.diff(photons, axis=1).ravel(), np.diff(signal, axis=1).ravel()
    known = np.isfinite(dx) & np.isfinite(dy)
    dx, dy = dx[known], dy[known]
    if dx.size < _FEWEST_DIFFERENCES or not np.any(dx):
        return 0.0, np.inf
    kept = np.ones(dx.size, bool)
    share, se = 0.0, np.inf
    for _ in range(4):
        weight = float(np.dot(dx[kept], dx[kept]))
        if not weight:
            break
        share = float(np.dot(dx[kept], dy[kept])) / weight
        left = dy - share * dx
        scatter = 1.4826 * float(np.median(np.abs(left[kept])))
        se = scatter / weight**0.5
        kept = np.abs(left) <= 3.0 * max(scatter, 1e-12)
    return share, se


def _above(values: Floats, frame_interval_s: float, how: BaselineSettings) -> tuple[Floats, Floats]:
    level = baseline(values, frame_interval_s, how)
    return values - level, level


def _coupling(rise: Floats, light: Floats) -> Floats:
    """Return how much of what the surround does each punctum does on top of it; 0 where the surround hardly moves.

    A slope of the punctum on its surround, where events (more than 2.5 standard deviations off the line) do not
    count. The noise of the surround is in both: it was taken off the punctum on 4 pi sigma^2 pixels, twice as many
    as `light` is of. It is taken out of covariance and variance.
    """
    noise, light_noise = np.nan_to_num(noise_sd(rise)), np.nan_to_num(noise_sd(light))
    slopes = np.zeros(len(rise))
    for k in range(len(rise)):
        known = np.isfinite(rise[k]) & np.isfinite(light[k])
        y, x = rise[k, known], light[k, known]
        if y.size < _FEWEST_DIFFERENCES:
            continue
        kept = np.ones(y.size, bool)
        for _ in range(4):
            moves = float(np.mean(x[kept] ** 2)) - light_noise[k] ** 2
            if moves < 2.0 * light_noise[k] ** 2:
                slopes[k] = 0.0
                break
            slopes[k] = (float(np.mean(x[kept] * y[kept])) + 2.0 * light_noise[k] ** 2) / moves
            fits = np.abs(y - slopes[k] * x) <= 2.5 * noise[k]
            if fits.sum() < _FEWEST_DIFFERENCES:
                break
            kept = fits
    return slopes


def _cell_median(rise: Floats, min_tracks: int) -> Floats:
    """Return what the median punctum does in each frame; 0 where too few are there."""
    enough = np.isfinite(rise).sum(axis=0) >= min_tracks
    common = np.zeros(rise.shape[1])
    if enough.any():
        common[enough] = np.nanmedian(rise[:, enough], axis=0)
    return common
