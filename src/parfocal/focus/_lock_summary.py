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

_ACTIVE = (LockState.LOCKED, LockState.DEGRADED, LockState.RECOVERY, LockState.LOST, LockState.FAULT)


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
    rms_error_um, mean_error_um : float
        Of the lock's own estimate in LOCKED frames.
    rms_z_um : float
        SD of measured z in LOCKED frames about its mean: the residual with a frame's noise in it.
    median_z_se_um : float
        Of the measurements in LOCKED frames.
    latency_s : tuple of float
        Median, 95th and 99th percentile.
    frame_rate_hz : float
        Frames delivered per second.
    walk_um : float
        Random walk of the focus a frame, from the differences of measured z less the stage's moves.
    bound_um : float
        `kalman_bound` for that walk, that median standard error, and the latency given.
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
    rms_error_um: float
    mean_error_um: float
    rms_z_um: float
    median_z_se_um: float
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
        As in `LockSettings`, for the bound.

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
    walk_um = _walk_um(s, is_locked, latency_frames)
    median_se_um = float(np.median(s.z_se_um[is_locked])) if is_locked.any() else math.nan
    known = math.isfinite(walk_um) and math.isfinite(median_se_um)
    return LockSummary(
        n_frames=n,
        n_dropped=int(s.frame[-1] - s.frame[0] + 1 - n) if n else 0,
        duration_s=duration_s,
        in_lock_fraction=float(np.mean(counted)) if counted.size else 0.0,
        n_losses=_n_entered(s.state, LockState.LOST),
        n_faults=_n_entered(s.state, LockState.FAULT),
        n_recoveries=_n_entered(s.state, LockState.RECOVERY),
        longest_out_s=float(np.max(np.diff(locked_t_s))) if locked_t_s.size > 1 else math.nan,
        rms_error_um=_rms(s.error_um[is_locked]),
        mean_error_um=float(np.nanmean(s.error_um[is_locked])) if is_locked.any() else math.nan,
        rms_z_um=float(np.nanstd(s.z_um[is_locked])) if is_locked.any() else math.nan,
        median_z_se_um=median_se_um,
        latency_s=_percentiles(s.latency_s),
        frame_rate_hz=(n - 1) / duration_s if n > 1 and duration_s > 0 else math.nan,
        walk_um=walk_um,
        bound_um=kalman_bound(median_se_um**2, walk_um**2, latency_frames) if known else math.nan,
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


def _walk_um(s: LockSamples, is_locked: NDArray[np.bool_], latency_frames: float) -> float:
    """Return the walk a frame: variance of the drift over n frames grows by n walk², noise stays.

    Differences over 1 and over 9 frames, so that their difference is 8 walk²; by median absolute deviation,
    against kicks.
    """
    delay = 1 + round(latency_frames)
    if s.frame.size < 100 + delay or np.count_nonzero(is_locked) < 100:
        return math.nan
    # the command answered to frame k - 1 - latency is where the stage was in frame k
    drift = np.full(s.frame.size, np.nan)
    drift[delay:] = s.z_um[delay:] - s.command_um[:-delay]
    drift[~is_locked] = np.nan
    variance: list[float] = []
    for lag in (1, 9):
        step = drift[lag:] - drift[:-lag]
        step = step[np.isfinite(step) & (s.frame[lag:] - s.frame[:-lag] == lag)]
        if step.size < 50:
            return math.nan
        variance.append(robust_sd(step) ** 2)
    return math.sqrt(max(variance[1] - variance[0], 0.0) / 8)
