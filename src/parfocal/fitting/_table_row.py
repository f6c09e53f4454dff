"""One row of a table that holds each field as an array."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

Row = TypeVar("Row")


def row_of(kind: type[Row], table: Any, index: int) -> Row:
    """Return the row at `index` as the dataclass whose fields the table has, in plain numbers and text.

    What is no array in the table holds for all its rows.
    """
    k = range(len(table))[index]
    return kind(**{f.name: _entry(getattr(table, f.name), k) for f in fields(kind)})  # pyright: ignore[reportArgumentType]


def _entry(column: Any, k: int) -> Any:
    if not isinstance(column, np.ndarray):
        return column
    entry: Any = column[k]
    return entry if np.ndim(entry) else entry.item()
