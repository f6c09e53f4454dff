"""Cells of the ledger: what each column holds, how it is read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from parfocal.errors import BadInputError
from parfocal.files import formula_in
from parfocal.slices.ledger._stage import CANONICAL_COLUMNS, CellValue

Row = dict[str, CellValue]
"""One slice: column to value. A blank cell is None, which reads as false: nobody has said anything yet."""
Rows = dict[str, Row]
"""Slice id to its row, in the order of the file."""

BOOLEAN_COLUMNS = frozenset(
    {
        "use",
        "galvo_fix",
        "rehomed",
        "rehoming_reliable",
        "auto_excluded",
        "interpolated",
        "interpolation_failed",
    }
)
SCORE_COLUMNS = frozenset({"quality_score", "galvo_confidence"})

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_BOOLEANS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
_LOOSE_BOOLEANS = {"y": True, "t": True, "n": False, "f": False}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_WHOLE = re.compile(r"(\d{1,12})(?:\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|nan", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TEXT_LIMIT = 32_767  # of a cell in the spreadsheets that people open this with
_RAW = re.compile(
    r"(?:^|_)(?:ssim|ncc|zncc|corr(?:elation)?|edge|variance|var|entropy|psnr|snr|mse|rmse|mean|std|sd|median|"
    r"determinant|det|depth|shift|um|mm|px|sharpness)(?:_|$)",
    re.IGNORECASE,
)


def as_slice_id(given: object) -> str:
    """Return a slice id as the ledger writes it: whole numbers with two digits or more, other names as they are.

    Raises
    ------
    BadInputError
        It is blank, a fraction ("1.7"), negative, or has characters other than letters, digits, `_`, `.`, `-`.
    """
    if isinstance(given, bool):
        raise BadInputError(f"slice id {given!r}: a number or a name was expected")
    return _as_slice_id(given if isinstance(given, str) else str(given))


@lru_cache(maxsize=1 << 18)  # asked again and again of the same ids
def _as_slice_id(text: str) -> str:
    text = text.strip()
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return f"{int(whole[1]):02d}"
    if not text:
        raise BadInputError("blank; a slice id was expected")
    if _NUMBER.fullmatch(text) or not _ID.fullmatch(text):
        raise BadInputError(f"{text[:40]!r} is no slice id; a whole number or a plain name was expected")
    return text


def parse_cell(column: str, text: str, *, lenient: bool = False) -> CellValue:
    """Read one cell of a canonical or other column; `BadInputError` says what was expected."""
    text = text.strip()
    if not text:
        if column == "use" and not lenient:
            raise BadInputError("blank; true or false was expected")
        return False if column == "use" else None
    if column in BOOLEAN_COLUMNS:
        value = _BOOLEANS.get(text.lower())
        if value is None and lenient:
            value = _LOOSE_BOOLEANS.get(text.lower())
        if value is None:
            raise BadInputError(f"{text[:40]!r} is neither true (1, yes) nor false (0, no)")
        return value
    if column in SCORE_COLUMNS:
        if not _NUMBER.fullmatch(text):
            raise BadInputError(f"{text[:40]!r} is no number")
        return _score(float(text), lenient=lenient)
    return _text(text)


def checked(column: str, value: object) -> CellValue:
    """Return a value that is to be stamped, in its column's type; None clears the cell.

    Raises
    ------
    BadInputError
        The value does not fit the column, or the column would hold a raw metric.
    """
    if column == "slice_id":
        raise BadInputError("slice_id: is the key of a row and cannot be stamped")
    if not column or column != column.strip() or formula_in([column]) is not None or len(column) > 64:
        raise BadInputError(f"{column[:40]!r} is no name of a column")
    if value is None:
        if column == "use":
            raise BadInputError("use: cannot be cleared; true or false was expected")
        return None
    if column not in CANONICAL_COLUMNS:
        _refuse_metric(column, value)
        if isinstance(value, bool):
            return "true" if value else "false"  # what it reads back as
    if column in BOOLEAN_COLUMNS:
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            return parse_cell(column, value)
        raise BadInputError(f"{column}: {value!r} is neither true nor false")
    if column in SCORE_COLUMNS:
        if isinstance(value, str):
            return parse_cell(column, value)
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise BadInputError(f"{column}: {value!r} is no number")
        return round(_score(float(value), lenient=False) or 0.0, 3)  # pyright: ignore[reportArgumentType]
    if not isinstance(value, str):
        raise BadInputError(f"{column}: {value!r} is no text")
    return _text(" ".join(value.split())) if value.strip() else None


def parse_column(
    column: str, cells: Sequence[str], remark: Callable[[int, str], None] | None = None
) -> list[CellValue]:
    """Read the cells of one column, each different text once.

    With `remark`, what strict reading refuses is read where it can be guessed, and `remark(index, words)` told.

    Raises
    ------
    CellError
        A cell that cannot be read, with its index.
    """
    values: dict[str, CellValue] = {}
    for text in dict.fromkeys(cells):
        try:
            values[text] = parse_cell(column, text)
        except BadInputError as error:
            if remark is None:
                raise CellError(cells.index(text), str(error)) from None
            try:
                values[text] = parse_cell(column, text, lenient=True)
            except BadInputError:
                raise CellError(cells.index(text), str(error)) from None
            remark(cells.index(text), f"{text[:40]!r} read as {_plain_text(values[text]) or 'blank'}")
    return [values[text] for text in cells]


class CellError(Exception):
    """A cell that cannot be read: its index among those of its column, and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index, self.why = index, why


def fitted_column(column: str, values: Sequence[CellValue]) -> list[CellValue]:
    """Return values of one column in its type, each different one looked at once; `CellError` names a bad one.

    What a file may hold already is allowed: extra columns may hold numbers, as text.
    """
    types = set(map(type, values))
    if column in BOOLEAN_COLUMNS and types <= ({bool} if column == "use" else {bool, type(None)}):
        return list(values)
    fitted: dict[tuple[type, CellValue], CellValue] = {}
    for index, value in enumerate(values):
        key = (type(value), value)  # True == 1.0, but they are written differently
        if key in fitted:
            continue
        try:
            if column in SCORE_COLUMNS and isinstance(value, int | float) and not isinstance(value, bool):
                fitted[key] = _score(float(value), lenient=False)
            elif column not in CANONICAL_COLUMNS:
                fitted[key] = _text(_plain_text(value)) or None
            else:
                fitted[key] = checked(column, value)
        except BadInputError as error:
            raise CellError(index, str(error).removeprefix(f"{column}: ")) from None
    return [fitted[type(value), value] for value in values]


def format_column(column: str, values: Sequence[CellValue]) -> list[str]:
    """Return the text of the cells of one column: lowercase booleans, scores with three decimals."""
    if column in SCORE_COLUMNS:
        written = {value: _score_text(value) for value in set(values)}
        return [written[value] for value in values]
    if column in BOOLEAN_COLUMNS:
        return [_WRITTEN[value] for value in values]  # pyright: ignore[reportArgumentType]
    return [value if isinstance(value, str) else _plain_text(value) for value in values]


def join_notes(old: str | None, new: str) -> str:
    """Join a note to what stands there with `"; "`; one that stands there already is not joined again."""
    if not old:
        return new
    return old if new in old.split("; ") or new == old else f"{old}; {new}"


def _score(value: float, *, lenient: bool) -> float | None:
    if math.isfinite(value) and 0.0 <= value <= 1.0:
        return value + 0.0  # never -0.0
    if lenient and math.isnan(value):
        return None
    raise BadInputError(f"{value:g} is not between 0 and 1")


def _text(text: str) -> str:
    if formula_in([text]) is not None:
        raise BadInputError(f"{text[:40]!r} begins as a spreadsheet formula does; put a word first")
    if len(text) > _TEXT_LIMIT:
        raise BadInputError(f"a text of {len(text):,} characters; {_TEXT_LIMIT:,} at most")
    if (found := _CONTROL.search(text)) is not None:
        raise BadInputError(f"{text[:40]!r} holds the control character 0x{ord(found[0]):02x}")
    return text


def _refuse_metric(column: str, value: object) -> None:
    is_number = not isinstance(value, bool | str) or (
        isinstance(value, str) and bool(_NUMBER.fullmatch(value.strip()))
    )
    if is_number or _RAW.search(column):
        raise BadInputError(
            f"{column}: raw numbers are not kept in the ledger, only decisions and short reasons; "
            "they belong into the slice's metrics"
        )


def _plain_text(value: CellValue) -> str:
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _score_text(value: CellValue) -> str:
    if value is None:
        return ""
    short = f"{value:.3f}"
    return short if float(short) == value else repr(value)


_WRITTEN: dict[bool | None, str] = {True: "true", False: "false", None: ""}
