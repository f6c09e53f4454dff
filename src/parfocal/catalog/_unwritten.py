"""What the catalog does not hold yet: counted, not touched. `recover` is what brings it there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from parfocal.catalog._folder import DataFolder, as_folder
from parfocal.catalog._log import is_being_written
from parfocal.catalog._table_spool import left_behind


@dataclass(frozen=True)
class Unwritten:
    """What waits in the write-ahead logs of a data folder.

    Attributes
    ----------
    n_runs
        Runs whose process is gone: `recover` writes them.
    n_running
        Runs that a living process still writes.
    n_tables
        Files with rows of result tables whose process is gone.
    """

    n_runs: int = 0
    n_running: int = 0
    n_tables: int = 0


def unwritten(data: DataFolder | Path | str | None = None) -> Unwritten:
    """Return what waits in a data folder's logs."""
    folder = as_folder(data)
    living: list[bool] = []
    for path in folder.wal.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # its run was written just now
            living.append(is_being_written(path))
    return Unwritten(living.count(False), living.count(True), len(left_behind(folder.spooled_tables)))
