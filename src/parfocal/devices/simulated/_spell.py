"""A span of time in which something is out of order."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Spell:
    """From `start_s` on, up to `end_s`; what ends it early leaves the past as it was."""

    start_s: float
    end_s: float = math.inf

    def covers(self, t_s: float) -> bool:
        """Whether a time lies in it."""
        return self.start_s <= t_s < self.end_s

    def end(self, t_s: float) -> None:
        """Let it be over from a time on."""
        self.end_s = min(self.end_s, t_s)


def spells(start_s: float, duration_s: float, n_times: int) -> list[Spell]:
    """Return spells of one duration, with pauses as long between them; a duration of 0 never ends."""
    if duration_s == 0:
        return [Spell(start_s)]
    begins = [start_s + 2 * k * duration_s for k in range(n_times)]
    return [Spell(begin_s, begin_s + duration_s) for begin_s in begins]
