"""The folder that `parfocal segment` makes, whole or not at all, and what is said of it."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import typer
from numpy.typing import NDArray
from rich.console import Console

from parfocal.errors import BadInputError
from parfocal.files import csv_text, write_atomically


@contextmanager
def whole_folder(target: Path) -> Generator[Path, None, None]:
    """Give a temporary folder; when the block ends well it becomes `target`, which is else as before."""
    if not target.absolute().parent.is_dir():
        raise BadInputError(f"{target}: cannot be made, there is no folder {target.parent}")
    if target.exists() and not (target / "summary.json").is_file():
        raise BadInputError(f"{target}: holds no segmentation; it is not replaced")
    mark = secrets.token_hex(6)
    temporary = target.parent / f".{target.name[:80]}.{mark}"
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            old = target.parent / f".{target.name[:80]}.{mark}.old"
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_objects(folder: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write the table of objects."""
    cells = [[_cell(value) for value in column.tolist()] for column in columns.values()]
    with write_atomically(folder / "objects.csv") as temporary:
        temporary.write_text(csv_text(list(columns), cells), encoding="utf-8")


def write_summary(folder: Path, told: Mapping[str, Any]) -> None:
    """Write what was done, for programs."""
    with write_atomically(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")


def in_words(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what was done, for a page: remarks have their own place there, and each fact of a record its line."""
    told: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            record = in_words(cast("Mapping[str, Any]", value))
            told |= {f"{name.removesuffix('_record')}: {one}": text for one, text in record.items()}
        elif value and name != "remarks":
            told[name] = ", ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else _cell(value)
    return told


def tell(facts: Mapping[str, Any], target: Path, tiff: Path | None = None, *, as_json: bool) -> None:
    """Say what was found, and where it is."""
    if as_json:
        typer.echo(json.dumps({**facts, "folder": str(target), "tiff": None if tiff is None else str(tiff)}))
        return
    console = Console(highlight=False)
    what = "nuclei" if facts.get("linked", True) else "outlines of single planes"
    console.print(f"{facts['n_objects']} {what} by {facts['backend']} in {facts['seconds']:.1f} s", markup=False)
    for remark in facts["remarks"]:
        console.print(remark, markup=False, soft_wrap=True)
    for path in (target, tiff):
        if path is not None:
            console.print(str(path), markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
