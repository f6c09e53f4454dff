"""The form of every benchmark: rows with a ratio and a goal, as JSON or as a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
from rich.table import Table

_OURS = ("parfocal", "numpy", "numba", "scipy", "bluesky", "tiled", "tensorstore", "zarr")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    id : str
        `bench/short-name`.
    ours, peer : float
        Measured values in `unit`; `peer` is None where there is only a goal.
    peer_name : str
        Who the peer is, with its version where it is known.
    unit : str
        "ms", "s", "rows/s"...
    ratio : float
        Above 1: ours is better.
    goal : float
        The ratio to reach.
    met : bool
        Whether it was reached.
    recorded : bool
        The peer's value comes from an earlier measurement, not from this machine.
    """

    id: str
    ours: float
    peer: float | None
    peer_name: str
    unit: str
    ratio: float
    goal: float
    met: bool
    recorded: bool = False

    @classmethod
    def compared(
        cls,
        id: str,
        ours: float,
        peer: float,
        *,
        peer_name: str,
        unit: str,
        goal: float = 1.0,
        higher_is_better: bool = False,
        recorded: bool = False,
    ) -> Row:
        """Return the row of two measured values; `goal` is the ratio to reach."""
        ratio = ours / peer if higher_is_better else peer / ours
        return cls(id, ours, peer, peer_name, unit, ratio, goal, ratio >= goal, recorded)

    @classmethod
    def limited(
        cls,
        id: str,
        ours: float,
        limit: float,
        *,
        unit: str,
        higher_is_better: bool = False,
        name: str = "goal",
    ) -> Row:
        """Return the row of one measured value against a limit; the ratio to reach is 1."""
        ratio = ours / limit if higher_is_better else limit / ours
        return cls(id, ours, None, f"{name}: {limit:g} {unit}", unit, ratio, 1.0, ratio >= 1.0)

    def as_dict(self) -> dict[str, Any]:
        """Return the row's JSON form; `recorded` only where it holds."""
        content = asdict(self)
        if not self.recorded:
            del content["recorded"]
        return content


def as_document(bench: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the JSON form of a benchmark: bench, machine, versions, rows."""
    return {
        "bench": bench,
        "machine": machine(),
        "versions": versions(),
        "rows": [row.as_dict() for row in rows],
    }


def as_table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table for a terminal."""
    table = Table(box=None, header_style="bold")
    # Numbers stay whole; on a narrow terminal it is names that are folded.
    table.add_column("id", overflow="fold")
    for name in ("ours", "peer"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", overflow="fold")
    for name in ("ratio", "goal"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer:.3g}" + (" (recorded)" if row.recorded else "")
        met = "[green]yes[/]" if row.met else "[red]no[/]"
        table.add_row(row.id, f"{row.ours:.3g}", peer, row.unit, f"{row.ratio:.2f}", f"{row.goal:g}", met)
    table.caption = "\n".join(f"{row.id}: {row.peer_name}" for row in rows)
    table.caption_justify = "left"
    return table


def machine() -> dict[str, Any]:
    """Return what a reader needs to compare times: processor, cores, memory, system."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), model)
    except OSError:
        pass  # not Linux
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of our own main dependencies."""
    found = {"python": platform.python_version()}
    for name in _OURS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
