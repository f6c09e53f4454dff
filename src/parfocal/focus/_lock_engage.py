"""Before a lock moves on its own: where to hold, and whether the stage does what the calibration says."""

from __future__ import annotations

import math

from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._safeguards_quality import Alarm
from parfocal.focus._safeguards_response import ResponseSlope

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
