"""The audit trail: every decision about every slice."""

from parfocal.slices.ledger._cells import BOOLEAN_COLUMNS, SCORE_COLUMNS, Row, Rows, as_slice_id
from parfocal.slices.ledger._events import LedgerEvent, differences, events_path, read_events, replay
from parfocal.slices.ledger._fragments import merge_fragments, write_fragment
from parfocal.slices.ledger._ledger import SliceLedger
from parfocal.slices.ledger._metrics import read_metrics, write_metrics
from parfocal.slices.ledger._rows import (
    append_notes,
    filter_slices_to_use,
    force_skip_slices,
    read,
    stamp,
    stamp_many,
    write,
)
from parfocal.slices.ledger._stage import CANONICAL_COLUMNS, CellValue, Metric, StageResult, Stamp
from parfocal.slices.ledger._verdicts import stamps_of

__all__ = [
    "BOOLEAN_COLUMNS",
    "CANONICAL_COLUMNS",
    "SCORE_COLUMNS",
    "CellValue",
    "LedgerEvent",
    "Metric",
    "Row",
    "Rows",
    "SliceLedger",
    "StageResult",
    "Stamp",
    "append_notes",
    "as_slice_id",
    "differences",
    "events_path",
    "filter_slices_to_use",
    "force_skip_slices",
    "merge_fragments",
    "read",
    "read_events",
    "read_metrics",
    "replay",
    "stamp",
    "stamp_many",
    "stamps_of",
    "write",
    "write_fragment",
    "write_metrics",
]
