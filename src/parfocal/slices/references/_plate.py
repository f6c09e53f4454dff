"""Which series of an ND2 file is which well: a plate's sheet, an experiment's table."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from parfocal.errors import BadInputError

ROWS = "ABCDEFGH"
N_COLUMNS = 12
SHEET = "series_number_map"

_DATE = re.compile(r"(?<!\d)(20\d{6})(?!\d)")
_WELL = re.compile(r"^(?P<row>[A-H])0?(?P<column>[1-9]|1[0-2])$", re.I)
_DATE_COLUMNS = ("experiment_date", "exp_date", "date")
_MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class SeriesMap:
    """Series of an ND2 file by well, counted from 1 as Nikon's software does; sorted by series.

    `warnings` say which cells were passed over, and why.
    """

    series: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExperimentTable:
    """What a metadata CSV says: the series of each well and time point.

    Attributes
    ----------
    source : str
        The file.
    dates : tuple of str
        Days that its rows (or else its name) tell; empty where nothing does.
    series : mapping of (date, well, time_int) to series
        Date "" where the table does not tell any.
    warnings : tuple of str
        What was passed over.
    """

    source: str
    dates: tuple[str, ...]
    series: Mapping[tuple[str, str, int], int]
    warnings: tuple[str, ...] = ()


def series_number_map(
    cells: Sequence[Sequence[object]], n_series: int | None = None, source: str = SHEET
) -> SeriesMap:
    """Read the 8 x 12 grid that gives each well its series.

    A first row of the numbers 1 to 12 and a first column of the letters A to H are headers, and dropped.

    Parameters
    ----------
    cells : sequence of sequences
        Rows of the sheet: numbers, text, None or NaN for an empty cell.
    n_series : int, optional
        Number of series that the file has: numbers above it are passed over.
    source : str
        What warnings and errors call it.

    Raises
    ------
    BadInputError
        The grid is not 8 x 12, or a cell holds no whole number.
    """
    grid = _without_headers([[_text(cell) for cell in row] for row in cells])
    width = max((len(row) for row in grid), default=0)
    if len(grid) > len(ROWS) or width > N_COLUMNS or not grid:
        raise BadInputError(f"{source}: a grid of {len(grid)} x {width}, expected wells A to H by 1 to 12")
    owner: dict[int, str] = {}
    warnings: list[str] = []
    for r, row in enumerate(grid):
        for c, cell in enumerate(row):
            if not cell:
                continue
            well = f"{ROWS[r]}{c + 1:02d}"
            number = _whole(cell)
            if number is None:
                raise BadInputError(f"{source}: well {well} has {cell!r}, expected the number of a series, from 1")
            if number < 1 or (n_series is not None and number > n_series):
                most = "" if n_series is None else f" to {n_series}"
                warnings.append(f"{source}: well {well} has series {number}, expected 1{most}; passed over")
            elif number in owner:
                warnings.append(f"{source}: series {number} is of {owner[number]} and {well}; {well} passed over")
            else:
                owner[number] = well
    return SeriesMap({owner[number]: number for number in sorted(owner)}, tuple(warnings))


def read_series_map(path: str | os.PathLike[str], n_series: int | None = None) -> SeriesMap:
    """Read the sheet `series_number_map` of a plate's workbook (.xlsx), or the same grid as a CSV file.

    Raises
    ------
    BadInputError
        The file cannot be read or has no such sheet, or the grid is wrong; see `series_number_map`.
    """
    file = Path(path)
    if file.suffix.lower() not in (".xlsx", ".xlsm"):
        return series_number_map(list(csv.reader(io.StringIO(_read_text(file)))), n_series, str(file))
    import pandas as pd

    try:
        table = pd.read_excel(file, sheet_name=SHEET, header=None)
    except ImportError as error:
        raise BadInputError(
            f"{file}: openpyxl is needed to read workbooks; install it, or save sheet {SHEET} as CSV"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())
        raise BadInputError(f"{file}: sheet {SHEET} cannot be read: {said}") from error
    return series_number_map(table.to_numpy().tolist(), n_series, f"{file}, sheet {SHEET}")


def read_metadata(path: str | os.PathLike[str]) -> ExperimentTable:
    """Read an experiment's metadata CSV: columns `well`, `time_int` and `nd2_series_num`, others are left alone.

    A well and time point may stand on several rows (one an embryo) if they agree. Rows without a series are
    passed over, with a warning. The day comes from a column `experiment_date` (or `date`), else from eight
    digits in the file's name.

    Raises
    ------
    BadInputError
        With row and column: a cell that is no well or no whole number, rows that contradict each other.
        The file cannot be read, or a column is missing.
    """
    file = Path(path)
    rows = csv.DictReader(io.StringIO(_read_text(file)))
    try:
        names = [name or "" for name in rows.fieldnames or []]
        missing = [name for name in ("well", "time_int", "nd2_series_num") if name not in names]
        if missing:
            raise BadInputError(
                f"{file}: no column {', '.join(missing)}; expected well, time_int and nd2_series_num, "
                f"separated by commas"
            )
        date_column = next((name for name in _DATE_COLUMNS if name in names), None)
        in_name = tuple(sorted(set(_DATE.findall(file.name))))
        if len(in_name) > 1 and date_column is None:
            raise BadInputError(f"{file}: its name has the days {', '.join(in_name)}; expected one")
        series: dict[tuple[str, str, int], int] = {}
        line_of: dict[tuple[str, str, int], int] = {}
        without = 0
        for row in rows:
            where = f"{file}, line {rows.line_num}"
            if not any(isinstance(cell, str) and cell.strip() for cell in row.values()):
                continue
            number_text = _text(row["nd2_series_num"])
            if not number_text:
                without += 1
                continue
            number, time_int = _whole(number_text), _whole(_text(row["time_int"]))
            well = _WELL.match(_text(row["well"]))
            if well is None:
                raise BadInputError(f"{where}, column well: {row['well']!r}, expected A01 to H12")
            if number is None or number < 1:
                raise BadInputError(
                    f"{where}, column nd2_series_num: {number_text!r}, expected a whole number from 1"
                )
            if time_int is None or time_int < 0:
                raise BadInputError(
                    f"{where}, column time_int: {row['time_int']!r}, expected a whole number from 0"
                )
            date = in_name[0] if len(in_name) == 1 else ""
            if date_column is not None:
                date = _day(_text(row[date_column]), f"{where}, column {date_column}") or date
            key = (date, f"{well['row'].upper()}{int(well['column']):02d}", time_int)
            if series.setdefault(key, number) != number:
                raise BadInputError(
                    f"{where}, column nd2_series_num: {number} for {key[1]} at time_int {time_int}, "
                    f"but {series[key]} on line {line_of[key]}"
                )
            line_of.setdefault(key, rows.line_num)
    except csv.Error as error:
        raise BadInputError(f"{file}, line {rows.line_num}: no CSV that can be read: {error}") from error
    warnings = (f"{file}: {without} rows without nd2_series_num, passed over",) if without else ()
    return ExperimentTable(str(file), tuple(sorted({key[0] for key in series} - {""})), series, warnings)


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise BadInputError(f"{file}: {file.stat().st_size} bytes, expected a table of at most {_MOST_BYTES}")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read: {error.strerror}; expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file}: byte {error.start} is no UTF-8; expected a CSV file") from error


def _without_headers(grid: list[list[str]]) -> list[list[str]]:
    """Drop the row of numbers, the column of letters, and empty rows and columns beyond the plate."""
    while len(grid) > len(ROWS) and not any(grid[-1]):
        grid = grid[:-1]
    if grid and _is_header(grid):
        grid = grid[1:]
    firsts = [row[0].upper() if row else "" for row in grid]
    if any(firsts) and all(first in ("", ROWS[k : k + 1]) for k, first in enumerate(firsts)):
        grid = [row[1:] for row in grid]
    width = max((k + 1 for row in grid for k, cell in enumerate(row) if cell), default=0)
    return [row[: max(width, N_COLUMNS)] for row in grid]


def _is_header(grid: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: 1 to 12, which can also be the series of row A."""
    cells = grid[0]
    if cells and cells[0].upper() == ROWS[0]:
        return False
    numbers = [_whole(cell) for cell in cells if cell]
    numbers = numbers[1:] if cells and cells[0] and numbers[0] is None else numbers
    if numbers != list(range(1, N_COLUMNS + 1)):
        return False
    used_again = any(_whole(cell) in numbers for row in grid[1:] for cell in row if cell)
    return len(grid) > len(ROWS) or used_again


def _text(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    text = str(cell).strip()
    return "" if text.lower() in ("nan", "none", "<na>") else text


def _whole(text: str) -> int | None:
    """Return a whole number, also one that a table wrote as 24.0; None for everything else."""
    return int(float(text)) if re.fullmatch(r"-?\d{1,9}(?:\.0{1,9})?", text) else None


def _day(text: str, where: str) -> str:
    digits = re.sub(r"\.0+$", "", text).replace("-", "").replace("/", "")[:8]
    if text and not re.fullmatch(r"\d{8}", digits):
        raise BadInputError(f"{where}: {text!r}, expected a day as 20250912 or 2025-09-12")
    return digits
