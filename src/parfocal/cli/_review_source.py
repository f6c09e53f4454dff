"""What `parfocal review` opens: the folder that `parfocal segment` made, or a run that was segmented."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from parfocal.catalog import DataFolder
from parfocal.cli._segment import open_given
from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.segmentation.corrections import CorrectionJournal, ReviewSession, known_doubts, pixels_hash


@dataclass(frozen=True)
class Opened:
    """A session, and where its labels go."""

    session: ReviewSession
    corrected: Path
    name: str


def open_folder(folder: Path, data: DataFolder, image: str | None, user: str) -> Opened:
    """Open the folder that `parfocal segment` made.

    Raises
    ------
    BadInputError
        It is none, its raw file is gone, or has other pixels.
    """
    about = _summary(folder)
    labels, voxel_size_um = read_ome_zarr(folder / "labels.ome.zarr")
    asked: dict[str, Any] = about.get("asked") or {}
    source = image or str(about["source"])
    if not Path(source.split(":")[0]).exists():
        raise BadInputError(f"{folder}: its raw file {source} is not there; say where with --image")
    told = ",".join(f"{size:.9g}" for size in voxel_size_um)
    given = open_given(source, asked.get("axes"), asked.get("at") or [], int(asked.get("channel") or 0), told)
    raw = given.images[given.nuclei]
    if raw.shape != labels.shape:
        raise BadInputError(f"{source}: is {raw.shape}, the labels in {folder} are {labels.shape}; another file")
    session = ReviewSession(
        labels.astype(np.int32),
        raw,
        voxel_size_um,
        CorrectionJournal(data.corrections),
        source=pixels_hash(raw),
        model_hash=cast("str | None", about.get("model_hash")),
        doubts=_doubts(folder / "objects.csv"),
        user=user,
    )
    return Opened(session, folder / "labels_corrected.ome.zarr", str(folder))


def _summary(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        _ = about["source"]
        return cast("dict[str, Any]", about)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{folder}: no folder of `parfocal segment` (its summary.json: {error})") from error


def _doubts(path: Path) -> Any:
    """Return the doubts in a table of objects; None where it has none, so that shapes and sizes tell."""
    try:
        table: Any = pd.read_csv(path, keep_default_na=False)
    except (OSError, ValueError):
        return None
    if not {"id", "doubt", "reasons", "z_um", "y_um", "x_um"} <= set(table.columns):
        return None
    return known_doubts(
        table["id"].to_numpy(np.int32),
        pd.to_numeric(table["doubt"], errors="coerce").to_numpy(np.float32),
        [str(text) for text in table["reasons"]],
        table[["z_um", "y_um", "x_um"]].to_numpy(np.float64),
    )


def open_run(run: str, data: DataFolder, labels: str, user: str) -> Opened:
    """Open a run whose nuclei were segmented."""
    from parfocal.callbacks import open_review
    from parfocal.catalog import open_catalog

    with open_catalog(data.root) as catalog:
        session, corrected = open_review(catalog, run, labels, user)
    return Opened(session, corrected, run)
