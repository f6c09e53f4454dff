"""`parfocal segment RUN`: the nuclei of a stored run, as a derived run of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from parfocal.callbacks import NucleiParameters, replay, volumes_of
from parfocal.catalog import Catalog, open_catalog
from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr, write_ome_tiff
from parfocal.segmentation.backends import LINK_OPTIONS

_TOLD_OF_STACKS = ("labels", "position", "time_point", "tile", "n_planes", "n_objects", "mean_doubt")
_RESTORATION = ("restoration", "restoration_asked", "restoration_why", "snr", "blur_px")


def segment_run(
    run: str,
    data: Path | None,
    parameters: dict[str, Any],
    options: Mapping[str, Any],
    *,
    again: bool,
    as_json: bool,
    tiff: Path | None,
    not_for_runs: list[str],
) -> None:
    """Find the nuclei of a run by the analysis `nuclei`; what was found before is shown, not done again.

    Of the `options` of backends, those count that are parameters of the analysis: how planes are linked.
    With `tiff`, labels are written there too; those of several stacks with their names: `found_labels_1.ome.tif`.

    Raises
    ------
    BadInputError
        An option is for files alone, there is no such run, it holds no images, or a TIFF is there already.
    """
    if tiff is not None and tiff.exists() and not again:
        raise BadInputError(f"{tiff}: exists already; name another with --out, or replace it with --overwrite")
    if not_for_runs:
        raise BadInputError(f"segment {run}: {', '.join(not_for_runs)} is for files; a run says this itself")
    of_runs = [one.name for one in fields(NucleiParameters) if one.name in LINK_OPTIONS]
    if unknown := [name for name in options if name not in of_runs]:
        raise BadInputError(f"segment {run}: --option {unknown[0]} is for files; of a run: {', '.join(of_runs)}")
    with open_catalog(data) as catalog:
        (done,) = replay(
            [run],
            "nuclei",
            {**parameters, **options},
            catalog=catalog,
            if_done="supersede" if again else "skip",
            progress=not as_json,
        )
        if done.status in ("failed", "no_images"):
            raise BadInputError(f"segment {run}: {done.reason}")
        derived: Any = catalog.run(done.derived_uid)
        about = derived.metadata["start"]["parfocal"]["parameters"]
        verdict = (derived.metadata.get("stop") or {}).get("parfocal", {}).get("verdict", "")
        is_live = derived.metadata["start"]["parfocal"]["mode"] == "live"
        stacks = _stacks(derived)
        written = [] if tiff is None else _write_tiffs(catalog, derived, tiff)
    after_s = _labels_after_s(stacks)
    facts: dict[str, Any] = {
        "run": done.uid,
        "derived_run": done.derived_uid,
        "status": done.status,
        "verdict": verdict,
        "backend": about["backend"],
        "model_hash": about["model"],
        "labels_after_s": after_s,
        "stacks": [_told(row, _TOLD_OF_STACKS + _RESTORATION) for row in stacks],
        "tiffs": [str(path) for path in written],
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    console = Console(highlight=False)
    before = " (found before; --overwrite does it again)" if done.status == "skipped" else ""
    console.print(f"{verdict} by {about['backend']} in run {done.uid[:8]}{before}", markup=False)
    if len(stacks) > 1:
        console.print(_table(stacks))
    for row in stacks:
        if row.get("restoration_asked", "none") != "none":
            what = f"{row['labels']}: restoration {row['restoration']} ({row['restoration_why']})"
            console.print(what, markup=False, soft_wrap=True)
    if after_s is not None:
        since = "the last plane was taken" if is_live else "the last plane was read"
        console.print(f"labels {after_s:.2f} s after {since}", markup=False)
    console.print(f"derived run {done.derived_uid[:8]}: parfocal review {done.uid[:8]}", markup=False)
    for path in written:
        console.print(str(path), markup=False, soft_wrap=True)


def _stacks(derived: Any) -> list[dict[str, Any]]:
    """Return what the run says of each stack, in the order in which they were labelled."""
    if "stacks" not in derived:
        return []
    table = derived["stacks"].read()
    columns = {str(name): np.asarray(table[name]).tolist() for name in table}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _labels_after_s(stacks: list[dict[str, Any]]) -> float | None:
    """Return how long the slowest stack's labels took after its last plane; None where the run does not say."""
    told = [float(row.get("labels_after_s", math.nan)) for row in stacks]
    return round(max(known), 3) if (known := [one for one in told if math.isfinite(one)]) else None


def _told(row: dict[str, Any], names: tuple[str, ...] = _TOLD_OF_STACKS) -> dict[str, Any]:
    """Return what is told of a stack; a number that is none, as the mean doubt of no objects, is null in JSON."""
    told = {name: row[name] for name in names if name in row}
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in told.items()}


def _table(stacks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in _told(stacks[0]):
        table.add_column(
            name.removeprefix("n_").replace("_", " "), justify="left" if name == "labels" else "right"
        )
    for row in stacks:
        table.add_row(*(_cell(value) for value in _told(row).values()))
    return table


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _write_tiffs(catalog: Catalog, derived: Any, tiff: Path) -> list[Path]:
    volumes = {
        name: path for name, path in volumes_of(catalog.documents(derived)).items() if name[:7] == "labels_"
    }
    stem = tiff.name.split(".")[0]
    written: list[Path] = []
    for name, path in volumes.items():
        named = tiff if len(volumes) == 1 else tiff.with_name(f"{stem}_{name}{tiff.name[len(stem) :]}")
        write_ome_tiff(named, *read_ome_zarr(path), name=name)
        written.append(named)
    return written
