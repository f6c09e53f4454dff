"""CSV tables as text, strictly: whatever is not a plain table is refused in one line that says where."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.errors import BadInputError

_LINE_LIMIT = 65_536
_SIZE_LIMIT = 256 * 2**20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NUMBER = re.compile(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True)
class CsvTable:
    """Cells of a CSV file, as text.

    Attributes
    ----------
    header : tuple of str
        Column names, each once.
    rows : list of list of str
        As wide as the header; empty lines are left out.
    row_numbers : sequence of int
        Line of each row in the file; the header is 1.
    remarks : tuple of str
        What was unusual and was read all the same.
    """

    header: tuple[str, ...]
    rows: list[list[str]]
    row_numbers: Sequence[int]
    remarks: tuple[str, ...] = ()

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Return the cells by column."""
        if not self.rows:
            return dict.fromkeys(self.header, ())
        return dict(zip(self.header, zip(*self.rows)))


def read_csv(path: str | os.PathLike[str], *, lenient: bool = False, crlf: bool = True) -> CsvTable:
    """Read a CSV table of commas and UTF-8.

    Parameters
    ----------
    path : str or path
        The file.
    lenient : bool
        Read also, and remark on: a byte-order mark, mixed line ends, rows that are too short.
    crlf : bool
        Read CRLF line ends, which Python's own csv module writes, and remark on them. Who writes the table back,
        with LF, refuses them unless asked: see decision record 0021.

    Raises
    ------
    BadInputError
        The file is missing, not UTF-8, too large, of another delimiter, or its rows do not fit its header.
    """
    source = Path(path)
    remarks: list[str] = []
    text = _text_of(source, lenient, crlf or lenient, remarks)
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    longest = max(map(len, lines), default=0)
    if longest > _LINE_LIMIT:
        where = next(i for i, line in enumerate(lines, 1) if len(line) > _LINE_LIMIT)
        raise BadInputError(
            f"{source}, row {where}: a line of {len(lines[where - 1]):,} characters; {_LINE_LIMIT:,} at most"
        )
    if not lines:
        raise BadInputError(f"{source}: is empty; a header row was expected")
    rows = _cells_of(source, lines)
    header = _header_of(source, rows[0])
    width = len(header)
    numbers: Sequence[int] = range(2, len(rows) + 1)
    body = rows[1:]
    if set(map(len, body)) - {width}:
        kept = [(number, row) for number, row in zip(numbers, body) if row]
        for number, row in kept:
            if lenient and len(row) < width:
                remarks.append(f"row {number}: {len(row)} cells of {width}, the others taken as empty")
                row.extend([""] * (width - len(row)))
            elif len(row) != width:
                raise BadInputError(
                    f"{source}, row {number}: {len(row)} cells, {width} were expected as in the header"
                )
        numbers, body = [number for number, _ in kept], [row for _, row in kept]
    return CsvTable(header, body, numbers, tuple(remarks))


def csv_text(header: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Return the CSV text of cells by column: commas, LF, quotes only where needed."""
    lines: list[str] = []
    writer = csv.writer(_Lines(lines), lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*columns))
    return "".join(lines)


def formula_in(cells: Iterable[str]) -> str | None:
    """Return the first cell that a spreadsheet would run as a formula; None where there is none.

    These begin with `=`, `+`, `-`, `@` or a tab; a plain number with a sign does not count.
    """
    return next((c for c in cells if c[:1] in _FORMULA_STARTS and not _NUMBER.fullmatch(c)), None)


_FORMULA_STARTS = frozenset("=+-@\t")


class _Lines:
    """What csv.writer writes into: a list, which is quicker than a text buffer."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _text_of(source: Path, lenient: bool, crlf: bool, remarks: list[str]) -> str:
    if not source.is_file():
        raise BadInputError(f"{source}: there is no such file")
    if (size := source.stat().st_size) > _SIZE_LIMIT:
        raise BadInputError(f"{source}: {size:,} bytes; {_SIZE_LIMIT:,} at most")
    content = source.read_bytes()
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            if not lenient or encoding != "UTF-8":
                raise BadInputError(
                    f"{source}: begins with a byte-order mark ({encoding}); save it as plain UTF-8"
                )
            remarks.append("begins with a byte-order mark, left out")
            content = content[len(mark) :]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise BadInputError(
            f"{source}, row {row}: byte 0x{content[error.start]:02x} is not UTF-8; save it as UTF-8"
        ) from None
    if (found := _CONTROL.search(text)) is not None:
        row = text.count("\n", 0, found.start()) + 1
        raise BadInputError(f"{source}, row {row}: holds the control character 0x{ord(found[0]):02x}")
    if "\r" in text:
        n_crlf = text.count("\r\n")
        if n_crlf != text.count("\r") or n_crlf != text.count("\n"):
            if not lenient:
                raise BadInputError(f"{source}: mixes line ends (LF, CRLF or CR); save it with one kind")
            remarks.append("mixes line ends")
        elif not crlf:
            raise BadInputError(
                f"{source}: has CRLF line ends, LF was expected; save it with LF, or read it with --lenient "
                "(lenient=True), or as linumpy's with --compat linumpy (compat='linumpy')"
            )
        else:
            remarks.append("has CRLF line ends; what is written from it has LF")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def _cells_of(source: Path, lines: list[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    reader = csv.reader(lines, strict=True)
    try:
        rows.extend(reader)
    except csv.Error as error:
        raise BadInputError(f"{source}, row {len(rows) + 1}: {error}; are its quotes closed?") from None
    if len(rows) != len(lines):  # a quoted cell runs over several lines, or an odd quote swallowed some
        row = next(number for number, line in enumerate(lines, 1) if line.count('"') % 2)
        raise BadInputError(f"{source}, row {row}: a cell with a line break; put it on one line")
    return rows


def _header_of(source: Path, cells: list[str]) -> tuple[str, ...]:
    header = tuple(cell.strip() for cell in cells)
    if not header:
        raise BadInputError(f"{source}, row 1: is blank; a header was expected")
    if len(header) == 1:
        for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if delimiter in header[0]:
                raise BadInputError(f"{source}: its cells are separated by {name}; commas were expected")
    for index, name in enumerate(header):
        if not name:
            raise BadInputError(f"{source}, row 1: column {index + 1} has no name")
        if name in header[:index]:
            raise BadInputError(f"{source}, row 1: two columns are called {name!r}")
    if (formula := formula_in(header)) is not None:
        raise BadInputError(f"{source}, row 1: column name {formula[:40]!r} begins as a spreadsheet formula does")
    return header
