"""Serial sections in a folder, one volume a file; or in one file, one section a plane."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import Stack, natural_key, open_ome_zarr, open_stack
from parfocal.slices.sections._source import SectionSource

_NAME = re.compile(r".*z(?P<number>\d+).*?(?:\.ome)?(?P<kind>\.zarr|\.tiff?)$", re.IGNORECASE)


def slice_id_of(number: int) -> str:
    """Return the id of a section number: two digits at least ("03", "117")."""
    return f"{number:02d}"


@dataclass(frozen=True, eq=False)
class SectionFolder:
    """Sections of a folder: `*z<digits>*.ome.zarr`, or TIFF volumes named alike; opened when asked for.

    The last `z<digits>` of a name is the section's number. The first section is opened once to learn the voxel
    size; every other is opened when its shape or pixels are asked for.

    Parameters
    ----------
    folder : str or path
        Where the sections are.
    voxel_size_um : tuple of float, optional
        (z, y, x), um; overrules the files. Needed where they do not say and units matter.

    Raises
    ------
    BadInputError
        There is no such folder, it holds no section, or two files have one number.
    """

    folder: Path
    files: dict[str, Path] = field(repr=False)
    voxel_size_um: tuple[float, float, float]
    _shapes: dict[str, tuple[int, int, int]] = field(repr=False, default_factory=dict[str, tuple[int, int, int]])

    def __init__(
        self, folder: str | os.PathLike[str], voxel_size_um: tuple[float, float, float] | None = None
    ) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise BadInputError(f"{root}: no such folder, expected sections named *z<digits>*.ome.zarr")
        object.__setattr__(self, "folder", root)
        object.__setattr__(self, "files", _sections_in(root))
        object.__setattr__(self, "_shapes", {})
        told = voxel_size_um or _voxel_size(next(iter(self.files.values())))
        object.__setattr__(self, "voxel_size_um", told)

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Ids in the order of their numbers."""
        return tuple(self.files)

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape (z, y, x) of a section, from its header."""
        if slice_id not in self._shapes:
            path = self._path(slice_id)
            self._shapes[slice_id] = open_ome_zarr(path).shape if path.is_dir() else _volume_shape(_tiff(path))
        return self._shapes[slice_id]

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Read a section's pixels `[z, y, x]`."""
        path = self._path(slice_id)
        if path.is_dir():
            return open_ome_zarr(path).read()
        stack = _tiff(path)
        return stack.read().reshape(_volume_shape(stack))

    def _path(self, slice_id: str) -> Path:
        if slice_id not in self.files:
            raise BadInputError(f"{self.folder}: no section {slice_id}; there are {_some(self.files)}")
        return self.files[slice_id]


@dataclass(frozen=True, eq=False)
class SectionPlanes:
    """Sections that are the planes of one stack along z: id "00" is its first plane."""

    stack: Stack
    voxel_size_um: tuple[float, float, float]

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Ids in the order of the planes."""
        return tuple(slice_id_of(k) for k in range(self.stack.size("Z")))

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape (1, y, x) of a section."""
        self._plane(slice_id)
        return 1, self.stack.size("Y"), self.stack.size("X")

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Read a section's pixels `[1, y, x]`."""
        return self.stack.plane(z=self._plane(slice_id))[np.newaxis]

    def _plane(self, slice_id: str) -> int:
        if slice_id not in self.slice_ids:
            raise BadInputError(f"{self.stack.source}: no section {slice_id}; there are {_some(self.slice_ids)}")
        return int(slice_id)


@dataclass(frozen=True, eq=False)
class ChosenSections:
    """Some of a source's sections, in its order."""

    source: SectionSource
    slice_ids: tuple[str, ...]

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """Voxel size of the source."""
        return self.source.voxel_size_um

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape of a section."""
        return self.source.shape(slice_id)

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Pixels of a section."""
        return self.source.volume(slice_id)


def open_sections(
    path: str | os.PathLike[str], voxel_size_um: tuple[float, float, float] | None = None
) -> SectionSource:
    """Open a folder of sections (`SectionFolder`), or a z-stack file as sections one plane thick each.

    Raises
    ------
    BadInputError
        There is nothing there, or it holds no sections.
    """
    where = Path(path)
    if not where.exists():
        raise BadInputError(f"{where}: no such file or folder, expected sections named *z<digits>*.ome.zarr")
    if where.is_dir():
        return SectionFolder(where, voxel_size_um)
    stack = open_stack(where)
    if any(stack.size(axis) > 1 for axis in "TPC"):
        raise BadInputError(f"{where}: axes {stack.axes}, expected one z-stack of sections")
    return SectionPlanes(stack, voxel_size_um or _known(stack))


def _sections_in(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: natural_key(p.name)):
        match = _NAME.match(path.name)
        if match is None or path.name.startswith(".") or path.is_dir() != (match["kind"].lower() == ".zarr"):
            continue
        slice_id = slice_id_of(int(match["number"]))
        if slice_id in found:
            raise BadInputError(f"{folder}: {found[slice_id].name} and {path.name} are both section {slice_id}")
        found[slice_id] = path
    if not found:
        raise BadInputError(f"{folder}: no section here, expected names such as slice_z03.ome.zarr")
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def _tiff(path: Path) -> Stack:
    """Open one section; a file that does not name its axes is taken as z, y, x."""
    stack = open_stack(path) if _names_axes(path) else open_stack(path, "ZYX")
    if any(stack.size(axis) > 1 for axis in "TPC"):
        raise BadInputError(f"{path}: axes {stack.axes}, expected one volume z, y, x")
    return stack


def _names_axes(path: Path) -> bool:
    from parfocal.files import AxesUnknownError

    try:
        open_stack(path)
    except AxesUnknownError:
        return False
    return True


def _volume_shape(stack: Stack) -> tuple[int, int, int]:
    return stack.size("Z"), stack.size("Y"), stack.size("X")


def _voxel_size(path: Path) -> tuple[float, float, float]:
    return open_ome_zarr(path).voxel_size_um if path.is_dir() else _known(_tiff(path))


def _known(stack: Stack) -> tuple[float, float, float]:
    z, y, x = (1.0 if v is None else v for v in stack.voxel_size_um)
    return z, y, x


def _some(ids: Iterable[Any]) -> str:
    names = [str(i) for i in ids]
    return (
        ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:5])} ... {names[-1]} ({len(names)} in all)"
    )
