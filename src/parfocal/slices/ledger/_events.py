"""The event log: who changed which cell, when, in which run, from what to what. JSON lines beside the CSV."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from parfocal.errors import BadInputError
from parfocal.slices.ledger._cells import Row, Rows
from parfocal.slices.ledger._rows import extra_columns
from parfocal.slices.ledger._stage import CANONICAL_COLUMNS, CellValue

_FORMAT, _VERSION = "parfocal slice events", 1
_KEYS = {"stage", "time_s", "run_uid", "slice_id", "changes"}
_CELLS: frozenset[type] = frozenset({bool, float, int, str, type(None)})
_BLANK: Row = dict.fromkeys(CANONICAL_COLUMNS)
ORDER = "order"
"""In place of a column where somebody changed the order of the rows; the value is all ids, with spaces between."""


class LedgerEvent(NamedTuple):
    """What one stage changed of one slice.

    Attributes
    ----------
    stage : str
        Who: "generate", "assess", "read" (what stood in a file without a log), "edited outside"...
    time_s : float
        When: seconds since 1970, UTC.
    run_uid : str
        In which run; empty where there was none.
    slice_id : str
        Which slice.
    changes : mapping of column to (old, new)
        `slice_id` among them: the slice came (old is None) or went (new is None).
    """

    stage: str
    time_s: float
    run_uid: str
    slice_id: str
    changes: Mapping[str, tuple[CellValue, CellValue]]


def events_path(path: str | os.PathLike[str]) -> Path:
    """Return where the event log of a CSV is: `slice_config.events.jsonl` beside `slice_config.csv`."""
    target = Path(path)
    return target.with_name(f"{target.stem}.events.jsonl")


def differences(
    old: Mapping[str, Mapping[str, CellValue]],
    new: Mapping[str, Mapping[str, CellValue]],
    *,
    stage: str,
    time_s: float,
    run_uid: str = "",
) -> list[LedgerEvent]:
    """Return the events that lead from the old rows to the new ones."""
    events: list[LedgerEvent] = []

    def happened(slice_id: str, changes: dict[str, tuple[CellValue, CellValue]]) -> None:
        events.append(LedgerEvent(stage, time_s, run_uid, slice_id, changes))

    for sid in old:
        if sid not in new:
            happened(sid, {"slice_id": (sid, None)})
    for sid, row in new.items():
        before = old.get(sid)
        if before == row:  # in C, and most rows of most stages are
            continue
        if before is None:
            happened(sid, {name: (None, value) for name, value in row.items() if value is not None})
            continue
        changes = {name: (before.get(name), value) for name, value in row.items() if before.get(name) != value} | {
            name: (value, None) for name, value in before.items() if name not in row and value is not None
        }
        if changes:
            happened(sid, changes)
    if [sid for sid in old if sid in new] + [sid for sid in new if sid not in old] != list(new):
        happened("", {ORDER: (None, " ".join(new))})
    return events


def replay(events: Iterable[LedgerEvent], extras: Sequence[str] = ()) -> Rows:
    """Return the rows that the events lead to, from nothing.

    Parameters
    ----------
    events : iterable of LedgerEvent
        From the first on.
    extras : sequence of str
        Columns beyond the canonical ones, in their order.

    Raises
    ------
    BadInputError
        An event does not follow from those before it.
    """
    blank = _BLANK | dict.fromkeys(extras)
    rows: Rows = {}
    for number, event in enumerate(events, 1):
        sid, changes = event.slice_id, event.changes
        if ORDER in changes:
            rows = _ordered(rows, str(changes[ORDER][1]).split(), number)
            continue
        row = rows.get(sid)
        if row is None:
            if changes.get("slice_id") != (None, sid):
                raise BadInputError(f"event {number} ({event.stage}): slice {sid} is not there yet")
            row = rows[sid] = dict(blank)
        elif changes.get("slice_id") == (sid, None):
            del rows[sid]
            continue
        for name, (old, new) in changes.items():
            if row.get(name) != old:
                raise BadInputError(
                    f"event {number} ({event.stage}): slice {sid}, {name} was {row.get(name)!r}, not {old!r}"
                )
            row[name] = new
    present = extra_columns(rows)
    for name in present:  # a column that came later is blank in the rows before it
        for row in rows.values():
            row.setdefault(name, None)
    return rows


def events_text(events: Iterable[LedgerEvent], extras: Sequence[str]) -> str:
    """Return the JSON lines of events, the first of them about the file."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    lines = [encode({"format": _FORMAT, "version": _VERSION, "extra_columns": list(extras)})]
    # Thousands of events share stage, time and run: their JSON is made once.
    heads: dict[tuple[str, float, str], str] = {}
    for stage, time_s, run_uid, slice_id, changes in events:
        head = heads.get((stage, time_s, run_uid))
        if head is None:
            head = encode({"stage": stage, "time_s": time_s, "run_uid": run_uid})[:-1]
            heads[stage, time_s, run_uid] = head
        lines.append(f'{head},"slice_id":"{slice_id}","changes":{encode(changes)}}}')
    lines.append("")
    return "\n".join(lines)


def read_events(path: str | os.PathLike[str]) -> tuple[tuple[LedgerEvent, ...], tuple[str, ...]]:
    """Read an event log; return its events and the extra columns.

    Raises
    ------
    BadInputError
        A line is not what `events_text` writes.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise BadInputError(f"{source}: is not UTF-8") from None
    if lines[-1] == "":
        lines.pop()
    events: list[LedgerEvent] = []
    extras: tuple[str, ...] = ()
    # All lines at once are read in a third of the time; one by one they say where the fault is.
    try:
        parsed: Iterable[Any] = json.loads(f"[{','.join(lines)}]")
        is_whole = len(parsed) == len(lines)  # pyright: ignore[reportArgumentType]
    except (ValueError, RecursionError):
        parsed, is_whole = (), False
    for number, item in enumerate(parsed if is_whole else lines, 1):
        try:
            found = item if is_whole else json.loads(item)
            if number == 1:
                extras = _extras_of(found)
            else:
                events.append(_event_of(found))
        except (ValueError, RecursionError, TypeError) as error:
            why = str(error) if isinstance(error, BadInputError) else "is not a line of an event log"
            raise BadInputError(f"{source}, line {number}: {why}") from None
    if not lines:
        raise BadInputError(f"{source}: is empty; an event log begins with a line about itself")
    return tuple(events), extras


def _extras_of(found: Any) -> tuple[str, ...]:
    if not isinstance(found, dict) or cast(Any, found).get("format") != _FORMAT:
        raise BadInputError(f"is not the head of {_FORMAT!r}")
    head = cast(dict[str, Any], found)
    if head.get("version") != _VERSION:
        raise BadInputError(f"version {head.get('version')!r}; this parfocal reads version {_VERSION}")
    extras = head.get("extra_columns")
    if not isinstance(extras, list) or not all(isinstance(name, str) for name in cast(list[Any], extras)):
        raise BadInputError("extra_columns is no list of names")
    return tuple(cast(list[str], extras))


def _event_of(found: Any) -> LedgerEvent:
    if not isinstance(found, dict) or cast(dict[str, Any], found).keys() != _KEYS:
        raise BadInputError(f"an event has {', '.join(sorted(_KEYS))}")
    told = cast(dict[str, Any], found)
    names, time_s, changes = (told["stage"], told["run_uid"], told["slice_id"]), told["time_s"], told["changes"]
    if not all(isinstance(name, str) for name in names) or isinstance(time_s, bool):
        raise BadInputError("stage, run_uid and slice_id are texts, time_s is a number")
    if not isinstance(time_s, int | float) or not isinstance(changes, dict):
        raise BadInputError("time_s is a number, changes is a mapping")
    pairs: dict[str, tuple[CellValue, CellValue]] = {}
    for name, pair in cast(dict[str, Any], changes).items():
        if type(pair) is not list or len(cast(list[Any], pair)) != 2:
            raise BadInputError(f"{name}: [old, new] was expected")
        old, new = cast(list[Any], pair)
        if type(old) not in _CELLS or type(new) not in _CELLS:
            raise BadInputError(f"{name}: a value is neither true, false, a number, a text nor null")
        pairs[name] = (old, new)
    return LedgerEvent(told["stage"], float(time_s), told["run_uid"], told["slice_id"], pairs)


def _ordered(rows: Rows, ids: list[str], number: int) -> Rows:
    if sorted(ids) != sorted(rows):
        raise BadInputError(f"event {number}: the order names other slices than there are")
    return {sid: rows[sid] for sid in ids}
