"""One volume from many sections: where each goes, and the writing of it, section by section."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import writing_ome_zarr
from parfocal.imaging import warp
from parfocal.slices.sections._planes import translation
from parfocal.slices.sections._source import SectionSource

SlotState = Literal["measured", "interpolated", "gap"]
_MAX_SIDE_PX = 1 << 17
_MAX_GAPS_A_SECTION = 50


@dataclass(frozen=True, eq=False)
class Slot:
    """A section's place in a volume, or the place where one is missing.

    Attributes
    ----------
    slice_id : str
        The section's id, never its index.
    state : {"measured", "interpolated", "gap"}
        What is there.
    z : int
        Its first plane in the volume.
    n_planes : int
        How many.
    matrices : ndarray of float64, shape (1, 3, 3) or (n_planes, 3, 3)
        From (y, x, 1) in the common frame to (y, x, 1) in the section, px; one for all planes or one each.
    note : str
        Why it is a gap, or was not placed in full.
    """

    slice_id: str
    state: SlotState
    z: int
    n_planes: int
    matrices: NDArray[np.float64]
    note: str = ""


@dataclass(frozen=True)
class BuiltVolume:
    """A volume that was written.

    Attributes
    ----------
    path : Path
        The OME-Zarr image.
    shape : tuple of int
        (z, y, x).
    origin_px : tuple of int
        Where its first row and column lie in the common frame (y, x), px.
    slots : tuple of Slot
        In order of z.
    """

    path: Path
    shape: tuple[int, int, int]
    origin_px: tuple[int, int]
    slots: tuple[Slot, ...]

    def table(self) -> list[dict[str, Any]]:
        """Return the slots as rows: id, state, z, planes, offset (y, x) in the volume, px, note."""
        rows: list[dict[str, Any]] = []
        for slot in self.slots:
            dy, dx = -slot.matrices[0, :2, 2] - np.array(self.origin_px)
            rows.append(
                {
                    "slice_id": slot.slice_id,
                    "state": slot.state,
                    "z": slot.z,
                    "n_planes": slot.n_planes,
                    "offset_y_px": float(dy),
                    "offset_x_px": float(dx),
                    "note": slot.note,
                }
            )
        return rows


def slots_by_id(
    depths: Mapping[str, int],
    matrices: Mapping[str, NDArray[np.float64]],
    *,
    gaps: Mapping[str, str],
    interpolated: Mapping[str, str],
    keep_gaps: bool = True,
) -> tuple[Slot, ...]:
    """Return where each section goes along z, by its id.

    With `keep_gaps`, sections that are missing between the first and the last keep their room, as deep as the
    median section, so that z is true: those named in `gaps`, and every number that no section has.

    Parameters
    ----------
    depths : mapping of slice id to int
        Planes of each section to place.
    matrices : mapping of slice id to ndarray
        See `Slot`.
    gaps : mapping of slice id to str
        Sections known to be missing or left out, and why.
    interpolated : mapping of slice id to str
        Which of those to place were made, and how.
    """
    if not depths:
        raise BadInputError("no section is left to place: every slice is excluded or missing")
    thick = int(np.median(list(depths.values())))
    slots: list[Slot] = []
    z = 0
    for slice_id in _with_gaps(tuple(depths), tuple(gaps)) if keep_gaps else tuple(depths):
        if slice_id in depths:
            state: SlotState = "interpolated" if slice_id in interpolated else "measured"
            note = interpolated.get(slice_id, "")
            slots.append(Slot(slice_id, state, z, depths[slice_id], matrices[slice_id], note))
        else:
            note = gaps.get(slice_id, "no such section")
            slots.append(Slot(slice_id, "gap", z, thick, np.eye(3)[None], note))
        z += slots[-1].n_planes
    return tuple(slots)


def build_volume(
    path: Path,
    sources: Mapping[str, SectionSource],
    slots: Sequence[Slot],
    voxel_size_um: tuple[float, float, float],
    *,
    sub_pixel: bool = False,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> BuiltVolume:
    """Write sections into one OME-Zarr volume, one section in memory at a time.

    Where a plane's matrix is a translation, it is copied: at whole pixels as it is, and, unless `sub_pixel`, at
    the nearest whole pixel. Every other plane is resampled (bilinear). What no section covers is 0.

    Parameters
    ----------
    sources : mapping of slice id to SectionSource
        Where each section that is placed comes from.
    slots : sequence of Slot
        See `slots_by_id`.
    voxel_size_um : tuple of float
        (z, y, x), um.
    sub_pixel : bool
        Resample for shifts between pixels.

    Raises
    ------
    BadInputError
        Sections differ in dtype, or the volume would be wider than 131,072 px: a shift is wrong then.
    """
    placed = [slot for slot in slots if slot.state != "gap"]
    shapes = {slot.slice_id: sources[slot.slice_id].shape(slot.slice_id) for slot in placed}
    origin, size = _extent(placed, shapes, sub_pixel)
    shape = (slots[-1].z + slots[-1].n_planes, *size)
    pixels = sources[placed[0].slice_id].volume(placed[0].slice_id)
    dtype = pixels.dtype
    told = {
        "slices": [{"id": s.slice_id, "state": s.state, "z": s.z, "planes": s.n_planes} for s in slots],
        "origin_px": list(origin),
        **(attributes or {}),
    }
    with writing_ome_zarr(
        path, shape, dtype, voxel_size_um, overwrite=overwrite, attributes={"parfocal": told}
    ) as writer:
        for slot in placed:
            if slot is not placed[0]:
                pixels = sources[slot.slice_id].volume(slot.slice_id)
            if pixels.dtype != dtype:
                raise BadInputError(
                    f"slice {slot.slice_id} is {pixels.dtype}, {placed[0].slice_id} is {dtype}; expected one type"
                )
            block = writer.chunk_planes
            z = 0
            while z < slot.n_planes:
                # to the end of a chunk: none is written twice
                n = min(block - (slot.z + z) % block, slot.n_planes - z)
                planes = np.zeros((n, *size), dtype)
                for k in range(n):
                    matrix = slot.matrices[min(z + k, len(slot.matrices) - 1)]
                    _lay(pixels[z + k], matrix @ translation(*origin), sub_pixel, planes[k])
                writer.write(slot.z + z, planes)
                z += n
            if progress is not None:
                progress(slot.slice_id)
    return BuiltVolume(path, shape, origin, tuple(slots))


def _lay(plane: NDArray[Any], matrix: NDArray[np.float64], sub_pixel: bool, out: NDArray[Any]) -> None:
    """Lay a plane into the canvas; `matrix` leads from the canvas to the plane."""
    dy, dx = float(-matrix[0, 2]), float(-matrix[1, 2])
    is_shift = bool(np.abs(matrix[:2, :2] - np.eye(2)).max() < 1e-12)
    is_whole = is_shift and abs(dy - round(dy)) < 1e-6 and abs(dx - round(dx)) < 1e-6
    if is_shift and (is_whole or not sub_pixel):
        y, x = math.floor(dy + 0.5), math.floor(dx + 0.5)
        y0, y1, x0, x1 = (
            max(0, y),
            min(out.shape[0], y + plane.shape[0]),
            max(0, x),
            min(out.shape[1], x + plane.shape[1]),
        )
        if y1 > y0 and x1 > x0:
            out[y0:y1, x0:x1] = plane[y0 - y : y1 - y, x0 - x : x1 - x]
        return
    moved = warp(plane, matrix, (out.shape[0], out.shape[1]))
    if out.dtype.kind in "ui":
        limits = np.iinfo(out.dtype)
        out[...] = np.clip(np.rint(moved), limits.min, limits.max).astype(out.dtype)
    else:
        out[...] = moved


def _extent(
    placed: Sequence[Slot], shapes: Mapping[str, tuple[int, int, int]], sub_pixel: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the first row and column of the common frame that any section covers, and the size (y, x)."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for slot in placed:
        _, height, width = shapes[slot.slice_id]
        corners = np.array(
            [[0, 0, height - 1, height - 1], [0, width - 1, 0, width - 1], [1, 1, 1, 1]], np.float64
        )
        for matrix in slot.matrices[:: max(1, len(slot.matrices) - 1)]:
            there = (np.linalg.inv(matrix) @ corners)[:2]
            low = np.minimum(low, there.min(axis=1))
            high = np.maximum(high, there.max(axis=1))
    if sub_pixel:
        first, last = np.floor(low + 1e-6), np.ceil(high - 1e-6)
    else:
        first, last = np.floor(low + 0.5), np.floor(high + 0.5)  # halves up, so that equal shifts round alike
    size = last - first + 1
    if not np.all(np.isfinite(size)) or size.max() > _MAX_SIDE_PX:
        raise BadInputError(f"the sections span {size[1]:.0f} x {size[0]:.0f} px (x, y): is a shift wrong by far?")
    return (int(first[0]), int(first[1])), (int(size[0]), int(size[1]))


def _with_gaps(ids: tuple[str, ...], gaps: tuple[str, ...]) -> tuple[str, ...]:
    """Return ids in order, with those of every number between the first and the last that is not there."""
    if not all(i.isdecimal() for i in ids):
        return ids
    known = {int(i): i for i in (*gaps, *ids) if i.isdecimal()}
    first, last = (f(int(i) for i in ids) for f in (min, max))
    if last - first + 1 - len(ids) > _MAX_GAPS_A_SECTION * len(ids):
        raise BadInputError(
            f"sections {first} to {last} with only {len(ids)} of them there: place them without gaps"
        )
    return tuple(known.get(n, f"{n:02d}") for n in range(first, last + 1))
