"""Whether the focus follows the stage by as much as calibrated, and whether a measurement was expected."""

from __future__ import annotations

import math
from collections import deque

from parfocal.focus._safeguards_quality import Alarm

_GAIN, _LEAST_GAIN, _MOST_GAIN = 0.3, 0.1, 0.8
_GAIN_STEP = 0.01
# Steps of the focus that the stage cannot have made are left out of the regression.
_JUMP_SIGMA = 5.0
_JUMP_OVER_MOTION = 4.0


class ResponseSlope:
    """By how much the measured z follows the commanded z: 1 where all is well, -1 where the sign is wrong.

    In a closed loop, plain regression of measured on commanded z gives 0 for a perfect lock: the stage moves,
    the focus does not. So what the drift did until now is taken off first. With a filter of the drift, d += K e,
    e_k = z_k - s_k - d, a response of slope b leaves in e_k, beside noise, (b - 1) x_k, where x is the motion
    put through the same filter, x_k = (1 - K) x_(k-1) + (s_k - s_(k-1)). x_k follows from commands given before
    frame k; where the noise of e is white, it is independent of x, and the slope of e on x is unbiased, loop
    closed or open. K is moved until it is white: the product of neighbouring residuals tells where to. A mean of
    e (steady drift) is taken off.

    Parameters
    ----------
    memory_frames : float
        How long a frame counts; infinity for ever.
    """

    def __init__(self, memory_frames: float = math.inf) -> None:
        self._keep = 1 - 1 / memory_frames
        self.reset()

    @property
    def slope(self) -> float:
        """The response; NaN before anything moved."""
        sxx, sxe = self._centred()
        return 1 + sxe / sxx if sxx > 0 else math.nan

    @property
    def se(self) -> float:
        """Its standard error; infinite before anything moved."""
        sxx, sxe = self._centred()
        if not (sxx > 0 and self._weight > 2):
            return math.inf
        rest = self._see - self._se**2 / self._weight - sxe**2 / sxx
        # Never below what the measurements themselves say of their noise: few frames can agree by chance.
        variance = max(rest / self._weight, self._noise / self._weight)
        return math.sqrt(variance / sxx)

    def update(self, z_um: float, z_se_um: float, stage_um: float) -> None:
        """Take in a good measurement and where the stage was."""
        drift = z_um - stage_um
        if math.isnan(self._drift):
            self._drift, self._stage = drift, stage_um
            return
        self._x = (1 - self._gain) * self._x + stage_um - self._stage
        self._stage = stage_um
        e = drift - self._drift
        expected = z_se_um * math.sqrt(2 / (2 - self._gain))
        sd = max(expected, math.sqrt(self._see / self._weight) if self._weight > _JUMP_SIGMA else expected)
        if abs(e) > _JUMP_SIGMA * sd and abs(e) > _JUMP_OVER_MOTION * abs(self._x):
            self._drift, self._x, self._last = drift, 0.0, 0.0
            return
        self._drift += self._gain * e
        rest = e - (self.slope - 1) * self._x if self._weight > _JUMP_SIGMA and self._x else e
        gain = self._gain + _GAIN_STEP * max(-1.0, min(1.0, rest * self._last / sd**2))
        self._gain, self._last = max(_LEAST_GAIN, min(_MOST_GAIN, gain)), rest
        k, x = self._keep, self._x
        self._weight = k * self._weight + 1
        self._sx, self._sxx = k * self._sx + x, k * self._sxx + x * x
        self._se, self._sxe = k * self._se + e, k * self._sxe + x * e
        self._see = k * self._see + e * e
        self._noise = k * self._noise + expected**2

    def reset(self) -> None:
        """Forget everything."""
        self._drift = self._stage = math.nan
        self._gain, self._last = _GAIN, 0.0
        self._x = self._weight = self._sx = self._sxx = self._se = self._sxe = self._see = self._noise = 0.0

    def _centred(self) -> tuple[float, float]:
        if self._weight == 0:
            return 0.0, 0.0
        sxx = self._sxx - self._sx**2 / self._weight
        return max(sxx, 0.0), self._sxe - self._sx * self._se / self._weight


class Runaway:
    """Fires when the response is surely too small: corrections do not correct, or make it worse."""

    def __init__(self, slope: float, sigma: float, memory_frames: float = 300.0) -> None:
        self._slope = slope
        self._sigma = sigma
        self.response = ResponseSlope(memory_frames)

    def judge(self, z_um: float, z_se_um: float, stage_um: float) -> Alarm | None:
        """Take in a good measurement; return `runaway` or None."""
        self.response.update(z_um, z_se_um, stage_um)
        if not self.response.slope + self._sigma * self.response.se <= self._slope:
            return None
        return Alarm("runaway", f"focus follows the stage by {self.response.slope:.2f}, expected 1")

    def reset(self) -> None:
        """Forget everything."""
        self.response.reset()


class InnovationGate:
    """Refuses a measurement far from what was expected, unless others after it agree with it.

    A single one is an accident of the image. Some in a row, as near to each other as their noise has it, are a
    jump of the sample: a kick. So are some in a row that lie to the same side, none of them far enough by
    itself but too far together: a small kick in little light.
    """

    def __init__(self, sigma: float, kick_frames: int) -> None:
        self._sigma = sigma
        self._far: deque[tuple[float, float]] = deque(maxlen=kick_frames)
        self._near: deque[tuple[float, float, float]] = deque(maxlen=kick_frames)
        self._jumped: list[tuple[float, float]] = []

    def judge(self, value_um: float, se_um: float, expected_um: float, expected_sd_um: float) -> Alarm | None:
        """Return `unexpected` or None; `kick` when a jump has been confirmed (see `jump`)."""
        sd = math.hypot(se_um, expected_sd_um)
        away = value_um - expected_um
        if not abs(away) > self._sigma * sd:
            self._far.clear()
            return self._together(value_um, se_um, away / sd)
        self._near.clear()
        self._far.append((value_um, se_um))
        values = [v for v, _ in self._far]
        is_full = len(values) == self._far.maxlen
        if is_full and max(values) - min(values) <= self._sigma * sd * math.sqrt(2):
            self._jumped = list(self._far)
            return Alarm("kick", f"focus has jumped by {away:+.3f} um")
        return Alarm("unexpected", f"z is {away:+.3f} um from where it was expected, {abs(away) / sd:.0f} sigma")

    def jump(self) -> tuple[float, float]:
        """Return where the jump went, weighted mean and its standard error, and forget it."""
        weights = [1 / se**2 for _, se in self._jumped]
        mean = sum(w * v for w, (v, _) in zip(weights, self._jumped, strict=True)) / sum(weights)
        self.reset()
        return mean, 1 / math.sqrt(sum(weights))

    def reset(self) -> None:
        """Forget unexpected measurements."""
        self._far.clear()
        self._near.clear()
        self._jumped = []

    def _together(self, value_um: float, se_um: float, sigmas: float) -> Alarm | None:
        self._near.append((value_um, se_um, sigmas))
        if len(self._near) < (self._near.maxlen or 0):
            return None
        total = sum(s for _, _, s in self._near) / math.sqrt(len(self._near))
        if not abs(total) > self._sigma:
            return None
        self._jumped = [(v, se) for v, se, _ in self._near]
        return Alarm("kick", f"the last {len(self._near)} frames are {abs(total):.0f} sigma off together")
