"""Slices: judge them as they come, select the good ones, keep the audit trail, mend serial sections."""

from parfocal.slices._verdict import (
    Verdict,
)
from parfocal.slices.judge import (
    JudgeSettings,
    LookSettings,
    SliceExpectations,
    SliceJudge,
    SliceLook,
    StackJudge,
    StackSettings,
    expectations_from,
    expectations_of,
    judge_look,
    look_at,
    moved_planes,
)
from parfocal.slices.ledger import (
    CANONICAL_COLUMNS,
    CellValue,
    LedgerEvent,
    Metric,
    SliceLedger,
    StageResult,
    Stamp,
    stamps_of,
)
from parfocal.slices.sections import (
    SectionArrays,
    SectionPositions,
    SectionSource,
    ShiftTable,
    cumulative_shifts,
    exclude_noisy_clusters,
    read_shifts,
    write_shifts,
)
from parfocal.slices.selection import (
    Selection,
    StackEvidence,
)

__all__ = [
    "CANONICAL_COLUMNS",
    "CellValue",
    "JudgeSettings",
    "LedgerEvent",
    "LookSettings",
    "Metric",
    "SectionArrays",
    "SectionPositions",
    "SectionSource",
    "Selection",
    "ShiftTable",
    "SliceExpectations",
    "SliceJudge",
    "SliceLedger",
    "SliceLook",
    "StackEvidence",
    "StackJudge",
    "StackSettings",
    "StageResult",
    "Stamp",
    "Verdict",
    "cumulative_shifts",
    "exclude_noisy_clusters",
    "expectations_from",
    "expectations_of",
    "judge_look",
    "look_at",
    "moved_planes",
    "read_shifts",
    "stamps_of",
    "write_shifts",
]
