"""The audit trail: every decision about every slice."""

from parfocal.slices.ledger._stage import CANONICAL_COLUMNS, CellValue, Metric, StageResult, Stamp

__all__ = ["CANONICAL_COLUMNS", "CellValue", "Metric", "StageResult", "Stamp"]
