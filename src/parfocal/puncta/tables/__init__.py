"""What was found in a recording of puncta, as three CSV tables that anyone can read."""

from parfocal.puncta.tables._results import PunctaResults
from parfocal.puncta.tables._results_csv import (
    EVENT_COLUMNS,
    PUNCTA_COLUMNS,
    TRAJECTORY_COLUMNS,
    read_results,
    write_results,
)

__all__ = [
    "EVENT_COLUMNS",
    "PUNCTA_COLUMNS",
    "TRAJECTORY_COLUMNS",
    "PunctaResults",
    "read_results",
    "write_results",
]
