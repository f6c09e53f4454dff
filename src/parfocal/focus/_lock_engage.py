"""Before a lock moves on its own: where to hold, and whether the stage does what the calibration says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._measurement import Measurement, StageState
from parfocal.focus._safeguards_quality import Alarm
from parfocal.focus._safeguards_response import ResponseSlope
from parfocal.focus._safeguards_target import LostTarget

_SURE = 3.0  # standard errors below zero response that end a probe at once
_NEARER_TO_REVERSED = -0.5
_CLEAR_SHARE = 0.2  # of the tolerance: standard error at which a response counts as known (5 sigma to its edge)


class MeanOfGoodFrames:
    """Weighted mean of so many measurements, and its own standard error."""

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self.clear()

    @property
    def is_full(self) -> bool:
        """Whether there are enough."""
        return self._n >= self._n_frames

    @property
    def mean_um(self) -> float:
        """The mean; NaN of none."""
        return self._sum / self._weight if self._n else math.nan

    @property
    def se_um(self) -> float:
        """Its standard error, um."""
        return 1 / math.sqrt(self._weight) if self._n else math.inf

    @property
    def typical_se_um(self) -> float:
        """Standard error of one measurement, um."""
        return self.se_um * math.sqrt(self._n)

    def add(self, value_um: float, se_um: float) -> None:
        """Take in a measurement."""
        weight = 1 / se_um**2
        self._n += 1
        self._weight += weight
        self._sum += weight * value_um

    def clear(self) -> None:
        """Begin anew."""
        self._n = 0
        self._weight = self._sum = 0.0


class SignProbe:
    """Moves the stage by a few standard errors, up and down, until the response is known.

    A response of the wrong sign or none ends it with the first frames that show it; else it goes on until
    the standard error is a fifth of the tolerance.
    """

    def __init__(self, s: LockSettings) -> None:
        self._s = s
        self._half_frames = 4 + math.ceil(s.latency_frames)
        self.response = ResponseSlope()
        self.begin(0.0, s.probe_min_um)

    def begin(self, centre_um: float, se_um: float) -> None:
        """Start at a place, with moves for that standard error."""
        self.centre_um = centre_um
        self.size_um = min(max(self._s.probe_sigma * se_um, self._s.probe_min_um), self._s.probe_max_um)
        self._frame = 0

    def next_um(self) -> float:
        """Return where the stage should be for the next frame, um."""
        sign = 1 if (self._frame // self._half_frames) % 2 == 0 else -1
        self._frame += 1
        return self.centre_um + sign * self.size_um

    def judge(self) -> tuple[bool, Alarm | None]:
        """Return whether the probe is over, and what was wrong."""
        slope, se = self.response.slope, self.response.se
        is_known = se <= _CLEAR_SHARE * self._s.response_tolerance
        if slope + _SURE * se < self._s.runaway_slope or (is_known and slope < self._s.runaway_slope):
            found = f"response {slope:.2f} +- {se:.2f}, expected 1"
            if slope < _NEARER_TO_REVERSED:
                return True, Alarm("wrong_sign", f"focus moves against the stage: {found}")
            return True, Alarm("no_response", f"focus does not follow the stage: {found}")
        if is_known:
            if abs(slope - 1) <= self._s.response_tolerance:
                return True, None
            expected = f"1 +- {self._s.response_tolerance:g}"
            return True, Alarm("wrong_response", f"focus follows the stage by {slope:.2f}, expected {expected}")
        if self._frame >= self._s.probe_frames:
            words = f"response {slope:.2f} +- {se:.2f} after {self._frame} frames: too noisy to tell"
            return True, Alarm("probe_inconclusive", words)
        return False, None


@dataclass(frozen=True)
class EngageStep:
    """What an engagement makes of a frame.

    Attributes
    ----------
    outcome : {"going", "found", "ready", "late", "wrong"}
        The setpoint was just found, the stage is proved, the time is over, or the stage does not do as calibrated.
    z_um : float or None
        Where to send the stage.
    alarms : tuple of Alarm
    is_believed : bool
        Whether the measurement may teach the drift filter.
    """

    outcome: Literal["going", "found", "ready", "late", "wrong"]
    z_um: float | None = None
    alarms: tuple[Alarm, ...] = ()
    is_believed: bool = False


class Engagement:
    """Good frames in a row give the setpoint while nothing moves; then a probe proves sign and response.

    A spot that is gone during the probe begins all anew, with the stage back where it was: nothing is proved yet,
    so a search or a correction would trust a sign that may be wrong.
    """

    def __init__(self, s: LockSettings) -> None:
        self._s = s
        self._mean = MeanOfGoodFrames(s.setpoint_frames)
        self._offset = MeanOfGoodFrames(s.setpoint_frames)
        self._lost = LostTarget(s.lost_frames)
        self.probe = SignProbe(s)
        self._is_probing = False
        self._n_gathered = self._n_to_skip = 0

    @property
    def setpoint_um(self) -> tuple[float, float]:
        """Mean defocus of the frames that were gathered, and its standard error, um."""
        return self._mean.mean_um, self._mean.se_um

    @property
    def stage_offset_um(self) -> float:
        """Mean of the stage's readback less where it was sent, um."""
        return self._offset.mean_um

    def step(
        self, m: Measurement, stage: StageState, at_um: float, alarms: Sequence[Alarm], is_settled: bool = True
    ) -> EngageStep:
        """Take in a frame, which saw the stage at `at_um`; of a stage under way, it proves nothing."""
        if self._is_probing:
            return self._prove(m, at_um, tuple(alarms), is_settled)
        self._n_gathered += 1
        if self._n_to_skip:
            self._n_to_skip -= 1
            return EngageStep("going", alarms=tuple(alarms))
        if alarms:
            self._mean.clear()
            self._offset.clear()
            if self._n_gathered < self._s.engage_timeout_frames:
                return EngageStep("going", alarms=tuple(alarms))
            words = f"no {self._s.setpoint_frames} good frames in a row among {self._n_gathered}"
            return EngageStep("late", alarms=(Alarm("engage_timeout", words), *alarms))
        self.probe.response.update(m.z_um, m.z_se_um, at_um)
        self._mean.add(m.z_um, m.z_se_um)
        self._offset.add(stage.z_um - stage.commanded_um, 1.0)
        if not self._mean.is_full:
            return EngageStep("going", is_believed=True)
        if not self._s.sign_probe:
            return EngageStep("ready", is_believed=True)
        self._is_probing = True
        self.probe.begin(stage.commanded_um, self._mean.typical_se_um)
        return EngageStep("found", self.probe.next_um(), is_believed=True)

    def _prove(self, m: Measurement, at_um: float, alarms: tuple[Alarm, ...], is_settled: bool) -> EngageStep:
        lost = self._lost.judge(not alarms)
        if lost is not None:
            return self._again((lost, *alarms))
        if alarms:
            return EngageStep("going", alarms=alarms)
        if is_settled:
            self.probe.response.update(m.z_um, m.z_se_um, at_um)
        is_over, wrong = self.probe.judge()
        if wrong is not None:
            return EngageStep("wrong", self.probe.centre_um, (wrong,), is_believed=True)
        if is_over:
            return EngageStep("ready", is_believed=True)
        return EngageStep("going", self.probe.next_um(), is_believed=is_settled)

    def _again(self, alarms: tuple[Alarm, ...]) -> EngageStep:
        back_um = self.probe.centre_um
        self._is_probing, self.probe = False, SignProbe(self._s)
        self._n_to_skip = math.ceil(self._s.latency_frames) + 2  # until the stage is back
        for part in (self._mean, self._offset):
            part.clear()
        self._lost.reset()
        return EngageStep("going", back_um, alarms)
