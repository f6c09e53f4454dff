"""Rows of result tables on their way to the catalog: on disk first, so that none is lost while it is down.

::

    wal/tables/<a process>/owner.json             who it is: what a living one keeps is left alone
                           <run uid>/<key>.<number of rows before these>.arrow

A file is removed when the catalog has its rows. Where a process was killed between the two, the table's length
says that it has them already.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.feather

from parfocal.catalog._log import LogHeader
from parfocal.catalog._shelves import Shelves
from parfocal.catalog._tables import append_rows, list_tables, read_table
from parfocal.errors import BadInputError
from parfocal.files import write_atomically

_OWNER = "owner.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FILE = re.compile(r"(?P<key>[A-Za-z0-9][A-Za-z0-9_-]{0,63})\.(?P<first>\d{12})\.arrow")


@dataclass(frozen=True)
class SpooledRows:
    """Rows that wait.

    Attributes
    ----------
    path
        The file.
    run_uid, key
        Whose table.
    first_row
        How many rows of it came before.
    """

    path: Path
    run_uid: str
    key: str
    first_row: int


class TableSpool:
    """The rows that one process has given and the catalog has not taken yet.

    Parameters
    ----------
    folder
        Where the rows of all processes wait.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / secrets.token_hex(6)
        self._lock = threading.Lock()
        self._n_rows: dict[tuple[str, str], int] = {}
        self._waiting: list[SpooledRows] = []

    @property
    def waiting(self) -> list[SpooledRows]:
        """What waits, in the order it came."""
        with self._lock:
            return list(self._waiting)

    def put(self, run_uid: str, key: str, rows: pa.Table) -> SpooledRows:
        """Keep rows on disk.

        Raises
        ------
        BadInputError
            The run's uid or the key could not be a file's name.
        OSError
            They cannot be written.
        """
        if not _NAME.fullmatch(run_uid) or not _NAME.fullmatch(key):
            raise BadInputError(f"table {key!r} of run {run_uid!r}: letters, digits, - and _ were expected")
        folder = self._folder / run_uid
        with self._lock:
            folder.mkdir(parents=True, exist_ok=True)
            owner = self._folder / _OWNER
            if not owner.exists():
                with write_atomically(owner) as temporary:
                    temporary.write_text(json.dumps(asdict(LogHeader.of_this_process())))
            first_row = self._n_rows.get((run_uid, key), 0)
            path = folder / f"{key}.{first_row:012d}.arrow"
            with write_atomically(path) as temporary:
                pyarrow.feather.write_feather(rows, temporary, compression="lz4")
            self._n_rows[run_uid, key] = first_row + rows.num_rows
            spooled = SpooledRows(path, run_uid, key, first_row)
            self._waiting.append(spooled)
        return spooled

    def send(self, catalog: Shelves) -> int:
        """Append what waits, oldest first; return how many files went. The first that fails raises."""
        n_sent = 0
        for spooled in self.waiting:
            append_rows(catalog, spooled.run_uid, spooled.key, _read(spooled.path))
            remove(spooled)
            with self._lock:
                self._waiting.remove(spooled)
            n_sent += 1
        return n_sent

    def close(self) -> None:
        """Leave no empty folder; what waits stays, for `recover`."""
        with self._lock:
            if self._waiting:
                (self._folder / _OWNER).unlink(missing_ok=True)
            else:
                shutil.rmtree(self._folder, ignore_errors=True)


def left_behind(folder: Path) -> list[SpooledRows]:
    """Return what processes that are gone have left in the folder of a spool."""
    found: list[SpooledRows] = []
    for process in sorted(folder.glob("*/")):
        if _is_owned(process):
            continue
        for path in sorted(process.glob("*/*.arrow")):
            match = _FILE.fullmatch(path.name)
            if match:
                found.append(SpooledRows(path, path.parent.name, match["key"], int(match["first"])))
    return found


def _is_owned(process: Path) -> bool:
    try:
        return LogHeader(**json.loads((process / _OWNER).read_text())).is_alive()
    except (OSError, ValueError, TypeError):  # killed before it had written who it is
        return False


def send_left_behind(spooled: SpooledRows, catalog: Shelves) -> bool:
    """Append rows that were left behind, unless the table has them; say whether it lacked them.

    Raises
    ------
    BadInputError
        Rows before them are missing.
    """
    has = 0
    if spooled.key in list_tables(catalog, spooled.run_uid):
        rows = _read(spooled.path)
        has = read_table(catalog, spooled.run_uid, spooled.key, [rows.column_names[0]]).num_rows
    if has < spooled.first_row:
        raise BadInputError(
            f"{spooled.path}: table {spooled.key} of run {spooled.run_uid} has {has} rows, "
            f"expected {spooled.first_row} before these"
        )
    if has == spooled.first_row:
        append_rows(catalog, spooled.run_uid, spooled.key, _read(spooled.path))
    remove(spooled)
    return has == spooled.first_row


def remove(spooled: SpooledRows) -> None:
    """Remove a file, and its run's folder when nothing else waits there."""
    spooled.path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # more of the same run waits
        spooled.path.parent.rmdir()


def remove_empty(folder: Path) -> None:
    """Remove the folders of processes that are gone and left nothing."""
    for process in folder.glob("*/"):
        if not _is_owned(process) and not any(process.glob("*/*.arrow")):
            shutil.rmtree(process, ignore_errors=True)


def _read(path: Path) -> pa.Table:
    return pyarrow.feather.read_table(path, memory_map=False)
