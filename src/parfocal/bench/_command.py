"""`parfocal bench`: run one benchmark, print its rows."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parfocal.bench._table import Row, as_document, as_table
from parfocal.errors import BadInputError

BENCHES: dict[str, str] = {
    "calibration": "parfocal.bench._calibration:calibration",
    "catalog": "parfocal.bench._catalog:catalog",
    "frames": "parfocal.bench._frames:frames",
    "lock": "parfocal.bench._lock:lock",
    "orchestration": "parfocal.bench._orchestration:orchestration",
    "replay": "parfocal.bench._replay:replay_rates",
    "psf": "parfocal.bench._psf:psf",
    "puncta": "parfocal.bench._puncta:puncta",
    "queue": "parfocal.bench._queue:queue",
    "scores": "parfocal.bench._scores:scores",
    "segmentation": "parfocal.bench._segmentation:segmentation",
    "slices": "parfocal.bench._slices:slices",
}
"""Name to `module:function`; imported when asked for. The function returns a list of `Row`."""

DETAILS: dict[str, str] = {"segmentation": "parfocal.bench._segmentation:details"}
"""Name to what returns a second table, rows of names and values, where a benchmark has one."""


def load(name: str) -> Callable[[], list[Row]]:
    """Return a benchmark's function; `BadInputError` lists the names there are."""
    if name not in BENCHES:
        raise BadInputError(f"bench: no benchmark {name!r}; there are: {', '.join(sorted(BENCHES))}")
    module, function = BENCHES[name].split(":")
    return getattr(importlib.import_module(module), function)


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one; see --list.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
) -> None:
    """Measure ours beside the best of others, turn by turn on this machine (`make peers` first)."""
    if show_list:
        for one in sorted(BENCHES):
            summary = (load(one).__doc__ or "").strip().splitlines()[0]
            typer.echo(f"{one:<16}{summary}")
        return
    if name is None:
        raise BadInputError(f"bench: which one? There are: {', '.join(sorted(BENCHES))}")
    rows = load(name)()
    details = _details(name)
    if as_json:
        document = as_document(name, rows)
        typer.echo(json.dumps({**document, "details": details} if details else document, indent=1))
        return
    Console().print(as_table(rows))
    if details:
        shown = Table(*details[0], box=None, header_style="bold")
        for row in details:
            shown.add_row(*("" if row.get(name) is None else str(row[name]) for name in details[0]))
        Console().print(shown)


def _details(name: str) -> list[dict[str, Any]]:
    if name not in DETAILS:
        return []
    module, function = DETAILS[name].split(":")
    return getattr(importlib.import_module(module), function)()
