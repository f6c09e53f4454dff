"""How far the stage may be sent. Limits say so whenever they cut; none does it in silence."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque

from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._measurement import StageState
from parfocal.focus._safeguards_quality import Alarm
from parfocal.robust import MAD_TO_SD

_TOO_FEW = 5


class Deadband:
    """Keeps corrections back that are smaller than what is known: distance, standard errors, recent noise."""

    def __init__(self, s: LockSettings) -> None:
        self._s = s
        self._errors: deque[float] = deque(maxlen=s.dynamic_deadband_window)

    def width_um(self, error_um: float, se_um: float) -> float:
        """Take in a measured error; return the smallest correction worth sending, um.

        Noise is 1.48 times the median absolute change from one error to the next, over sqrt 2: a real drift
        must not open the band that would then let it grow.
        """
        self._errors.append(error_um)
        width = max(self._s.command_deadband_um, self._s.deadband_sigma * se_um)
        if self._s.dynamic_deadband_coeff > 0 and len(self._errors) > _TOO_FEW:
            errors = list(self._errors)
            change = statistics.median(abs(b - a) for a, b in itertools.pairwise(errors))
            noise = MAD_TO_SD * change / math.sqrt(2)
            width = max(width, self._s.command_deadband_um + self._s.dynamic_deadband_coeff * noise)
        return width

    def reset(self) -> None:
        """Forget recent errors."""
        self._errors.clear()


class MotionLimits:
    """Step, slew, excursion and range of the stage, in this order; each that cuts leaves an alarm."""

    def __init__(self, s: LockSettings) -> None:
        self._s = s
        self.centre_um = math.nan

    def limited(
        self, target_um: float, base_um: float, stage: StageState, t_s: float
    ) -> tuple[float, tuple[Alarm, ...]]:
        """Return where to send the stage for a target, and what was cut.

        Parameters
        ----------
        target_um : float
            Where the law wants it.
        base_um : float
            From where a correction counts: the last command plus what the setpoint was moved since.
        stage : StageState
            Its limits, and when it was last sent anywhere.
        t_s : float
            Now.
        """
        s, alarms, z = self._s, list[Alarm](), target_um
        if abs(z - base_um) > s.max_step_um:
            alarms.append(
                Alarm("step_limited", f"correction of {z - base_um:+.3f} um cut to {s.max_step_um:g} um")
            )
            z = base_um + math.copysign(s.max_step_um, z - base_um)
        if s.max_slew_rate_um_per_s is not None:
            reach = s.max_slew_rate_um_per_s * max(t_s - stage.commanded_t_s, 0.0)
            if abs(z - base_um) > reach:
                alarms.append(Alarm("slew_limited", f"correction cut to {s.max_slew_rate_um_per_s:g} um/s"))
                z = base_um + math.copysign(reach, z - base_um)
        if s.max_abs_excursion_um is not None and math.isfinite(self.centre_um):
            low, high = self.centre_um - s.max_abs_excursion_um, self.centre_um + s.max_abs_excursion_um
            if not low <= z <= high:
                words = f"stage kept within {s.max_abs_excursion_um:g} um of where it was at engage"
                alarms.append(Alarm("excursion_limited", words))
                z = min(max(z, low), high)
        low, high = self.range_um(stage)
        if not low <= z <= high:
            alarms.append(Alarm("stage_limited", f"stage kept within its range, {low:g} to {high:g} um"))
            z = min(max(z, low), high)
        return z, tuple(alarms)

    def range_um(self, stage: StageState) -> tuple[float, float]:
        """Return the range of the stage: its own and that of the settings."""
        low = -math.inf if self._s.stage_min_um is None else self._s.stage_min_um
        high = math.inf if self._s.stage_max_um is None else self._s.stage_max_um
        return max(low, stage.low_um), min(high, stage.high_um)


class StuckAtLimit:
    """Fires when the stage was at a limit for so many frames in a row: correcting any longer is pretence."""

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self._count = 0

    def judge(self, is_limited: bool) -> Alarm | None:
        """Take in a frame; return `stuck_at_limit` or None."""
        self._count = self._count + 1 if is_limited else 0
        if self._count < self._n_frames:
            return None
        return Alarm("stuck_at_limit", f"corrections were cut in {self._count} frames in a row")

    def reset(self) -> None:
        """Start counting anew."""
        self._count = 0


class StageLag:
    """Watches whether the stage arrives where it was sent.

    The offset between readback and command at engage is the encoder's own and does not count. The alarm goes
    when the stage has come within half the limit, which it can, since it is sent again meanwhile.
    """

    def __init__(self, s: LockSettings) -> None:
        self._s = s
        self.offset_um = 0.0
        self.reset()

    @property
    def is_lagging(self) -> bool:
        """Whether the alarm is on."""
        return self._is_lagging

    @property
    def has_stalled(self) -> bool:
        """Whether it was on too long."""
        return self._count >= self._s.stage_lag_fault_frames + self._s.stage_stall_frames

    @property
    def is_time_to_nudge(self) -> bool:
        """Whether the last command should be sent again in this frame."""
        return (
            self._is_lagging and (self._count - self._s.stage_lag_fault_frames) % self._s.stage_nudge_frames == 0
        )

    def judge(self, lag_um: float) -> Alarm | None:
        """Take in how far the stage is from where it should be; return `stage_lag` or None."""
        limit = self._s.max_stage_lag_um * (0.5 if self._is_lagging else 1.0)
        self._count = self._count + 1 if lag_um > limit else 0
        self._is_lagging = self._count > 0 if self._is_lagging else self._count >= self._s.stage_lag_fault_frames
        if not self._is_lagging:
            return None
        return Alarm("stage_lag", f"stage is {lag_um:.2f} um from where it was sent, for {self._count} frames")

    def reset(self) -> None:
        """Start counting anew."""
        self._count = 0
        self._is_lagging = False
