"""What the review in napari opens: raw channels, and labels where there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_ome_zarr

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
    labels : int32[z, y, x], optional
        What was found in it.
    model_hash : str, optional
        Of the model that drew the labels.
    """

    name: str
    images: Mapping[str, NDArray[np.generic]]
    nuclei: str
    voxel_size_um: Voxel
    corrected: Path
    labels: NDArray[np.int32] | None = None
    model_hash: str | None = None

    @property
    def image(self) -> NDArray[np.generic]:
        """The pixels of the nuclei."""
        return self.images[self.nuclei]


def open_source(path: Path) -> NucleiSource:
    """Open an image file, or the folder that `parfocal segment` made.

    Raises
    ------
    BadInputError
        It cannot be read, says no voxel size, or its raw pixels are gone.
    """
    path = path.expanduser()
    if (path / "summary.json").is_file():
        return _segmented(path)
    if (path / "zarr.json").is_file() or (path / ".zattrs").is_file():
        pixels, voxel_size_um = read_ome_zarr(path)
        return NucleiSource(str(path), {"image": pixels}, "image", voxel_size_um, _beside(path))
    return _from_stack(path, None, {}, 0, None)


def corrected_path(data: DataFolder, source: str, labels_hash: str) -> Path:
    """Return where corrected labels of a source go that has no folder of its own."""
    return data.root / "corrections" / "labels" / f"{source[:16]}-{labels_hash[:8]}.ome.zarr"


def _segmented(folder: Path) -> NucleiSource:
    try:
        about: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        raw, asked = Path(str(about["source"])), cast("dict[str, Any]", about.get("asked") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{folder}: no folder of `parfocal segment` (its summary.json: {error})") from error
    labels, voxel_size_um = read_ome_zarr(folder / "labels.ome.zarr")
    if (raw / "zarr.json").is_file() or (raw / ".zattrs").is_file():
        images, nuclei = {"image": read_ome_zarr(raw)[0]}, "image"
    else:
        where = {text[0].upper(): int(text[2:]) for text in asked.get("at") or []}
        opened = _from_stack(raw, asked.get("axes"), where, int(asked.get("channel") or 0), voxel_size_um)
        images, nuclei = opened.images, opened.nuclei
    if images[nuclei].shape != labels.shape:
        raise BadInputError(f"{raw}: is {images[nuclei].shape}, the labels in {folder} are {labels.shape}")
    corrected = folder / "labels_corrected.ome.zarr"
    found = cast("str | None", about.get("model_hash"))
    return NucleiSource(folder.name, images, nuclei, voxel_size_um, corrected, labels.astype(np.int32), found)


def _from_stack(
    path: Path, axes: str | None, where: Mapping[str, int], channel: int, voxel_size_um: Voxel | None
) -> NucleiSource:
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
    return NucleiSource(path.name, images, list(images)[channel], size_um, _beside(path))


def _beside(path: Path) -> Path:
    return path.parent / f"{path.name.split('.')[0]}_labels_corrected.ome.zarr"
