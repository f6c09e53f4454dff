"""Correlations of neighbouring sections, read back from what registration wrote."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from parfocal.errors import BadInputError
from parfocal.files import natural_key, read_csv
from parfocal.slices.ledger import as_slice_id

_FOLDER = re.compile(r"slice_z(\d+)")
_SIZE_LIMIT = 16 * 2**20


@dataclass(frozen=True)
class PairCorrelation:
    """How well one section fits the one before it; `z_correlation` is NaN where none can be told."""

    fixed_id: str
    moving_id: str
    z_correlation: float


def read_pair_scores(path: str | os.PathLike[str]) -> tuple[PairCorrelation, ...]:
    """Read the correlations of neighbouring sections.

    Parameters
    ----------
    path : str or path
        A folder of JSON files, one a slice: an object with `z_correlation` and `registered_to` (at its top or
        below, under `metrics` or the stage), its slice in `slice_id` or in the name (`slice_z03...`); or linumpy's
        `slice_z03/pairwise_registration_metrics.json`, where the section before is the one of the next lower
        id found. Or a CSV of `fixed_id,moving_id,z_correlation`.

    Raises
    ------
    BadInputError
        Nothing is found, or a file cannot be read; the message names it.
    """
    source = Path(path)
    if source.is_file():
        return _from_csv(source)
    if not source.is_dir():
        raise BadInputError(f"{source}: no such file or folder of registration metrics")
    found: dict[str, tuple[str | None, float]] = {}
    for file in sorted(source.rglob("*.json"), key=natural_key):
        content = _content(file)
        value = _find(content, "z_correlation")
        if value is None:
            continue
        sid = _slice_of(file, content)
        if sid in found:
            raise BadInputError(f"{file}: slice {sid} has a correlation already, in another file")
        before = _find(content, "registered_to") or _find(content, "fixed_id")
        found[sid] = (None if before is None else as_slice_id(before[0]), _number(file, value[0]))
    if not found:
        raise BadInputError(f"{source}: no registration metrics in it; `parfocal slices register` writes them")
    ids = sorted(found, key=natural_key)
    pairs: list[PairCorrelation] = []
    for i, sid in enumerate(ids):
        before, value = found[sid]
        if before is None:
            before = ids[i - 1] if i else _lower(sid)
        pairs.append(PairCorrelation(before, sid, value))
    return tuple(pairs)


def _from_csv(source: Path) -> tuple[PairCorrelation, ...]:
    table = read_csv(source)
    wanted = ("fixed_id", "moving_id", "z_correlation")
    missing = [name for name in wanted if name not in table.header]
    if missing:
        raise BadInputError(f"{source}, row 1: there is no column {', '.join(missing)}")
    columns = table.columns()
    pairs: list[PairCorrelation] = []
    for number, fixed, moving, value in zip(table.row_numbers, *(columns[name] for name in wanted)):
        try:
            score = float(value) if value.strip() else math.nan
            pairs.append(PairCorrelation(as_slice_id(fixed), as_slice_id(moving), score))
        except ValueError as error:
            raise BadInputError(f"{source}, row {number}: {error}") from None
    return tuple(pairs)


def _content(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _SIZE_LIMIT:
        raise BadInputError(f"{file}: too large for the metrics of a slice")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise BadInputError(f"{file}: is not JSON") from None
    if not isinstance(content, dict):
        raise BadInputError(f"{file}: a JSON object was expected")
    return cast(dict[str, Any], content)


def _find(content: dict[str, Any], name: str, depth: int = 3) -> tuple[Any] | None:
    """Return the value of a name, at the top or in the objects below; linumpy's stands in a `value` of its own."""
    if name in content:
        value = content[name]
        return (cast(dict[str, Any], value).get("value"),) if isinstance(value, dict) else (value,)
    if depth:
        for below in content.values():
            if isinstance(below, dict) and (found := _find(cast(dict[str, Any], below), name, depth - 1)):
                return found
    return None


def _slice_of(file: Path, content: dict[str, Any]) -> str:
    told = content.get("slice_id", content.get("moving_id"))
    match = _FOLDER.search(file.stem) or _FOLDER.search(file.parent.name)
    if told is None and match is None:
        raise BadInputError(f"{file}: does not say which slice it is of")
    try:
        return as_slice_id(told if match is None or told is not None else match[1])
    except BadInputError as error:
        raise BadInputError(f"{file}: slice_id: {error}") from None


def _number(file: Path, value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInputError(f"{file}: z_correlation is {value!r}; a number was expected")
    return float(value)


def _lower(sid: str) -> str:
    if not sid.isdecimal() or int(sid) == 0:
        raise BadInputError(f"slice {sid}: is registered to a section before it, and there is none")
    return as_slice_id(int(sid) - 1)
