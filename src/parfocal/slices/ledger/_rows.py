"""`slice_config.csv` as rows: read, stamp, filter, write. Every function returns new rows and leaves the old."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.files import csv_text, read_csv, write_atomically
from parfocal.slices.ledger._cells import (
    CellError,
    Row,
    Rows,
    as_slice_id,
    checked,
    fitted_column,
    format_column,
    join_notes,
    parse_column,
)
from parfocal.slices.ledger._stage import CANONICAL_COLUMNS, CellValue, Stamp

_log = logging.getLogger("parfocal.slices")
_BLANK: Row = dict.fromkeys(CANONICAL_COLUMNS)

AnyRows = Mapping[str, Mapping[str, CellValue]]


def read(path: str | os.PathLike[str], *, lenient: bool = False, compat: Literal["linumpy"] | None = None) -> Rows:
    """Read a `slice_config.csv`: slice id to row, in the order of the file.

    A column that is missing and a cell that is blank read as None, which is false. Columns other than the
    canonical ones are kept as text after them. `slice_id` and `use` must be there.

    Parameters
    ----------
    path : str or path
        The file: ours, or one of linumpy's, whose columns stand in another order.
    lenient : bool
        Read also y, t, n, f, blank `use` (false), NaN (blank), repeated rows (the last one counts), rows that
        are too short, a byte-order mark, CRLF or mixed line ends; each is logged as a warning.
    compat : "linumpy", optional
        Read a file as the original writes it, with CRLF line ends; all else is as strict as ever.

    Raises
    ------
    BadInputError
        Something in it cannot be read; the message names row and column, counted as a spreadsheet does.
    """
    rows, remarks = read_with_remarks(path, lenient=lenient, compat=compat)
    for remark in remarks:
        _log.warning("%s: %s", path, remark)
    return rows


def read_with_remarks(
    path: str | os.PathLike[str], *, lenient: bool = False, compat: Literal["linumpy"] | None = None
) -> tuple[Rows, tuple[str, ...]]:
    """Read as `read` does; return the remarks instead of logging them."""
    source = Path(path)
    table = read_csv(source, lenient=lenient, crlf=compat is not None)
    for needed in ("slice_id", "use"):
        if needed not in table.header:
            raise BadInputError(f"{source}, row 1: there is no column {needed!r}; found {', '.join(table.header)}")
    remarks = list(table.remarks)
    ids = _ids_of(source, table.columns()["slice_id"], table.row_numbers, lenient, remarks)
    columns: dict[str, list[CellValue]] = {"slice_id": [*ids]}
    for name, cells in table.columns().items():
        if name == "slice_id":
            continue

        def remark(index: int, words: str, name: str = name) -> None:
            remarks.append(f"row {table.row_numbers[index]}, column {name}: {words}")

        try:
            columns[name] = parse_column(name, cells, remark if lenient else None)
        except CellError as error:
            row = table.row_numbers[error.index]
            raise BadInputError(f"{source}, row {row}, column {name}: {error.why}") from None
    blank: list[CellValue] = [None] * len(ids)
    ordered = {name: columns.pop(name, blank) for name in CANONICAL_COLUMNS} | columns
    names = tuple(ordered)
    return {sid: dict(zip(names, values)) for sid, values in zip(ids, zip(*ordered.values()))}, tuple(remarks)


def render(rows: AnyRows) -> str:
    """Return the text of `slice_config.csv`: canonical columns first, extra ones in the order they appeared.

    Raises
    ------
    BadInputError
        A value does not fit its column, or a row stands under another id than its own.
    """
    names = [*CANONICAL_COLUMNS, *extra_columns(rows)]
    columns: list[list[str]] = []
    for name in names:
        values = [row.get(name) for row in rows.values()]
        if name == "slice_id":
            _check_keys(rows, values)
        else:
            try:
                values = fitted_column(name, values)
            except CellError as error:
                sid = list(rows)[error.index]
                raise BadInputError(f"slice_config: slice {sid}, column {name}: {error.why}") from None
        columns.append(format_column(name, values))
    return csv_text(names, columns)


def write(path: str | os.PathLike[str], rows: AnyRows, *, replace: bool = False) -> None:
    """Write rows as a new `slice_config.csv`, whole or not at all.

    Parameters
    ----------
    path : str or path
        Where; a file that is there is left alone unless `replace`. Never write over what you read: who still
        reads the old one, and who asks later what a stage was given, need it.
    rows : mapping of slice id to mapping of column to value
        As `read` returns them.
    replace : bool
        Replace a file that is there.

    Raises
    ------
    BadInputError
        The file exists, or a value does not fit its column; nothing is written.
    """
    target = Path(path)
    if target.exists() and not replace:
        raise BadInputError(f"{target}: is there already; a new file is written each time")
    text = render(rows)
    with write_atomically(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def stamp(rows: AnyRows, slice_id: object, values: Mapping[str, CellValue], *, append_notes: bool = False) -> Rows:
    """Set columns of one slice; its other columns, and other slices, stay as they are.

    A slice that is not there is added, not to be used unless `use` says so. With `append_notes`, a note is
    joined to the one that stands there with `"; "`, once.

    Raises
    ------
    BadInputError
        A value does not fit its column, or would be a raw metric.

    Examples
    --------
    >>> rows = stamp({}, 3, {"use": True, "notes": "thin"})
    >>> rows = stamp(rows, "03", {"rehomed": True, "notes": "checked"}, append_notes=True)
    >>> rows["03"]["rehomed"], rows["03"]["notes"]
    (True, 'thin; checked')
    """
    return stamp_many(rows, {str(slice_id): values}, append_notes=append_notes)


def stamp_many(
    rows: AnyRows, values: Mapping[str, Mapping[str, CellValue]], *, append_notes: bool = False
) -> Rows:
    """Set columns of many slices, as `stamp` does of one."""
    return apply_stamps(
        rows,
        (
            Stamp(slice_id, column, value, append=append_notes and column == "notes")
            for slice_id, columns in values.items()
            for column, value in (columns or {"notes": None}).items()
        ),
    )


def append_notes(rows: AnyRows, slice_id: object, note: str) -> Rows:
    """Join a note to those of a slice with `"; "`; one that stands there already is not joined again."""
    return stamp(rows, slice_id, {"notes": note}, append_notes=True)


def apply_stamps(rows: AnyRows, stamps: Iterable[Stamp]) -> Rows:
    """Apply stamps in their order; rows without one are shared with the old rows, not copied."""
    result: Rows = dict(rows)  # pyright: ignore[reportAssignmentType]  # only fresh copies are changed
    fresh: set[str] = set()
    known: dict[tuple[str, type, CellValue], CellValue] = {}
    for one in stamps:
        sid = as_slice_id(one.slice_id)
        key = (one.column, type(one.value), one.value)
        if key in known:
            value = known[key]
        else:
            try:
                value = known[key] = checked(one.column, one.value)
            except BadInputError as error:
                raise BadInputError(f"slice {sid}: {error}") from None
        if sid not in fresh:
            fresh.add(sid)
            result[sid] = dict(result[sid]) if sid in result else _BLANK | {"slice_id": sid, "use": False}
        row = result[sid]
        if one.append and value is not None:
            old = row.get(one.column)
            value = checked(one.column, join_notes(None if old is None else str(old), str(value)))
        row[one.column] = value
    return result


def filter_slices_to_use(rows: AnyRows) -> Rows:
    """Return the rows with `use` true, in their order, and log who is in and who is out.

    A slice of a noisy cluster (`auto_excluded`) stays: it keeps its place in the volume. It is
    `force_skip_slices` that takes its registration away.

    Raises
    ------
    BadInputError
        None is left.
    """
    used: Rows = {sid: dict(row) for sid, row in rows.items() if row.get("use") is True}
    excluded = [sid for sid in rows if sid not in used]
    _log.info("slices included (%d): %s", len(used), ", ".join(used) or "none")
    _log.info("slices excluded (%d): %s", len(excluded), ", ".join(excluded) or "none")
    if not used:
        raise BadInputError(f"slice_config: no slice is left to use ({len(excluded)} excluded)")
    return used


def force_skip_slices(rows: AnyRows) -> Rows:
    """Return all rows, each with `force_skip`: whether stacking must place it by the motor alone.

    True where `use` is false or the slice is in a noisy cluster (`auto_excluded`). `force_skip` is for who asked:
    a ledger does not keep it.
    """
    return {
        sid: dict(row) | {"force_skip": row.get("use") is not True or row.get("auto_excluded") is True}
        for sid, row in rows.items()
    }


def extra_columns(rows: AnyRows) -> tuple[str, ...]:
    """Return the columns beyond the canonical ones, in the order in which they first appear."""
    return tuple(
        dict.fromkeys(name for row in rows.values() for name in row if name not in _BLANK and name != "force_skip")
    )


def _ids_of(
    source: Path, cells: Iterable[str], numbers: Iterable[int], lenient: bool, remarks: list[str]
) -> list[str]:
    first: dict[str, int] = {}
    ids: list[str] = []
    for text, number in zip(cells, numbers):
        try:
            sid = as_slice_id(text)
        except BadInputError as error:
            raise BadInputError(f"{source}, row {number}, column slice_id: {error}") from None
        if sid in first:
            if not lenient:
                raise BadInputError(
                    f"{source}, row {number}, column slice_id: slice {sid} stands in row {first[sid]} already"
                )
            remarks.append(f"row {number}, column slice_id: slice {sid} again, the last one counts")
        first[sid] = number
        ids.append(sid)
    return ids


def _check_keys(rows: AnyRows, values: list[CellValue]) -> None:
    for sid, own in zip(rows, values):
        if own != sid or as_slice_id(sid) != sid:
            raise BadInputError(f"slice_config: the row of slice {sid!r} says that it is {own!r}")
