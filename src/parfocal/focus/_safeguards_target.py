"""What to do when the spot is gone."""

from __future__ import annotations

import math

from parfocal.focus._safeguards_quality import Alarm

# Refusals that another z could mend. A second bead, a saturated pixel or a border are not looked for in z.
SEARCHABLE = frozenset({"fit_failed", "low_signal", "implausible_width", "outside_calibration", "imprecise"})


class LostTarget:
    """Fires after so many refused frames in a row."""

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self._count = 0

    def judge(self, is_good: bool) -> Alarm | None:
        """Take in a frame; return `lost` or None."""
        self._count = 0 if is_good else self._count + 1
        if self._count < self._n_frames:
            return None
        return Alarm("lost", f"no good frame among the last {self._count}")

    def reset(self) -> None:
        """Start counting anew."""
        self._count = 0


class ZSearch:
    """Where to look for a lost spot: round the last good z, wider at each turn, up and down by turns.

    0, +1, -1, +2, -2... steps, each held until a frame has shown it; past the range it begins anew, and after
    `n_passes` it rests at the last good z. Each place is at most `range_um` from there, and within `low_um` to
    `high_um`.
    """

    def __init__(self, step_um: float, range_um: float, n_passes: int, dwell_frames: int) -> None:
        self._step_um = step_um
        self._n_turns = max(math.floor(range_um / step_um + 1e-9), 1)
        self._n_passes = n_passes
        self._dwell_frames = max(dwell_frames, 1)
        self.begin(0.0, -math.inf, math.inf)

    @property
    def is_over(self) -> bool:
        """Whether all places have been looked at."""
        return self._frame >= self._n_passes * (2 * self._n_turns + 1) * self._dwell_frames

    def begin(self, round_um: float, low_um: float, high_um: float) -> None:
        """Start round a place, between limits."""
        self._round_um, self._low_um, self._high_um = round_um, low_um, high_um
        self._frame = 0

    def next_um(self) -> float:
        """Return where the stage should be for the next frame, um."""
        if self.is_over:
            return min(max(self._round_um, self._low_um), self._high_um)
        place = (self._frame // self._dwell_frames) % (2 * self._n_turns + 1)
        self._frame += 1
        turn = (place + 1) // 2
        offset = turn * self._step_um * (1 if place % 2 else -1)
        return min(max(self._round_um + offset, self._low_um), self._high_um)
