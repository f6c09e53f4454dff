"""Steps between consecutive sections: `shifts_xy.csv`, and where each section lies by them."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import csv_text, natural_key, read_csv, write_atomically
from parfocal.slices.ledger import as_slice_id

SHIFT_COLUMNS = ("fixed_id", "moving_id", "x_shift", "y_shift", "x_shift_mm", "y_shift_mm")
"""Columns of `shifts_xy.csv`: `x_shift`, `y_shift` are px."""
RELIABLE = "reliable"
"""One more, which linumpy's rehoming detection adds: 1 where the stage is to be believed, 0 where not."""

_AGREE = {"mm": 1e-6, "px": 1e-3}
Unit = Literal["mm", "px"]


@dataclass(frozen=True, eq=False)
class ShiftTable:
    """Steps from one section to the next.

    Attributes
    ----------
    fixed_id, moving_id : tuple of str
        The section before and the one after, by row.
    dx_mm, dy_mm : ndarray of float64, shape (n,)
        Where the moving section lies less where the fixed one does, mm: what it is moved by to lie on it.
    dx_px, dy_px : ndarray of float64, shape (n,), optional
        The same, px.
    reliable : ndarray of bool, shape (n,), optional
        Whether the stage is to be believed; None where the file does not say.
    """

    fixed_id: tuple[str, ...]
    moving_id: tuple[str, ...]
    dx_mm: NDArray[np.float64]
    dy_mm: NDArray[np.float64]
    dx_px: NDArray[np.float64] | None = None
    dy_px: NDArray[np.float64] | None = None
    reliable: NDArray[np.bool_] | None = None

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Every section that is named, in natural order."""
        return tuple(sorted({*self.fixed_id, *self.moving_id}, key=natural_key))


@dataclass(frozen=True, eq=False)
class SectionPositions:
    """Where sections lie in the common frame.

    Attributes
    ----------
    slice_ids : tuple of str
        Which.
    xy : ndarray of float64, shape (n, 2)
        Position (x, y) of each, in `unit`.
    unit : "mm" or "px"
    """

    slice_ids: tuple[str, ...]
    xy: NDArray[np.float64]
    unit: Unit

    def by_id(self) -> dict[str, tuple[float, float]]:
        """Return (x, y) by slice id."""
        return {sid: (float(x), float(y)) for sid, (x, y) in zip(self.slice_ids, self.xy)}


def read_shifts(path: str | os.PathLike[str]) -> ShiftTable:
    """Read a `shifts_xy.csv`, ours or linumpy's: the column `reliable` may stand there too.

    Raises
    ------
    BadInputError
        A column is missing or unknown, a number is not finite, an id is none, a pair stands there twice; the
        message names row and column.
    """
    source = Path(path)
    table = read_csv(source)
    missing = [name for name in SHIFT_COLUMNS if name not in table.header]
    extra = [name for name in table.header if name not in (*SHIFT_COLUMNS, RELIABLE)]
    if missing or extra:
        said = [f"no column {', '.join(missing)}"] * bool(missing) + [f"unknown column {', '.join(extra)}"] * bool(
            extra
        )
        raise BadInputError(f"{source}, row 1: {'; '.join(said)}; expected {','.join(SHIFT_COLUMNS)}")
    columns = table.columns()
    if not table.rows:
        raise BadInputError(f"{source}: holds no shifts")
    ids: dict[str, tuple[str, ...]] = {}
    for name in SHIFT_COLUMNS[:2]:
        known: dict[str, str] = {}
        for number, text in zip(table.row_numbers, columns[name]):
            if text not in known:
                try:
                    known[text] = as_slice_id(text)
                except BadInputError as error:
                    raise BadInputError(f"{source}, row {number}, column {name}: {error}") from None
        ids[name] = tuple(known[text] for text in columns[name])
    seen: dict[frozenset[str], int] = {}
    for number, fixed, moving in zip(table.row_numbers, ids["fixed_id"], ids["moving_id"]):
        if fixed == moving:
            raise BadInputError(f"{source}, row {number}: slice {fixed} is shifted against itself")
        if (before := seen.setdefault(frozenset((fixed, moving)), number)) != number:
            raise BadInputError(f"{source}, row {number}: {fixed} to {moving} stands in row {before} already")
    numbers = [_numbers(source, name, columns[name], table.row_numbers) for name in SHIFT_COLUMNS[2:]]
    dx_px, dy_px, dx_mm, dy_mm = numbers
    reliable = _flags(source, columns[RELIABLE], table.row_numbers) if RELIABLE in columns else None
    return ShiftTable(ids["fixed_id"], ids["moving_id"], dx_mm, dy_mm, dx_px, dy_px, reliable)


def write_shifts(path: str | os.PathLike[str], shifts: ShiftTable, *, replace: bool = False) -> None:
    """Write a `shifts_xy.csv`; numbers keep all their digits, so that reading gives the same.

    The column `reliable` (1 or 0) is written where the table has it.

    Raises
    ------
    BadInputError
        The file is there already (unless `replace`), or the table has no shifts in px.
    """
    target = Path(path)
    if target.exists() and not replace:
        raise BadInputError(f"{target}: is there already; a new file is written each time")
    if shifts.dx_px is None or shifts.dy_px is None:
        raise BadInputError(f"{target}: the shifts in px are not known")
    arrays = (shifts.dx_px, shifts.dy_px, shifts.dx_mm, shifts.dy_mm)
    cells = [[repr(float(value)) for value in array] for array in arrays]
    header = SHIFT_COLUMNS
    if shifts.reliable is not None:
        header = (*SHIFT_COLUMNS, RELIABLE)
        cells.append([str(int(value)) for value in shifts.reliable])
    text = csv_text(header, [shifts.fixed_id, shifts.moving_id, *cells])
    with write_atomically(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def cumulative_shifts(
    shifts: ShiftTable, slice_ids: Iterable[object] | None = None, *, unit: Unit = "mm", origin: object = None
) -> SectionPositions:
    """Return where sections lie: the sum of the steps along the way to each, through sections left out too.

    Parameters
    ----------
    shifts : ShiftTable
        Steps between pairs of sections, in any order; a pair may be walked both ways.
    slice_ids : iterable of str or int, optional
        Which sections, in this order; all by default.
    unit : "mm" or "px"
        Which of the table's columns.
    origin : str or int, optional
        The section at (0, 0). By default the first one of the table that the asked ones are linked with.

    Raises
    ------
    BadInputError
        A section is not in the table, there is no way to it (the message names the gap), or two ways to it
        disagree.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([10.0, 8, 12, 5, 9]), np.array([5.0, 3, 7, 2, 4])
    >>> table = ShiftTable(("00", "01", "02", "03", "04"), ("01", "02", "03", "04", "05"), x, y)
    >>> cumulative_shifts(table, [0, 2, 4]).by_id()
    {'00': (0.0, 0.0), '02': (18.0, 8.0), '04': (35.0, 17.0)}
    """
    steps = _steps(shifts, unit)
    index = {sid: i for i, sid in enumerate(shifts.slice_ids)}
    asked = tuple(index) if slice_ids is None else tuple(as_slice_id(sid) for sid in slice_ids)
    missing = [sid for sid in (*asked, *([] if origin is None else [as_slice_id(origin)])) if sid not in index]
    if missing:
        raise BadInputError(f"shifts: slice {', '.join(dict.fromkeys(missing))} is in no pair")
    if not asked:
        raise BadInputError("shifts: no slice was asked for")
    fixed = np.array([index[sid] for sid in shifts.fixed_id])
    moving = np.array([index[sid] for sid in shifts.moving_id])
    n = len(index)
    if len(steps) == n - 1 and np.array_equal(moving, fixed + 1) and np.array_equal(fixed, np.arange(n - 1)):
        xy = np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)])  # the usual table: one chain, in order
        chain = np.zeros(n, np.int64)
    else:
        xy, chain = _walk(fixed, moving, steps, n)
        _agree(xy, chain, fixed, moving, steps, shifts, unit)
    at = np.array([index[sid] for sid in asked])
    start = index[as_slice_id(origin)] if origin is not None else int(np.flatnonzero(chain == chain[at[0]])[0])
    apart = np.flatnonzero(chain[at] != chain[start])
    if apart.size:
        raise BadInputError(_gap(tuple(index), chain, start, int(at[apart[0]])))
    return SectionPositions(asked, xy[at] - xy[start], unit)


def _numbers(source: Path, name: str, cells: Sequence[str], row_numbers: Sequence[int]) -> NDArray[np.float64]:
    try:
        values = np.array([float(cell) for cell in cells], np.float64)
    except ValueError:
        values = np.array([_or_nan(cell) for cell in cells], np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        cell = cells[int(bad[0])].strip()
        said = f"{cell[:40]!r} is no finite number" if cell else "blank; a number was expected"
        raise BadInputError(f"{source}, row {row_numbers[int(bad[0])]}, column {name}: {said}")
    return values


def _flags(source: Path, cells: Sequence[str], row_numbers: Sequence[int]) -> NDArray[np.bool_]:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    flags = [known.get(cell.strip().lower()) for cell in cells]
    if None in flags:
        row = flags.index(None)
        raise BadInputError(
            f"{source}, row {row_numbers[row]}, column {RELIABLE}: {cells[row][:40]!r} is neither 1 (true, yes) "
            "nor 0 (false, no)"
        )
    return np.array(flags, np.bool_)


def _or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _steps(shifts: ShiftTable, unit: Unit) -> NDArray[np.float64]:
    x, y = (shifts.dx_mm, shifts.dy_mm) if unit == "mm" else (shifts.dx_px, shifts.dy_px)
    if x is None or y is None:
        raise BadInputError("shifts: the shifts in px are not known; ask for mm")
    steps = np.column_stack([x, y]).astype(np.float64)
    if len(steps) != len(shifts.fixed_id) or len(steps) != len(shifts.moving_id):
        raise BadInputError(f"shifts: {len(steps)} steps for {len(shifts.fixed_id)} pairs")
    bad = np.flatnonzero(~np.isfinite(steps).all(axis=1))
    if bad.size:
        row = int(bad[0])
        raise BadInputError(
            f"shifts: {shifts.fixed_id[row]} to {shifts.moving_id[row]} is no finite number of {unit}"
        )
    return steps


def _walk(
    fixed: NDArray[np.int64], moving: NDArray[np.int64], steps: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return positions, each chain of linked sections from its first one, and which chain each is of."""
    ways: defaultdict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for a, b, (dx, dy) in zip(fixed.tolist(), moving.tolist(), steps.tolist()):
        ways[a].append((b, dx, dy))
        ways[b].append((a, -dx, -dy))
    xy, chain = np.zeros((n, 2)), np.full(n, -1, np.int64)
    for first in range(n):
        if chain[first] >= 0:
            continue
        chain[first] = first
        waiting = deque([(first, 0.0, 0.0)])
        while waiting:
            here, x, y = waiting.popleft()
            xy[here] = x, y
            for there, dx, dy in ways[here]:
                if chain[there] < 0:
                    chain[there] = first
                    waiting.append((there, x + dx, y + dy))
    return xy, chain


def _agree(
    xy: NDArray[np.float64],
    chain: NDArray[np.int64],
    fixed: NDArray[np.int64],
    moving: NDArray[np.int64],
    steps: NDArray[np.float64],
    shifts: ShiftTable,
    unit: Unit,
) -> None:
    off = np.abs(xy[moving] - xy[fixed] - steps).max(axis=1, initial=0.0)
    worst = int(np.argmax(off))
    if off[worst] > _AGREE[unit]:
        raise BadInputError(
            f"shifts: {shifts.fixed_id[worst]} to {shifts.moving_id[worst]} disagrees with the way through other "
            f"sections by {off[worst]:g} {unit}"
        )


def _gap(ids: tuple[str, ...], chain: NDArray[np.int64], start: int, there: int) -> str:
    """Say where the chain of links breaks between two sections."""
    low, high = min(start, there), max(start, there)
    last = max(i for i in range(low, high + 1) if chain[i] == chain[low])
    following = min(i for i in range(last, high + 1) if chain[i] == chain[high]) if last < high else high
    return (
        f"shifts: no way from slice {ids[start]} to {ids[there]}: "
        f"the link {ids[last]} to {ids[following]} is missing"
    )
