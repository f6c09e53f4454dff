"""Slices: select the good ones, keep the audit trail (`ledger`), mend serial sections (`sections`)."""

from parfocal.slices._verdict import Verdict
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
from parfocal.slices.selection import Selection, StackEvidence

__all__ = [
    "CANONICAL_COLUMNS",
    "CellValue",
    "LedgerEvent",
    "Metric",
    "SectionArrays",
    "SectionPositions",
    "SectionSource",
    "Selection",
    "ShiftTable",
    "SliceLedger",
    "StackEvidence",
    "StageResult",
    "Stamp",
    "Verdict",
    "cumulative_shifts",
    "exclude_noisy_clusters",
    "read_shifts",
    "stamps_of",
    "write_shifts",
]
