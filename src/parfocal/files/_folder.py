"""A folder of single-plane images, flat or nested, as one stack."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import _facts
from parfocal.files._names import natural_key, place_of
from parfocal.files._png import open_png
from parfocal.files._stack import AxesUnknownError, Stack, VoxelSize, chosen_axes
from parfocal.files._tiff import open_tiff

_OPENERS = {".tif": open_tiff, ".tiff": open_tiff, ".png": open_png}
_ORDER = "TPCZ"


@dataclass(frozen=True)
class _Grid:
    """Which file holds which plane: `axes` before YX, their lengths, files in that order."""

    axes: str
    shape: tuple[int, ...]
    files: tuple[Path, ...]


def open_folder(folder: Path, axes: str | None) -> Stack:
    """Open a folder of planes as a `Stack`; see `open_stack`."""
    files = sorted(
        (
            p
            for p in folder.rglob("*")
            if p.suffix.lower() in _OPENERS and not p.name.startswith(".") and p.is_file()
        ),
        key=lambda path: natural_key(path.relative_to(folder)),
    )
    if not files:
        raise BadInputError(f"{folder}: no TIFF or PNG image in this folder")
    planes = {path: _OPENERS[path.suffix.lower()](path, None) for path in files}
    first = planes[files[0]]
    for path, plane in planes.items():
        if plane.ndim != 2:
            raise BadInputError(
                f"{path}: shape {plane.shape}; a folder is read as one plane a file, open this file by itself"
            )
        if plane.shape != first.shape or plane.dtype != first.dtype:
            raise BadInputError(
                f"{path}: a plane of {plane.shape} {plane.dtype}, but {files[0].name} is "
                f"{first.shape} {first.dtype}; all planes of a folder must be equal"
            )
    grid, warnings = _arranged(folder, files, axes, first.shape)
    stacks = [planes[path] for path in grid.files]
    z_um, step, z_warnings = _z_of(grid, stacks)
    _, name_warnings = _facts.merged(_facts.Facts(first.voxel_size_um), _facts.from_name(folder.name))
    voxel: VoxelSize = (step, first.voxel_size_um[1], first.voxel_size_um[2])

    def read_planes(indices: Sequence[tuple[int, ...]]) -> Iterator[NDArray[Any]]:
        for index in indices:
            which = int(np.ravel_multi_index(index, grid.shape)) if grid.shape else 0
            yield stacks[which].plane()

    return Stack(
        axes=grid.axes + "YX",
        shape=(*grid.shape, *first.shape),
        dtype=first.dtype,
        source=str(folder),
        read_planes=read_planes,
        voxel_size_um=voxel,
        z_um=z_um,
        xy_um=_xy_of(grid, stacks),
        na=first.na,
        wavelength_um=first.wavelength_um,
        warnings=(*warnings, *z_warnings, *name_warnings, *sorted({w for s in stacks for w in s.warnings})),
    )


def _arranged(
    folder: Path, files: Sequence[Path], axes: str | None, plane_shape: tuple[int, ...]
) -> tuple[_Grid, tuple[str, ...]]:
    """Lay the files out on the grid that their names tell, or along the one axis that was asked for."""
    if len(files) == 1 and (axes is None or len(axes.strip()) == 2):
        return _Grid("", (), tuple(files)), ()
    places = [place_of(path.relative_to(folder)) for path in files]
    values = {
        axis: sorted({place[axis] for place in places if axis in place}, key=lambda v: natural_key(str(v)))
        for axis in _ORDER
    }
    varying = [axis for axis in _ORDER if len(values[axis]) > 1]
    keys = [tuple(place.get(axis) for axis in varying) for place in places]
    told = bool(varying) and len(set(keys)) == len(files)
    if not told:
        shape = (len(files), *plane_shape)
        if axes is None:
            raise AxesUnknownError(str(folder), shape)
        used, _ = chosen_axes(str(folder), "?YX", shape, axes)
        return _Grid(used[0], (len(files),), tuple(files)), ()
    by_key = dict(zip(keys, files, strict=True))
    ordered: list[Path] = []
    for key in itertools.product(*(values[axis] for axis in varying)):
        if key not in by_key:
            where = ", ".join(f"{a} {'/'.join(map(str, v))}" for a, v in zip(varying, key, strict=True))
            raise BadInputError(
                f"{folder}: no plane for {where}; {len(files)} files, but their names tell a grid of "
                f"{' x '.join(str(len(values[axis])) for axis in varying)} ({''.join(varying)})"
            )
        ordered.append(by_key[key])
    shape = tuple(len(values[axis]) for axis in varying)
    used, warnings = chosen_axes(str(folder), "".join(varying) + "YX", (*shape, *plane_shape), axes)
    return _Grid(used[:-2], shape, tuple(ordered)), warnings


def _by_position(grid: _Grid, stacks: Sequence[Stack]) -> list[list[Stack]]:
    """Return the planes of the first time point and channel as `[p][z]`."""
    numbers = np.arange(len(stacks)).reshape(grid.shape)
    numbers = numbers[tuple(slice(None) if axis in "PZ" else 0 for axis in grid.axes)]
    left = [axis for axis in grid.axes if axis in "PZ"]
    if left == ["Z", "P"]:
        numbers = numbers.T
    elif left == ["P"]:
        numbers = numbers[:, np.newaxis]
    return [[stacks[number] for number in row] for row in np.atleast_2d(numbers)]


def _z_of(
    grid: _Grid, stacks: Sequence[Stack]
) -> tuple[tuple[tuple[float, ...], ...] | None, float | None, tuple[str, ...]]:
    """Return the recorded z `[p][z]`, the z step (median, um) and what to warn of."""
    rows: list[tuple[float, ...]] = []
    for planes in _by_position(grid, stacks):
        recorded = [plane.z_um for plane in planes]
        rows.append(tuple(z[0][0] for z in recorded if z is not None))
        if len(rows[-1]) < len(planes):
            return None, None, ()
    steps = np.abs(np.diff(np.array(rows), axis=1))
    if steps.size == 0:
        return tuple(rows), None, ()
    step = round(float(np.median(steps)), 6)
    if np.max(np.abs(steps - step)) > 0.1 * step:
        return tuple(rows), step or None, (f"z steps are uneven: {steps.min():g} to {steps.max():g} um",)
    return tuple(rows), step, ()


def _xy_of(grid: _Grid, stacks: Sequence[Stack]) -> tuple[tuple[float, float], ...] | None:
    recorded = [planes[0].xy_um for planes in _by_position(grid, stacks)]
    known = tuple(xy[0] for xy in recorded if xy is not None)
    return known if len(known) == len(recorded) else None
