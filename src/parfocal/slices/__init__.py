"""Slices: judge them as they come, select the good ones, keep the audit trail, mend serial sections."""

from parfocal.slices._verdict import Verdict
from parfocal.slices.judge import (
    JudgeSettings,
    LookSettings,
    SliceExpectations,
    SliceJudge,
    SliceLook,
    expectations_from,
    expectations_of,
    judge_look,
    look_at,
)
from parfocal.slices.ledger import CANONICAL_COLUMNS, CellValue, Metric, StageResult, Stamp
from parfocal.slices.sections import SectionArrays, SectionSource
from parfocal.slices.selection import Selection, StackEvidence

__all__ = [
    "CANONICAL_COLUMNS",
    "CellValue",
    "JudgeSettings",
    "LookSettings",
    "Metric",
    "SectionArrays",
    "SectionSource",
    "Selection",
    "SliceExpectations",
    "SliceJudge",
    "SliceLook",
    "StackEvidence",
    "StageResult",
    "Stamp",
    "Verdict",
    "expectations_from",
    "expectations_of",
    "judge_look",
    "look_at",
]
