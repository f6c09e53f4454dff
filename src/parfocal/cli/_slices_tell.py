"""What commands of `parfocal slices` share: what they open, how far they are, what they say at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from parfocal.cli._slices_options import Compat
from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, StageResult
from parfocal.slices.sections import SectionFolder, SectionSource


def tell(result: StageResult, written: Sequence[Path], as_json: bool, **more: Any) -> None:
    """Say what a stage said, and which files were written."""
    if as_json:
        told = {"stage": result.stage, **more, "messages": result.messages, "files": [str(p) for p in written]}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for message in result.messages:
        typer.echo(message)
    for path in written:
        typer.echo(f"written: {path}")


@contextmanager
def progress_of(what: str, total: int | None, quiet: bool) -> Generator[Callable[[str], None], None, None]:
    """Show how far a stage is, on stderr; hand out what to call with each id."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def done(slice_id: str) -> None:
            bar.update(task, advance=1, description=f"{what} {slice_id}")

        yield done


def ledger_in(path: Path | None, compat: Compat | None) -> SliceLedger | None:
    """Return the ledger of a file, where one is given."""
    return None if path is None else SliceLedger.read(path, compat=None if compat is None else "linumpy")


def made_in(folder: Path | None) -> SectionSource | None:
    """Return the sections that were interpolated; a folder in which all were refused holds none."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder of interpolated sections")
    return SectionFolder(folder) if any(folder.glob("*.ome.zarr")) else None


def new_folder(path: Path) -> None:
    """Make a folder that is to be new, or was empty."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInputError(f"{path}: is there already; name a new folder")
    path.mkdir(parents=True, exist_ok=True)


def finite(value: float) -> float | None:
    """Return a number that JSON has, null for any other."""
    return float(value) if value == value and abs(value) != float("inf") else None
