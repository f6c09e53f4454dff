"""Where the stage was during a frame's exposure, from what it was sent and when that shows."""

from __future__ import annotations

import itertools
import math
from collections import deque
from typing import NamedTuple

_KEPT = 256


class CommandsUnderWay:
    """Remembers commands by the frame that they answered, and by the time they were sent where that is known.

    By time: a frame sees the mean of where the stage was sent during its exposure. By frame, where no time is
    known: a command given after frame k shows in frame k + 1 + latency and later; with a latency of 1.3, frame
    k + 2 sees 70 % of its exposure at the new place.
    """

    def __init__(self, latency_frames: float) -> None:
        self._whole = math.floor(latency_frames)
        self._part = latency_frames - self._whole
        self._sent: deque[_Sent] = deque(maxlen=_KEPT)
        self._is_fresh = False

    def note(self, frame: int, commanded_um: float, t_s: float = math.nan, sending_s: float = 0.0) -> None:
        """Take what the stage says it was sent, before `frame` is answered: it is right, whatever was asked."""
        if not self._sent:
            self._sent.append(_Sent(-math.inf, commanded_um, -math.inf))
        elif self._sent[-1].z_um != commanded_um:
            if self._is_fresh:  # our own last one, cut or rounded on its way
                self._sent[-1] = _Sent(self._sent[-1].frame, commanded_um, t_s, sending_s)
            else:
                self._sent.append(_Sent(frame - 1, commanded_um, t_s, sending_s))
        elif self._is_fresh:
            self._sent[-1] = self._sent[-1]._replace(t_s=t_s, sending_s=sending_s)
        self._is_fresh = False

    def send(self, frame: int, z_um: float) -> None:
        """Remember the answer to a frame."""
        self._sent.append(_Sent(frame, z_um, math.nan))
        self._is_fresh = True

    def stamp(self, t_s: float) -> None:
        """Tell when the last was sent."""
        if self._is_fresh:
            self._sent[-1] = self._sent[-1]._replace(t_s=t_s)
            self._is_fresh = False

    def at_um(self, frame: int, t_s: float = math.nan, exposure_s: float = math.nan) -> float:
        """Return where the stage was, on average, while a frame was exposed about `t_s`, um."""
        if math.isfinite(t_s) and math.isfinite(exposure_s):
            mean_um = self._mean_um(t_s - exposure_s / 2, t_s + exposure_s / 2)
            if math.isfinite(mean_um):
                return mean_um
        first = self._in_force(frame - 1 - self._whole)
        return first if self._part == 0 else first + self._part * (self._in_force(frame - 2 - self._whole) - first)

    def is_settled(self, t_s: float, exposure_s: float) -> bool:
        """Return whether the stage stood still all through a frame: `at_um` is then free of its lag.

        It takes a stage some of the latency to arrive. A command may have gone out as early as its sending began,
        which can be long before it was done where a driver, or another thread, takes its time. Frames of unknown
        time are settled.
        """
        latest_s = t_s + exposure_s / 2
        earliest_s = latest_s - (1 + self._whole + self._part) * exposure_s
        moved = (new for old, new in itertools.pairwise(self._sent) if new.z_um != old.z_um)
        return not any(sent.t_s > earliest_s and sent.t_s - sent.sending_s < latest_s for sent in moved)

    def lag_um(self, frame: int, readback_um: float) -> float:
        """Return how far a readback is from the nearest place that the stage may still rightly be at, um."""
        oldest = frame - 1 - math.ceil(self._whole + self._part)
        now = self._in_force(oldest)
        low = high = now
        for sent in self._sent:
            if sent.frame >= oldest:
                low, high = min(low, sent.z_um), max(high, sent.z_um)
        return max(low - readback_um, readback_um - high, 0.0)

    def _mean_um(self, from_s: float, until_s: float) -> float:
        """Return the mean of what was in force in a span of time; NaN where a time that matters is not known."""
        total, end_s = 0.0, until_s
        for sent in reversed(self._sent):
            if math.isnan(sent.t_s):
                return math.nan
            if sent.t_s >= end_s:
                continue
            begin_s = max(sent.t_s, from_s)
            total += (end_s - begin_s) * sent.z_um
            end_s = begin_s
            if end_s <= from_s:
                return total / (until_s - from_s)
        return math.nan

    def _in_force(self, frame: float) -> float:
        for sent in reversed(self._sent):
            if sent.frame <= frame:
                return sent.z_um
        return self._sent[0].z_um


class _Sent(NamedTuple):
    frame: float
    z_um: float
    t_s: float
    sending_s: float = 0.0
