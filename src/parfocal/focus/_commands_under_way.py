"""Where the stage was during a frame's exposure, from what it was sent and when that shows."""

from __future__ import annotations

import math
from collections import deque

_KEPT = 256


class CommandsUnderWay:
    """Remembers commands by the frame that they answered.

    A command given after frame k shows in frame k + 1 + latency and later. With a latency of 1.3, frame k + 2 sees
    70 % of its exposure at the new place.
    """

    def __init__(self, latency_frames: float) -> None:
        self._whole = math.floor(latency_frames)
        self._part = latency_frames - self._whole
        self._sent: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._is_fresh = False

    def note(self, frame: int, commanded_um: float) -> None:
        """Take what the stage says it was sent, before `frame` is answered: it is right, whatever was asked."""
        if not self._sent:
            self._sent.append((-math.inf, commanded_um))
        elif self._sent[-1][1] != commanded_um:
            if self._is_fresh:  # our own last one, cut or rounded on its way
                self._sent[-1] = (self._sent[-1][0], commanded_um)
            else:
                self._sent.append((frame - 1, commanded_um))
        self._is_fresh = False

    def send(self, frame: int, z_um: float) -> None:
        """Remember the answer to a frame."""
        self._sent.append((frame, z_um))
        self._is_fresh = True

    def at_um(self, frame: int) -> float:
        """Return where the stage was, on average, while a frame was exposed, um."""
        first = self._in_force(frame - 1 - self._whole)
        return first if self._part == 0 else first + self._part * (self._in_force(frame - 2 - self._whole) - first)

    def lag_um(self, frame: int, readback_um: float) -> float:
        """Return how far a readback is from the nearest place that the stage may still rightly be at, um."""
        now = self._in_force(frame - 1 - math.ceil(self._whole + self._part))
        low = high = now
        for at, z in self._sent:
            if at >= frame - 1 - math.ceil(self._whole + self._part):
                low, high = min(low, z), max(high, z)
        return max(low - readback_um, readback_um - high, 0.0)

    def _in_force(self, frame: float) -> float:
        for at, z in reversed(self._sent):
            if at <= frame:
                return z
        return self._sent[0][1]
