"""How well a lock did, from its samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.focus._kalman_bound import kalman_bound
from parfocal.focus._measurement import LockState
from parfocal.robust import robust_sd

_KICK = 4.0
"""A change by so many standard deviations is none of noise or walk."""


@dataclass(frozen=True, eq=False)
class LockSamples:
    """The record of a lock: one entry a delivered frame, all of shape (n,).

    Attributes
    ----------
    frame : ndarray of int
        The camera's count; gaps are dropped frames.
    t_s : ndarray
        Middle of the exposure, s.
    error_um : ndarray
        Defocus less setpoint as the lock estimated it.
    z_um, z_se_um : ndarray
        As measured, and standard error.
    command_um : ndarray
        Where the stage was last sent, this answer included.
    photons, confidence : ndarray
        As measured.
    state : ndarray of str
        `LockState` after each step.
    latency_s : ndarray, optional
        From the middle of the exposure to the command; empty where it was not measured.
    is_held : ndarray of bool, optional
        A plan held the lock still, as it does while it takes planes beyond the calibrated range; empty: never.
    setpoint_um : ndarray, optional
        Where z was to be; empty: at one place all the time, the mean of z.
    exposure_s : float, optional
        Of a frame; with `latency_s` it says which frame a command shows in.
    command_to_motion_s : float
        From the command to the stage's motion, where it was measured.
    """

    frame: NDArray[np.int64]
    t_s: NDArray[np.float64]
    error_um: NDArray[np.float64]
    z_um: NDArray[np.float64]
    z_se_um: NDArray[np.float64]
    command_um: NDArray[np.float64]
    photons: NDArray[np.float64]
    confidence: NDArray[np.float64]
    state: NDArray[np.str_]
    latency_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    is_held: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    setpoint_um: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    exposure_s: float = math.nan
    command_to_motion_s: float = 0.0

    def __post_init__(self) -> None:
        n = self.frame.shape
        for name in ("t_s", "error_um", "z_um", "z_se_um", "command_um", "photons", "confidence", "state"):
            if getattr(self, name).shape != n:
                raise BadInputError(f"lock samples: {name} has shape {getattr(self, name).shape}, expected {n}")


@dataclass(frozen=True)
class LockSummary:
    """Numbers of a lock's report. NaN where there is nothing to count.

    Attributes
    ----------
    n_frames, n_dropped : int
        Delivered, and missing in between.
    duration_s : float
        From the first to the last.
    in_lock_fraction : float
        LOCKED frames over the frames since the first LOCKED one, but for those that a plan held.
    n_losses : int
        How often LOST was entered.
    n_faults, n_recoveries : int
        How often FAULT and RECOVERY were entered.
    longest_out_s : float
        Longest time between two LOCKED frames.
    rms_focus_um : float
        Of the focus about its setpoint in LOCKED frames that no plan held: the mean square of measured z less
        setpoint, less that of `noise_um`. It trusts neither the lock's estimates nor the standard errors: the
        noise of a frame is not yet in the focus of that frame. Vibration that is new in each frame is taken for
        noise, and off with it. Where noise hides the focus, the lock's estimate. What the calibration gets wrong
        is not in it.
    rms_error_um, mean_error_um : float
        Of the lock's own estimate in LOCKED frames. A lock moves until its estimate is nothing, so this is less
        than the focus is off.
    rms_z_um : float
        SD of measured z less setpoint in those frames: the focus with a frame's noise in it.
    median_z_se_um : float
        Of the measurements in LOCKED frames, as they state it.
    noise_um : float
        Of one frame's z as it was, from the differences of measured z less the stage's moves.
    latency_s : tuple of float
        Median, 95th and 99th percentile.
    frame_rate_hz : float
        Frames delivered per second.
    walk_um : float
        Random walk of the focus a frame, from the differences of measured z less the stage's moves.
    bound_um : float
        `kalman_bound` for that walk, that noise, and the latency as it was where it was measured, else as given;
        NaN where noise hides the walk.
    n_held : int
        Frames in which a plan held the lock still.
    """

    n_frames: int
    n_dropped: int
    duration_s: float
    in_lock_fraction: float
    n_losses: int
    n_faults: int
    n_recoveries: int
    longest_out_s: float
    rms_focus_um: float
    rms_error_um: float
    mean_error_um: float
    rms_z_um: float
    median_z_se_um: float
    noise_um: float
    latency_s: tuple[float, float, float]
    frame_rate_hz: float
    walk_um: float
    bound_um: float
    n_held: int = 0


def summarize_lock(samples: LockSamples, latency_frames: float = 1.0) -> LockSummary:
    """Return the numbers of a lock's report.

    Parameters
    ----------
    samples : LockSamples
        The record, in order.
    latency_frames : float
        As in `LockSettings`: used where `samples` tell no times of commands.

    Returns
    -------
    LockSummary
    """
    s = samples
    n = int(s.frame.size)
    is_locked = s.state == LockState.LOCKED
    duration_s = float(s.t_s[-1] - s.t_s[0]) if n else math.nan
    since = int(np.argmax(is_locked)) if is_locked.any() else n
    is_held = s.is_held if s.is_held.size else np.zeros(n, np.bool_)
    counted = is_locked[since:][~is_held[since:]]
    locked_t_s = s.t_s[is_locked]
    frame_s = float(np.median(np.diff(s.t_s) / np.maximum(np.diff(s.frame), 1))) if n > 1 else math.nan
    if _has_times(s) and frame_s > 0:
        # what shows in half of the next frame is half a frame late
        late_s = float(np.nanmedian(s.latency_s)) + s.command_to_motion_s
        latency_frames = max((late_s + s.exposure_s / 2) / frame_s - 1, 0.0)
    walk_um, noise_um = _walk_and_noise_um(s, is_locked, latency_frames)
    off_um = _off_um(s, is_locked & ~is_held)
    least_um = _rms(s.error_um[is_locked & ~is_held])
    is_known = math.isfinite(walk_um) and math.isfinite(noise_um)
    return LockSummary(
        n_frames=n,
        n_dropped=int(s.frame[-1] - s.frame[0] + 1 - n) if n else 0,
        duration_s=duration_s,
        in_lock_fraction=float(np.mean(counted)) if counted.size else 0.0,
        n_losses=_n_entered(s.state, LockState.LOST),
        n_faults=_n_entered(s.state, LockState.FAULT),
        n_recoveries=_n_entered(s.state, LockState.RECOVERY),
        longest_out_s=float(np.max(np.diff(locked_t_s))) if locked_t_s.size > 1 else math.nan,
        rms_focus_um=math.sqrt(max(_rms(off_um) ** 2 - noise_um**2, least_um**2)) if is_known else math.nan,
        rms_error_um=_rms(s.error_um[is_locked]),
        mean_error_um=float(np.nanmean(s.error_um[is_locked])) if is_locked.any() else math.nan,
        rms_z_um=float(np.nanstd(off_um)) if np.isfinite(off_um).any() else math.nan,
        median_z_se_um=float(np.median(s.z_se_um[is_locked])) if is_locked.any() else math.nan,
        noise_um=noise_um,
        latency_s=_percentiles(s.latency_s),
        frame_rate_hz=(n - 1) / duration_s if n > 1 and duration_s > 0 else math.nan,
        walk_um=walk_um,
        bound_um=kalman_bound(noise_um**2, walk_um**2, latency_frames) if walk_um > 0 else math.nan,
        n_held=int(is_held.sum()),
    )


def _n_entered(state: NDArray[np.str_], which: LockState) -> int:
    is_in = state == which
    return int(np.count_nonzero(is_in[1:] & ~is_in[:-1])) + int(is_in.size > 0 and bool(is_in[0]))


def _rms(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else math.nan


def _percentiles(
    latency_s: NDArray[np.float64], which: Sequence[float] = (50, 95, 99)
) -> tuple[float, float, float]:
    finite = latency_s[np.isfinite(latency_s)]
    if not finite.size:
        return math.nan, math.nan, math.nan
    p50, p95, p99 = np.percentile(finite, which).tolist()
    return p50, p95, p99


def _off_um(s: LockSamples, which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return measured z less where it was to be."""
    z_um = s.z_um[which]
    if s.setpoint_um.size:
        return z_um - s.setpoint_um[which]
    return z_um - np.nanmean(z_um) if np.isfinite(z_um).any() else z_um


def _walk_and_noise_um(s: LockSamples, is_locked: NDArray[np.bool_], latency_frames: float) -> tuple[float, float]:
    """Return the walk and the noise of a frame: variance of the drift over n frames grows by n walk², noise stays.

    Differences over 1 and over 9 frames, so that their difference is 8 walk²; kicks left out.
    """
    if s.frame.size < 100 + latency_frames or np.count_nonzero(is_locked) < 100:
        return math.nan, math.nan
    drift = s.z_um - _stage_um(s, latency_frames)
    drift[~is_locked] = np.nan
    over_1, over_9 = (_variance_over(drift, s.frame, lag) for lag in (1, 9))
    if not math.isfinite(over_1 + over_9):
        return math.nan, math.nan
    walk_squared = max(over_9 - over_1, 0.0) / 8
    return math.sqrt(walk_squared), math.sqrt(max(over_1 - walk_squared, 0.0) / 2)


def _has_times(s: LockSamples) -> bool:
    return bool(s.latency_s.size) and bool(np.isfinite(s.latency_s).any()) and s.exposure_s > 0


def _stage_um(s: LockSamples, latency_frames: float) -> NDArray[np.float64]:
    """Return where the stage had been sent, on average over each frame's exposure; NaN where that is not known."""
    if not _has_times(s):
        delay = 1 + round(latency_frames)
        # the command answered to frame k - 1 - latency is where the stage was in frame k
        return np.concatenate([np.full(delay, np.nan), s.command_um[: s.frame.size - delay]])
    late_s = np.where(np.isfinite(s.latency_s), s.latency_s, np.nanmedian(s.latency_s))
    moved_s = np.maximum.accumulate(s.t_s - s.t_s[0] + late_s + s.command_to_motion_s)
    travelled = np.concatenate([[0.0], np.cumsum(np.diff(moved_s) * s.command_um[:-1])])

    def until(t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        more = np.maximum(t_s - moved_s[-1], 0.0) * s.command_um[-1]
        return np.interp(t_s, moved_s, travelled, left=np.nan) + more

    middle_s = s.t_s - s.t_s[0]
    begin_s, end_s = middle_s - s.exposure_s / 2, middle_s + s.exposure_s / 2
    return (until(end_s) - until(begin_s)) / s.exposure_s


def _variance_over(drift_um: NDArray[np.float64], frame: NDArray[np.int64], lag: int) -> float:
    """Return the variance of what changes over so many frames; infinite where there are too few."""
    step = drift_um[lag:] - drift_um[:-lag]
    step = step[np.isfinite(step) & (frame[lag:] - frame[:-lag] == lag)]
    if step.size < 50:
        return math.inf
    quiet = step[np.abs(step) < _KICK * robust_sd(step)]
    return float(np.mean(np.square(quiet))) if quiet.size else 0.0
