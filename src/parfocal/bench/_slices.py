"""`slices`: correlation, quality, interpolation, ledger, and faulty sections taken again."""

from __future__ import annotations

from parfocal.bench._slices_correlation import correlation_rows
from parfocal.bench._slices_interpolation import interpolation_rows
from parfocal.bench._slices_ledger import ledger_rows
from parfocal.bench._slices_quality import quality_rows
from parfocal.bench._slices_retakes import retake_rows
from parfocal.bench._table import Row


def slices() -> list[Row]:
    """Measure how slices are compared, judged, mended, kept track of and taken again."""
    return [*correlation_rows(), *quality_rows(), *interpolation_rows(), *ledger_rows(), *retake_rows()]
