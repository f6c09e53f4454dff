"""What adds up over recordings: numbers are summed, columns joined, so that no ratio is ever averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def add_up(parts: Sequence[T]) -> T:
    """Return one tally of the same kind as all of `parts` (at least one): a dataclass of numbers and columns."""
    first = parts[0]
    return type(first)(**{f.name: _sum([getattr(part, f.name) for part in parts]) for f in fields(first)})  # pyright: ignore[reportArgumentType]


def add_up_known(parts: Sequence[T | None]) -> T | None:
    """Return the same of the parts that there are; None where there is none."""
    known = [part for part in parts if part is not None]
    return add_up(known) if known else None


def share(part: float, whole: float) -> float:
    """Return part over whole; NaN of nothing."""
    return part / whole if whole else float("nan")


def _sum(values: list[Any]) -> Any:
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return add_up(values) if is_dataclass(values[0]) else sum(values)
