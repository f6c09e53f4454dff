"""What the review in napari opens: raw channels, and labels where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks import open_review
from parfocal.catalog import DataFolder, open_catalog
from parfocal.segmentation.corrections import CorrectionJournal, ReviewSession, open_segmented, pixels_hash
from parfocal.segmentation.volumes import open_given

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
        found = open_segmented(path, CorrectionJournal(data.corrections), user=user)
        given, about = found.given, {key: found.session.about[key] for key in ("source", "user")}
        return NucleiSource(
            path.name, given.images, given.nuclei, given.voxel_size_um, found.corrected, about, found.session
        )
    given = open_given(path, at=("t=0", "p=0"))
    about = {"source": pixels_hash(given.images[given.nuclei]), "user": user}
    corrected = path.parent / f"{path.name.split('.')[0]}_labels_corrected.ome.zarr"
    return NucleiSource(path.name, given.images, given.nuclei, given.voxel_size_um, corrected, about)


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
