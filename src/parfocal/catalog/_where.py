"""Conditions on documents as people write them: `sample=fish 3`, `sample.age_h>=36`, `stop.exit_status=fail`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import pandas as pd
from tiled.queries import Comparison, Eq, Like, NotEq

from parfocal.errors import BadInputError

Where = Mapping[str, Any] | Iterable[str]
"""`{"sample.age_h": 36}`, all equal; or texts of `KEY OPERATOR VALUE`."""

When = float | str | datetime
_CONDITION = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(!=|>=|<=|=|>|<|~)\s*(.*?)\s*", re.DOTALL)
_COMPARED = {">=": "ge", "<=": "le", ">": "gt", "<": "lt"}


def queries(where: Where) -> list[Any]:
    """Return Tiled's queries for conditions, all of which must hold.

    A condition is `KEY OPERATOR VALUE` with one of `=`, `!=`, `<`, `<=`, `>`, `>=`, and `~` (text with `*` for any
    characters and `?` for one). KEY is a key of the start document, a dot one level down, or begins with `stop.`
    VALUE is a number, true or false where it reads as one, else text; in quotes it is text. Times may be written
    as people write them. A run without the key fits no condition on it, `!=` included.

    Raises
    ------
    BadInputError
        A condition cannot be read; the message says what was expected.
    """
    if isinstance(where, str):
        where = [where]
    if isinstance(where, Mapping):
        return [Eq(_path(key), value) for key, value in cast("Mapping[str, Any]", where).items()]
    return [_query(text) for text in where]


def _query(text: str) -> Any:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise BadInputError(f"--where {text!r}: KEY=VALUE was expected, or another of != < <= > >= ~ for =")
    key, operator, told = match.groups()
    path = _path(key)
    if operator == "~":
        return Like(path, told.replace("*", "%").replace("?", "_"))
    value = _value(told)
    if path in ("start.time", "stop.time") and isinstance(value, str):
        value = timestamp_s(value)
    if operator in _COMPARED:
        if isinstance(value, bool):
            raise BadInputError(f"--where {text!r}: true and false have no order; use = or !=")
        return Comparison(_COMPARED[operator], path, value)
    return Eq(path, value) if operator == "=" else NotEq(path, value)


def _path(key: str) -> str:
    return key if key.startswith(("start.", "stop.")) else f"start.{key}"


def _value(told: str) -> Any:
    try:
        value = json.loads(told)
    except json.JSONDecodeError:
        return told
    if value is None or isinstance(value, list | dict):
        raise BadInputError(
            f"--where: {told} is no value to compare with; a number, text, true or false was expected"
        )
    return value


def timestamp_s(when: When) -> float:
    """Return seconds since the Unix epoch; local time where no zone is given."""
    if isinstance(when, int | float):
        return float(when)
    if when == "today":  # pandas takes it for this very moment, people for midnight
        return datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    try:
        moment: datetime = pd.Timestamp(when).to_pydatetime()  # pyright: ignore[reportAssignmentType]  (no NaT)
        return moment.timestamp()  # a naive one is local time; pandas' own would take it for UTC
    except (ValueError, AttributeError) as error:
        raise BadInputError(f"Time {when!r} cannot be read: write it as '2026-03-01 14:30'.") from error
