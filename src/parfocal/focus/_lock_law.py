"""What turns measurements into commands: two laws behind one protocol."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from parfocal.focus._lock_settings import LockSettings


@dataclass(frozen=True)
class LawInput:
    """What a law is told of a good frame.

    Attributes
    ----------
    error_um : float
        Measured defocus less the setpoint.
    commanded_um : float
        Where the stage was last sent.
    setpoint_um : float
        Defocus to hold.
    drift_um : float
        Defocus less stage, expected for the first frame that will show a command given now.
    t_s : float
        Time of the frame.
    confidence : float
        0 to 1.
    """

    error_um: float
    commanded_um: float
    setpoint_um: float
    drift_um: float
    t_s: float
    confidence: float


class ControlLaw(Protocol):
    """Where to send the stage."""

    def target_um(self, now: LawInput) -> float:
        """Return where the stage should be, um."""
        ...

    def was_limited(self) -> None:
        """Hear that the target just returned was not, or not wholly, sent."""
        ...

    def reset(self) -> None:
        """Forget what was learnt of errors."""
        ...


class KalmanLaw:
    """Cancels the drift expected when the command acts: the gain is in the filter, and follows the noise."""

    def target_um(self, now: LawInput) -> float:
        """Return the stage position at which the setpoint will be met."""
        return now.setpoint_um - now.drift_um

    def was_limited(self) -> None:
        """Nothing winds up: the filter knows what was sent, not what was wanted."""

    def reset(self) -> None:
        """Nothing to forget: drift is the filter's."""


class PiLaw:
    """The original's law: -(kp e + ki ∫e dt + kd de/dt) is added to where the stage was last sent.

    So kp integrates already, and ki twice; latency is not known to it. The integral takes an error in only where
    the command was not limited.
    """

    def __init__(self, settings: LockSettings) -> None:
        self._settings = settings
        self._raw: deque[float] = deque(maxlen=3)
        self.reset()

    def target_um(self, now: LawInput) -> float:
        """Return the last command plus the correction."""
        s = self._settings
        self._raw.append(now.error_um)
        error = statistics.median(self._raw) if s.error_median3 else now.error_um
        if not math.isnan(self._error):
            error = s.error_alpha * self._error + (1 - s.error_alpha) * error
        dt_s = 0.0 if math.isnan(self._t_s) else min(max(now.t_s - self._t_s, 0.0), s.max_dt_s)
        if dt_s > 0:
            slope = (error - self._error) / dt_s
            self._slope = s.derivative_alpha * self._slope + (1 - s.derivative_alpha) * slope
        self._error, self._t_s = error, now.t_s
        scaled = error * max(s.min_confidence_scale, min(now.confidence, 1.0))
        self._integral_before = self._integral
        bounded = max(-s.integral_limit_um, min(s.integral_limit_um, self._integral + scaled * dt_s))
        self._integral = bounded
        return now.commanded_um - (s.kp * scaled + s.ki * self._integral + s.kd * self._slope)

    def was_limited(self) -> None:
        """Take the last error out of the integral again."""
        self._integral = self._integral_before

    def reset(self) -> None:
        """Start without integral and slope."""
        self._error = self._t_s = math.nan
        self._integral = self._integral_before = self._slope = 0.0
        self._raw.clear()


def make_law(settings: LockSettings) -> ControlLaw:
    """Return the law that the settings name."""
    return PiLaw(settings) if settings.law == "pi" else KalmanLaw()
