"""`segmentation`: nuclei in 3D, how well and how fast: linking, flows, networks, memory, real data."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from parfocal.bench._segmentation_quality import (
    quality_rows,
    quality_scores,
    reason_for_no_scores,
    scores_document,
)
from parfocal.bench._table import Row

_PARTS = {
    "_segmentation_link": ("link_rows", "track_rows"),
    "_segmentation_flow": ("flow_rows",),
    "_segmentation_net": ("net_rows",),
    "_segmentation_memory": ("memory_rows",),
}
"""Module to the functions that return its rows."""


def segmentation() -> list[Row]:
    """Measure nuclei in 3D: AP on real volumes, linking, flows to masks, networks, memory."""
    rows: list[Row] = []
    for part, functions in _PARTS.items():
        if find_spec(f"parfocal.bench.{part}") is not None:
            module = import_module(f"parfocal.bench.{part}")
            for function in functions:
                rows += getattr(module, function)()
    why = reason_for_no_scores()
    if why is not None:
        Console(stderr=True).print(f"quality left out: {why}", markup=False, soft_wrap=True)
        return rows
    return [*rows, *quality_rows()]


def details() -> list[dict[str, Any]]:
    """Return the second table: AP of every method on every file, with its interval."""
    return [] if reason_for_no_scores() else scores_document(quality_scores())
