"""Slices: select the good ones, keep the audit trail (`ledger`), mend serial sections (`sections`)."""

from parfocal.slices._verdict import Verdict
from parfocal.slices.ledger import CANONICAL_COLUMNS, CellValue, Metric, StageResult, Stamp
from parfocal.slices.sections import SectionArrays, SectionSource
from parfocal.slices.selection import Selection, StackEvidence

__all__ = [
    "CANONICAL_COLUMNS",
    "CellValue",
    "Metric",
    "SectionArrays",
    "SectionSource",
    "Selection",
    "StackEvidence",
    "StageResult",
    "Stamp",
    "Verdict",
]
