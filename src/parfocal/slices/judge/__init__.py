"""Judge slices as they are taken: blurred, moved, shaded, saturated."""

from parfocal.slices.judge._judge import (
    JudgeSettings,
    SliceExpectations,
    SliceJudge,
    Spread,
    expectations_from,
    expectations_of,
    judge_look,
)
from parfocal.slices.judge._look import LookSettings, SliceLook, look_at
from parfocal.slices.judge._stack_judge import StackJudge, StackSettings, moved_planes

__all__ = [
    "JudgeSettings",
    "LookSettings",
    "SliceExpectations",
    "SliceJudge",
    "SliceLook",
    "Spread",
    "StackJudge",
    "StackSettings",
    "expectations_from",
    "expectations_of",
    "judge_look",
    "look_at",
    "moved_planes",
]
