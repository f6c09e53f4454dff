"""A lock on a simulated bench, faster than real time: what is true stands beside what is seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.focus import LockController, LockSamples, LockState, Measurement, StageState

Eye = Callable[[int, float, float], Measurement]
"""From frame, time (s) and true defocus (um) to a measurement."""


@dataclass(frozen=True)
class BenchConditions:
    """What a simulated bench does to a lock.

    Parameters
    ----------
    n_frames : int
        Frames exposed.
    frame_rate_hz : float
        Their rate.
    latency_frames : int
        Frames from one to the first that shows its command, less one.
    walk_um, ramp_um_per_s, thermal_um, thermal_period_s : float
        Random walk a frame; steady drift; peak-to-peak amplitude and period of a wave.
    ramp_turns_s : float
        The steady drift turns round after each of these.
    walk_pull_s : float
        Time in which the walk is drawn back to where it began; infinite for a free walk.
    kicks : tuple of (frame, um)
        Sudden jumps of the sample.
    stalls : tuple of (first, last)
        Frames during which the stage does not move; afterwards it goes where it was last sent.
    drop_share : float
        Share of frames that are never delivered.
    stage_lag_s : float
        First-order lag of the stage.
    encoder_noise_um : float
        Of a readback.
    stage_sign : float
        By how much the focus really follows the stage; -1 for an axis that was reversed after calibration.
    travel_um : (float, float)
        Range of the stage.
    seed : int
        Of everything random.
    """

    n_frames: int = 3000
    frame_rate_hz: float = 30.0
    latency_frames: int = 1
    walk_um: float = 0.004
    ramp_um_per_s: float = 0.0
    ramp_turns_s: float = math.inf
    thermal_um: float = 0.0
    thermal_period_s: float = 25.0
    walk_pull_s: float = math.inf
    kicks: tuple[tuple[int, float], ...] = ()
    stalls: tuple[tuple[int, int], ...] = ()
    drop_share: float = 0.0
    stage_lag_s: float = 0.003
    encoder_noise_um: float = 0.001
    stage_sign: float = 1.0
    travel_um: tuple[float, float] = (-50.0, 50.0)
    seed: int = 0

    def drift_um(self) -> NDArray[np.float64]:
        """Return the drift in every frame, um; 0 in the first."""
        rng = np.random.default_rng([self.seed, 1])
        t_s = np.arange(self.n_frames) / self.frame_rate_hz
        steps = rng.normal(0.0, self.walk_um, self.n_frames)
        steps[0] = 0.0
        if math.isinf(self.walk_pull_s):
            walk = np.cumsum(steps)
        else:
            keep = math.exp(-1 / (self.walk_pull_s * self.frame_rate_hz))
            walk = np.empty(self.n_frames)
            at = 0.0
            for k, step in enumerate(steps.tolist()):
                at = keep * at + step
                walk[k] = at
        if math.isinf(self.ramp_turns_s):
            ramp = t_s
        else:
            phase = np.mod(t_s, 2 * self.ramp_turns_s)
            ramp = np.minimum(phase, 2 * self.ramp_turns_s - phase)
        wave = (1 - np.cos(2 * np.pi * t_s / self.thermal_period_s)) / 2
        drift = walk + self.ramp_um_per_s * ramp + self.thermal_um * wave
        for frame, um in self.kicks:
            drift[frame:] += um
        return drift


class GaussianEye:
    """Sees defocus with Gaussian noise: for tests of control alone. Beyond its range it sees nothing."""

    def __init__(
        self, z_se_um: float = 0.008, photons: float = 4000.0, range_um: float = 1.0, seed: int = 0
    ) -> None:
        self._rng = np.random.default_rng([seed, 2])
        self.z_se_um = z_se_um
        self.photons = photons
        self.range_um = range_um

    def __call__(self, frame: int, t_s: float, true_um: float) -> Measurement:
        """Return what is measured of a frame."""
        z_um = true_um + self.z_se_um * float(self._rng.normal())
        is_seen = abs(true_um) < self.range_um
        return Measurement(
            frame=frame,
            t_s=t_s,
            z_um=z_um if is_seen else math.nan,
            z_se_um=self.z_se_um if is_seen else math.nan,
            x_px=6.0,
            y_px=6.0,
            photons=self.photons if is_seen else 0.0,
            background=10.0,
            sigma_x_px=1.4 * math.exp(true_um / 2),
            sigma_y_px=1.4 * math.exp(-true_um / 2),
            is_fit_ok=is_seen,
            reason="" if is_seen else "no spot",
        )


class _Stage:
    """A z stage that lags a little, and stalls when told."""

    def __init__(self, c: BenchConditions) -> None:
        self._c = c
        dt_s = 1 / c.frame_rate_hz
        ratio = c.stage_lag_s / dt_s
        self._left = math.exp(-1 / ratio) if ratio > 0 else 0.0  # of a step at the end of an exposure
        self._mean_left = ratio * (1 - self._left)  # on average during it
        self._rng = np.random.default_rng([c.seed, 3])
        self._at_um = 0.0
        self._on_its_way: list[tuple[int, float]] = []
        self._target_um = 0.0
        self.sent_um, self.sent_t_s = 0.0, -math.inf

    def send(self, frame: int, t_s: float, z_um: float) -> None:
        self.sent_um = min(max(z_um, self._c.travel_um[0]), self._c.travel_um[1])
        self.sent_t_s = t_s
        self._on_its_way.append((frame + 1 + self._c.latency_frames, self.sent_um))

    def expose(self, frame: int) -> float:
        """Return where it is on average during a frame, and leave it where it is at the end."""
        while self._on_its_way and self._on_its_way[0][0] <= frame:
            self._target_um = self._on_its_way.pop(0)[1]
        if any(first <= frame <= last for first, last in self._c.stalls):
            return self._at_um
        away = self._at_um - self._target_um
        self._at_um = self._target_um + away * self._left
        return self._target_um + away * self._mean_left

    def state(self) -> StageState:
        readback = self._at_um + self._c.encoder_noise_um * float(self._rng.normal())
        return StageState(readback, self.sent_um, self.sent_t_s, *self._c.travel_um)


@dataclass
class LockRun:
    """What a simulated lock did. Arrays have one entry a delivered frame.

    Attributes
    ----------
    samples : LockSamples
        What a lock's own record would hold.
    true_um : ndarray
        True defocus less the true defocus at engage (mean over the frames that the setpoint was averaged over).
    stage_um : ndarray
        Where the stage was.
    flags : list of tuple of str
        Of each frame.
    setpoint_um : float
        As the lock found it.
    """

    samples: LockSamples
    true_um: NDArray[np.float64]
    stage_um: NDArray[np.float64]
    flags: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    setpoint_um: float = math.nan

    def rms_um(self, skip: int = 300) -> float:
        """Return the RMS of the true defocus after the first frames."""
        return float(np.sqrt(np.mean(np.square(self.true_um[skip:]))))


def simulate(
    controller: LockController,
    eye: Eye,
    conditions: BenchConditions,
    on_frame: Callable[[int, LockController], None] | None = None,
) -> LockRun:
    """Engage a lock on a simulated bench and run it.

    Parameters
    ----------
    controller : LockController
        Armed; it is engaged here.
    eye : callable
        How defocus is seen.
    conditions : BenchConditions
        What the bench does.
    on_frame : callable, optional
        Called before each frame with its number and the controller, as a plan would act.
    """
    c = conditions
    drift = c.drift_um().tolist()
    dropped = (np.random.default_rng([c.seed, 4]).random(c.n_frames) < c.drop_share).tolist()
    stage = _Stage(c)
    controller.engage()
    frames: list[int] = []
    numbers: list[tuple[float, ...]] = []
    states: list[LockState] = []
    flags: list[tuple[str, ...]] = []
    gathered: list[float] = []
    for frame in range(c.n_frames):
        if on_frame is not None:
            on_frame(frame, controller)
        at_um = stage.expose(frame)
        if dropped[frame]:
            continue
        t_s = frame / c.frame_rate_hz
        true_um = drift[frame] + c.stage_sign * at_um
        m = eye(frame, t_s, true_um)
        is_gathering = math.isnan(controller.setpoint_um)
        command = controller.step(m, stage.state())
        if is_gathering and command.flags:
            gathered.clear()
        elif is_gathering:
            gathered.append(true_um)
        if command.z_um is not None:
            stage.send(frame, t_s, command.z_um)
        frames.append(frame)
        numbers.append(
            (
                t_s, command.error_um, m.z_um, m.z_se_um, stage.sent_um, m.photons, command.confidence, true_um,
                at_um,
            )
        )  # fmt: skip
        states.append(command.state)
        flags.append(command.flags)
    columns = np.array(numbers).T
    samples = LockSamples(
        frame=np.array(frames),
        t_s=columns[0],
        error_um=columns[1],
        z_um=columns[2],
        z_se_um=columns[3],
        command_um=columns[4],
        photons=columns[5],
        confidence=columns[6],
        state=np.array(states),
    )
    engaged_um = float(np.mean(gathered)) if gathered else 0.0
    return LockRun(samples, columns[7] - engaged_um, columns[8], flags, controller.setpoint_um)
