"""The folder that `parfocal segment` makes, opened for review: the same in a terminal, in napari and in Python."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.segmentation.corrections._journal import CorrectionJournal
from parfocal.segmentation.corrections._session import ReviewSession, known_doubts, pixels_hash
from parfocal.segmentation.uncertainty import ObjectDoubts
from parfocal.segmentation.volumes import GivenVolume, open_given


@dataclass(frozen=True)
class SegmentedFolder:
    """What `parfocal segment` left, under review.

    Parameters
    ----------
    session : ReviewSession
        Of its labels.
    given : GivenVolume
        The raw volume, in all its channels.
    corrected : Path
        Where corrected labels are written.
    """

    session: ReviewSession
    given: GivenVolume
    corrected: Path


def open_segmented(
    folder: Path, journal: CorrectionJournal, image: str | None = None, user: str = ""
) -> SegmentedFolder:
    """Open the folder that `parfocal segment` made, for review.

    Parameters
    ----------
    folder : Path
    journal : CorrectionJournal
        Where corrections go, and where those that were made before are.
    image : str, optional
        The raw file, where it was moved.
    user : str
        Who reviews.

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
    where, channel = asked.get("at") or [], int(asked.get("channel") or 0)
    given = open_given(source, asked.get("axes"), where, channel, voxel_size_um)
    raw = given.images[given.nuclei]
    if raw.shape != labels.shape:
        raise BadInputError(f"{source}: is {raw.shape}, the labels in {folder} are {labels.shape}; another file")
    session = ReviewSession(
        labels.astype(np.int32),
        raw,
        voxel_size_um,
        journal,
        source=pixels_hash(raw),
        model_hash=cast("str | None", about.get("model_hash")),
        doubts=_doubts(folder / "objects.csv"),
        user=user,
    )
    return SegmentedFolder(session, given, folder / "labels_corrected.ome.zarr")


def _summary(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        _ = about["source"]
        return cast("dict[str, Any]", about)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{folder}: no folder of `parfocal segment` (its summary.json: {error})") from error


def _doubts(path: Path) -> ObjectDoubts | None:
    """Return the doubts in a table of objects; None where it has none, so that shapes and sizes tell."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return known_doubts(
            np.array([int(row["id"]) for row in rows], np.int32),
            np.array([float(row["doubt"] or "nan") for row in rows], np.float32),
            [row["reasons"] for row in rows],
            np.array([[float(row[axis]) for axis in ("z_um", "y_um", "x_um")] for row in rows]).reshape(-1, 3),
        )
    except (OSError, ValueError, KeyError):
        return None
