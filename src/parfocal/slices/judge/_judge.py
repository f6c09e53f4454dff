"""Judge slices one by one, by what the good ones before them looked like."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd
from parfocal.slices._verdict import Verdict
from parfocal.slices.judge._look import LookSettings, SliceLook, look_at

_REMEMBERED = 10_000


@dataclass(frozen=True)
class JudgeSettings:
    """How far a slice may be from what is expected.

    Attributes
    ----------
    blur_k, motion_k, shading_k : float
        In standard deviations of good slices.
    n_learn : int
        Slices from which to learn what good ones look like; until then verdicts are provisional.
    n_kept : int
        Good slices that are remembered; older ones are forgotten, so that slow changes are followed.
    empty_content : float
        `SliceLook.content` below which a field is empty, which is no fault.
    saturated_share : float
        Share of saturated pixels above which a slice is rejected.
    """

    blur_k: float = 4.5
    motion_k: float = 5.0
    shading_k: float = 5.0
    n_learn: int = 8
    n_kept: int = 100
    empty_content: float = 2.0
    saturated_share: float = 0.01


@dataclass(frozen=True)
class Spread:
    """Where a number of good slices lies: median, and standard deviation by the median absolute deviation."""

    middle: float
    sd: float


@dataclass(frozen=True)
class SliceExpectations:
    """What good slices look like, in the sample, at the light and with the optics that they were taken with."""

    sharpness: Spread
    direction: Spread
    darkest: Spread
    n: int


@dataclass(frozen=True)
class _Side:
    """Which end of a number is the good one, the widest gap between good slices, and their least scatter."""

    good_is_high: bool
    reach: float
    least_sd: float


_SIDES = {
    "sharpness": _Side(True, 0.6, 0.08),
    "direction": _Side(False, 0.7, 0.08),
    "darkest": _Side(True, 0.7, 0.08),
}


def expectations_of(looks: Sequence[SliceLook]) -> SliceExpectations:
    """Learn what good slices look like from some of which many may be bad.

    Median and MAD of the best, up to the first gap that is wider than good slices scatter: so a focus that jumped
    away, and stayed away, is not what is learned. The standard deviation is widened by 1 + 4 / n, as it is known
    that badly.

    Raises
    ------
    BadInputError
        There are fewer than 3.
    """
    if len(looks) < 3:
        raise BadInputError(f"slice judge: {len(looks)} slices with content, 3 or more are needed to learn from")
    spreads: dict[str, Spread] = {}
    for name, side in _SIDES.items():
        values = np.array([getattr(look, name) for look in looks])
        # From the best on, up to the first gap that is wider than good slices scatter.
        ordered = np.sort(values if not side.good_is_high else -values)
        gaps = np.flatnonzero(np.diff(ordered) > side.reach)
        used = (ordered[: gaps[0] + 1] if gaps.size else ordered) * (-1 if side.good_is_high else 1)
        middle = float(np.median(used))
        sd = robust_sd(used)
        known = max(sd, side.least_sd)
        # Widened, but not beyond what good slices have in common anyway: two that differ would pardon anything.
        spreads[name] = Spread(middle, max(known, min(known * (1 + 4 / used.size), side.reach / 2)))
    return SliceExpectations(**spreads, n=len(looks))


def judge_look(
    look: SliceLook, expected: SliceExpectations | None, settings: JudgeSettings = JudgeSettings()
) -> Verdict:
    """Judge one slice by its numbers alone.

    Parameters
    ----------
    look : SliceLook
        Of the slice.
    expected : SliceExpectations, optional
        What good ones look like. Without, only saturation is judged, and the verdict is provisional.
    settings : JudgeSettings
        How far it may be off.

    Returns
    -------
    Verdict
        Its score is the largest deviation over what is allowed: above 1 rejects. The reason names it: "saturated",
        "shaded", "moved" (with the direction), "blurred", or "empty field" of an accepted one.
    """
    scores = look.as_dict()
    ratios: dict[str, float] = {"saturated": look.saturated / settings.saturated_share}
    is_empty = look.content < settings.empty_content
    if expected is not None:
        ratios["shaded"] = _below(look.darkest, expected.darkest) / settings.shading_k
        if not is_empty:
            ratios["moved"] = -_below(look.direction, expected.direction) / settings.motion_k
            ratios["blurred"] = _below(look.sharpness, expected.sharpness) / settings.blur_k
    reason, score = max(ratios.items(), key=lambda item: item[1])
    # What moved is blurred too, and what is blurred often looks drawn out: by which of the two it is farther off.
    if not score > 1:
        said = "empty field" if is_empty else ""
        return Verdict(True, said, score, is_provisional=expected is None, scores=scores)
    along = f" along {look.direction_deg:.0f} deg" if reason == "moved" else ""
    return Verdict(False, reason + along, score, scores=scores)


def _below(value: float, expected: Spread) -> float:
    """Return by how many standard deviations a value lies below what is expected."""
    return (expected.middle - value) / expected.sd


@dataclass
class SliceJudge:
    """Judges frames as they come, and learns from those it accepts.

    Until `settings.n_learn` slices with content were seen, verdicts are provisional: the first two pass, the
    others are judged by what little is known. Whoever asks `again` later is told more. Given expectations, it
    judges from the first frame on. May be called from several threads.

    Parameters
    ----------
    expected : SliceExpectations, optional
        From other slices of the same kind.
    settings : JudgeSettings
        How strict it is.
    look : LookSettings
        Bands, and the camera's offset and end.
    """

    expected: SliceExpectations | None = None
    settings: JudgeSettings = field(default_factory=JudgeSettings)
    look: LookSettings = field(default_factory=LookSettings)
    _looks: OrderedDict[int, SliceLook] = field(default_factory=OrderedDict[int, SliceLook])
    _good: OrderedDict[int, SliceLook] = field(default_factory=OrderedDict[int, SliceLook])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _was_given: bool = field(init=False)
    _has_learned: bool = field(init=False)

    score_names = SliceLook.names()

    def __post_init__(self) -> None:
        self._was_given = self._has_learned = self.expected is not None

    def __call__(self, pixels: ArrayLike) -> Verdict:
        """Judge a frame that nobody will ask about again."""
        with self._lock:
            number = min(self._looks, default=0) - 1
        return self.see(pixels, number)

    def see(self, pixels: ArrayLike, frame: int, slice_id: str = "") -> Verdict:
        """Judge a frame, and remember it by its number; any slice is judged alike."""
        return self.take(look_at(pixels, self.look), frame)

    def take(self, look: SliceLook, frame: int) -> Verdict:
        """Judge a frame by its numbers; see `see`."""
        with self._lock:
            self._looks[frame] = look
            self._good.pop(frame, None)
            if not self._has_learned:
                self._learn_first()
            verdict = self._judged(look)
            if self._has_learned and verdict.accepted and look.content >= self.settings.empty_content:
                self._good[frame] = look
                if len(self._good) > self.settings.n_kept:
                    self._good.popitem(last=False)
                if not self._was_given and len(self._good) >= 3:
                    self.expected = expectations_of(list(self._good.values()))
            while len(self._looks) > _REMEMBERED:
                self._looks.popitem(last=False)
            return verdict

    def again(self, frame: int) -> Verdict:
        """Judge a frame once more, by what is expected now.

        Raises
        ------
        BadInputError
            It was never seen.
        """
        with self._lock:
            if frame not in self._looks:
                raise BadInputError(f"slice judge: frame {frame} was never seen, it cannot be judged again")
            return self._judged(self._looks[frame])

    def as_dict(self) -> dict[str, Any]:
        """Return settings and expectations as plain values, for metadata."""
        with self._lock:
            expected = asdict(self.expected) if self._was_given and self.expected is not None else None
        return {"settings": asdict(self.settings), "expected": expected, "look": asdict(self.look)}

    def _judged(self, look: SliceLook) -> Verdict:
        return replace(judge_look(look, self.expected, self.settings), is_provisional=not self._has_learned)

    def _learn_first(self) -> None:
        """Learn from the first slices; once there are enough, go on from those that are good by that."""
        seen = {k: v for k, v in self._looks.items() if v.content >= self.settings.empty_content}
        if len(seen) < 3:
            return
        self.expected = expectations_of(list(seen.values()))
        if len(seen) < self.settings.n_learn:
            return
        self._has_learned = True
        for frame, look in seen.items():
            if judge_look(look, self.expected, self.settings).accepted:
                self._good[frame] = look
        if len(self._good) >= 3:
            self.expected = expectations_of(list(self._good.values()))


def expectations_from(told: dict[str, Any]) -> SliceExpectations:
    """Return expectations from plain values, as `asdict` writes them.

    Raises
    ------
    BadInputError
        Something is missing, or not a number.
    """
    spreads: dict[str, Spread] = {}
    for name in _SIDES:
        try:
            middle, sd = float(told[name]["middle"]), float(told[name]["sd"])
        except (KeyError, TypeError, ValueError):
            middle, sd = math.nan, math.nan
        if not (math.isfinite(middle) and math.isfinite(sd) and sd > 0):
            raise BadInputError(
                f"slice judge: expectation of {name} is {told.get(name)!r}, "
                '{"middle": number, "sd": number above 0} was expected'
            )
        spreads[name] = Spread(middle, sd)
    return SliceExpectations(**spreads, n=int(told.get("n", 0)))
