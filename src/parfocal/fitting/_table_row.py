"""Rows of a table that holds each field as an array."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Row = TypeVar("Row")
Table = TypeVar("Table")


def row_of(kind: type[Row], table: Any, index: int) -> Row:
    """Return the row at `index` as the dataclass whose fields the table has, in plain numbers and text.

    What is no array in the table holds for all its rows.
    """
    k = range(len(table))[index]
    return kind(**{f.name: _entry(getattr(table, f.name), k) for f in fields(kind)})  # pyright: ignore[reportArgumentType]


def rows_of(table: Table, rows: NDArray[Any]) -> Table:
    """Return the table with some of its rows alone, in that order."""
    columns: dict[str, Any] = {f.name: getattr(table, f.name) for f in fields(table)}  # pyright: ignore[reportArgumentType]
    arrays = {name: column[rows] for name, column in columns.items() if isinstance(column, np.ndarray)}
    return replace(table, **arrays)  # pyright: ignore[reportArgumentType]


def _entry(column: Any, k: int) -> Any:
    if not isinstance(column, np.ndarray):
        return column
    entry: Any = column[k]
    return entry if np.ndim(entry) else entry.item()
