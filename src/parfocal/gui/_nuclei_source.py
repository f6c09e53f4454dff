"""What the review in napari opens: raw channels, and labels where there are any."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks import open_review
from parfocal.catalog import DataFolder, open_catalog
from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_ome_zarr
from parfocal.segmentation.corrections import CorrectionJournal, ReviewSession, known_doubts, pixels_hash
from parfocal.segmentation.uncertainty import ObjectDoubts

Voxel = tuple[float, float, float]


@dataclass(frozen=True)
class NucleiSource:
    """A volume to look at.

    Parameters
    ----------
    name : str
        For the title.
    images : mapping of str to ndarray (z, y, x)
        Raw pixels by channel.
    nuclei : str
        The channel that shows nuclei.
    voxel_size_um : (float, float, float)
        z, y, x.
    corrected : Path
        Where corrected labels are written.
    about : mapping
        What the journal is told of each correction: source, user ...
    session : ReviewSession, optional
        Of the labels, where there are any.
    """

    name: str
    images: Mapping[str, NDArray[np.generic]]
    nuclei: str
    voxel_size_um: Voxel
    corrected: Path
    about: Mapping[str, Any]
    session: ReviewSession | None = None


def open_source(path: Path, data: DataFolder, user: str = "") -> NucleiSource:
    """Open an image file, or the folder that `parfocal segment` made.

    Raises
    ------
    BadInputError
        It cannot be read, says no voxel size, or its raw pixels are gone.
    """
    path = path.expanduser()
    if (path / "summary.json").is_file():
        return _segmented(path, data, user)
    images, nuclei, voxel_size_um = _read(path, None, {}, 0, None)
    about = {"source": pixels_hash(images[nuclei]), "user": user}
    corrected = path.parent / f"{path.name.split('.')[0]}_labels_corrected.ome.zarr"
    return NucleiSource(path.name, images, nuclei, voxel_size_um, corrected, about)


def open_run(data: DataFolder, run: str, labels: str = "", user: str = "") -> NucleiSource:
    """Open a run whose nuclei were found; see `parfocal.callbacks.open_review`.

    Raises
    ------
    BadInputError
        They were not, or raw planes are missing.
    """
    with open_catalog(data) as catalog:
        session, corrected = open_review(catalog, run, labels, user)
    about = {key: session.about[key] for key in ("source", "data_key", "stream", "user")}
    name = str(about["data_key"]) or "image"
    images = {name: session.image}
    title = f"run {str(about['source'])[:8]}, {corrected.name.split('_corrected')[0]}"
    return NucleiSource(title, images, name, session.voxel_size_um, corrected, about, session)


def _segmented(folder: Path, data: DataFolder, user: str) -> NucleiSource:
    try:
        said: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        raw, asked = Path(str(said["source"])), cast("dict[str, Any]", said.get("asked") or {})
        where = {text[0].upper(): int(text[2:]) for text in asked.get("at") or []}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{folder}: no folder of `parfocal segment` (its summary.json: {error})") from error
    labels, voxel_size_um = read_ome_zarr(folder / "labels.ome.zarr")
    images, nuclei, _ = _read(raw, asked.get("axes"), where, int(asked.get("channel") or 0), voxel_size_um)
    if images[nuclei].shape != labels.shape:
        raise BadInputError(f"{raw}: is {images[nuclei].shape}, the labels in {folder} are {labels.shape}")
    about = {"source": pixels_hash(images[nuclei]), "user": user}
    session = ReviewSession(
        labels.astype(np.int32),
        images[nuclei],
        voxel_size_um,
        CorrectionJournal(data.corrections),
        model_hash=cast("str | None", said.get("model_hash")),
        doubts=_doubts(folder / "objects.csv"),
        **about,
    )
    corrected = folder / "labels_corrected.ome.zarr"
    return NucleiSource(folder.name, images, nuclei, voxel_size_um, corrected, about, session)


def _doubts(path: Path) -> ObjectDoubts | None:
    """Return the doubts in a table of objects; None where it has none: then shapes and sizes tell."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return known_doubts(
            np.array([int(row["id"]) for row in rows], np.int32),
            np.array([float(row["doubt"]) for row in rows], np.float32),
            [row["reasons"] for row in rows],
            np.array([[float(row[axis]) for axis in ("z_um", "y_um", "x_um")] for row in rows]).reshape(-1, 3),
        )
    except (OSError, ValueError, KeyError):
        return None


def _read(
    path: Path, axes: str | None, where: Mapping[str, int], channel: int, voxel_size_um: Voxel | None
) -> tuple[dict[str, NDArray[np.generic]], str, Voxel]:
    """Return the channels of a volume, the name of that of nuclei, and the size of a voxel."""
    if (path / "zarr.json").is_file() or (path / ".zattrs").is_file():
        pixels, found_um = read_ome_zarr(path)
        return {"image": pixels}, "image", voxel_size_um or found_um
    stack = open_stack(path, axes)
    found = voxel_size_um or stack.voxel_size_um
    if None in found[1:] or (found[0] is None and stack.size("Z") > 1):
        raise BadInputError(
            f"{path}: voxel size (z, y, x) {found} um is not all known; "
            "`parfocal segment --voxel-size` makes a folder that says it, and that can be opened"
        )
    images: dict[str, NDArray[np.generic]] = {}
    for c in range(stack.size("C")):
        at = {**where, **({"C": c} if "C" in stack.axes else {})}
        at |= {axis: 0 for axis in "TP" if axis in stack.axes and axis not in at}
        depth = range(stack.size("Z"))
        planes = [stack.plane(**{**at, **({"Z": z} if "Z" in stack.axes else {})}) for z in depth]
        name = stack.channels[c] if c < len(stack.channels) else f"channel {c}"
        images[name if name not in images else f"{name} {c}"] = np.stack(planes)
    size_um: Voxel = (float(found[0] or 1.0), float(cast(float, found[1])), float(cast(float, found[2])))
    return images, list(images)[channel], size_um
