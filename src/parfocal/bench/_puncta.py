"""`puncta`: found, fitted, followed and lit up, how well and how fast, beside the best of others."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from rich.console import Console

from parfocal.bench._table import Row

_PARTS = {
    "_puncta_detect": ("detect_rows",),
    "_puncta_tracks": ("track_rows", "completeness_rows"),
    "_puncta_calcium": ("calcium_rows",),
    "_puncta_real": ("real_rows",),
}
"""Module to the functions that return its rows."""


def puncta() -> list[Row]:
    """Measure puncta: fits, detection, tracks and calcium beside picasso, trackpy and LapTrack; the network."""
    rows: list[Row] = []
    for part, functions in _PARTS.items():
        module = import_module(f"parfocal.bench.{part}")
        for function in functions:
            rows += getattr(module, function)()
    if find_spec("torch") is None:
        Console(stderr=True).print("network left out: PyTorch is not installed (pip install 'parfocal[torch]')")
        return rows
    return [*rows, *import_module("parfocal.bench._puncta_net").net_rows()]
