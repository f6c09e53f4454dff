"""A file of images as the volume whose nuclei are wanted: all of its channels, one place, one time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_ome_zarr

VoxelSize = tuple[float, float, float]


@dataclass(frozen=True)
class GivenVolume:
    """The volume that was asked for, in all its channels.

    Parameters
    ----------
    source : str
        The file.
    images : mapping of str to ndarray (z, y, x)
        Raw pixels by channel.
    nuclei : str
        The channel that shows nuclei.
    voxel_size_um : (float, float, float)
        z, y, x.
    warnings : tuple of str
        Of whoever read it.
    asked : mapping
        Axes, places and channel, by which `open_given` finds it again.
    """

    source: str
    images: Mapping[str, NDArray[np.generic]]
    nuclei: str
    voxel_size_um: VoxelSize
    warnings: tuple[str, ...]
    asked: Mapping[str, Any]


def open_given(
    file: str | Path,
    axes: str | None = None,
    at: Sequence[str] = (),
    channel: int = 0,
    voxel_size_um: VoxelSize | None = None,
) -> GivenVolume:
    """Return the volume in a file, as `parfocal segment` takes it.

    Parameters
    ----------
    file : str or path
        TIFF, ND2, HDF5 (`file.h5:dataset`), OME-Zarr, a folder of planes.
    axes : str, optional
        What its axes are, such as `ZYX`, where it does not say.
    at : sequence of str
        Which of several times and places: `t=0`, `p=2`.
    channel : int
        The one of nuclei.
    voxel_size_um : (float, float, float), optional
        z, y, x, where the file does not say.

    Raises
    ------
    BadInputError
        It cannot be read, or more has to be said; the message names the option of `parfocal segment`.
    """
    told, file = voxel_size_um, str(file)
    asked = {"axes": axes, "at": list(at), "channel": channel}
    folder = Path(file).expanduser()
    if (folder / "zarr.json").is_file() or (folder / ".zattrs").is_file():
        pixels, size_um = read_ome_zarr(folder)
        return GivenVolume(file, {"0": pixels}, "0", told or size_um, size_contradicted(told, size_um), asked)
    stack = open_stack(file, axes)
    # The first of one is what there is, whether or not the file counts it.
    where = {a: n for a, n in _places(at, stack.source).items() if n or a in stack.axes}
    several = [a for a in "TP" if stack.size(a) > 1 and a not in where]
    if several:
        raise BadInputError(
            f"{stack.source}: {stack.size(several[0])} along {several[0].lower()}; say which with "
            f"--at {several[0].lower()}=0"
        )
    if channel >= stack.size("C"):
        raise BadInputError(f"{stack.source}: no channel {channel}, there are {stack.size('C')}, from 0")
    found = stack.voxel_size_um
    if told is None and (None in found[1:] or (found[0] is None and stack.size("Z") > 1)):
        raise BadInputError(
            f"{stack.source}: voxel size (z, y, x) {found} um is not all known; say it with --voxel-size, "
            "such as `parfocal segment ... --voxel-size 2,0.5,0.5`"
        )
    size_um = told or (found[0] or 1.0, cast(float, found[1]), cast(float, found[2]))
    images: dict[str, NDArray[np.generic]] = {}
    for c in range(stack.size("C")):
        index = {**where, **({"C": c} if "C" in stack.axes else {})}
        planes = [
            stack.plane(**{**index, **({"Z": z} if "Z" in stack.axes else {})}) for z in range(stack.size("Z"))
        ]
        name = stack.channels[c] if c < len(stack.channels) else str(c)
        images[name if name not in images else f"{name}_{c}"] = np.stack(planes)
    known = found if stack.size("Z") > 1 else (None, *found[1:])
    warnings = (*stack.warnings, *size_contradicted(told, known))
    return GivenVolume(stack.source, images, list(images)[channel], size_um, warnings, asked)


def size_contradicted(told: VoxelSize | None, known: Sequence[float | None]) -> tuple[str, ...]:
    """Return what to say where a voxel size (z, y, x) that was told is not nearly that which the file says.

    Empty where the two agree within a quarter, or where one of them says nothing.
    """
    if told is None or all(size is None or 0.8 < one / size < 1.25 for one, size in zip(told, known)):
        return ()
    says, asked = (", ".join("?" if v is None else f"{v:g}" for v in sizes) for sizes in (known, told))
    return (f"--voxel-size is {asked} um (z, y, x), the file says {says}: the first is taken",)


def _places(at: Sequence[str], source: str) -> dict[str, int]:
    where: dict[str, int] = {}
    for text in at:
        match = re.fullmatch(r"([tpTP])=(\d+)", text.strip())
        if match is None:
            raise BadInputError(f"--at {text}: {source}: expected t or p and its index, such as t=0")
        where[match[1].upper()] = int(match[2])
    return where
