"""The edits that a person makes with one click: accept, split, merge, delete, add, redraw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.segmentation.corrections._kinds import Kind, Labels

Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis, slowest first."""


_SIDE_BY_SIDE_PX = 2
"""Pieces are side by side over a gap of twice as much at most: a plane that was dropped lies between halves."""

_LEAST_PART = 0.1
"""A part of a split with less of an equal share is a crumb."""


@dataclass(frozen=True)
class Edit:
    """What one correction does to labels, within a box; made by the functions beside it, applied by `apply_edit`.

    Parameters
    ----------
    kind : Kind
        What it does.
    box : sequence of (start, stop)
        Where, one pair an axis.
    before, after : int32[...]
        The labels in the box.
    ids_before, ids_after : tuple of int
        The objects that it takes and gives.
    """

    kind: Kind
    box: Box
    before: Labels
    after: Labels
    ids_before: tuple[int, ...]
    ids_after: tuple[int, ...]


def box_slices(box: Box) -> tuple[slice, ...]:
    """Return a box as slices."""
    return tuple(slice(start, stop) for start, stop in box)


def apply_edit(labels: Labels, edit: Edit) -> None:
    """Put an edit into `labels`, in place.

    Raises
    ------
    BadInputError
        The labels in its box are not those that it was made from.
    """
    _exchange(labels, edit, edit.before, edit.after)


def undo_edit(labels: Labels, edit: Edit) -> None:
    """Take an edit back, in place; refused where the labels have changed since."""
    _exchange(labels, edit, edit.after, edit.before)


def accept(labels: Labels, object_id: int) -> Edit:
    """Say that an object is right as it is."""
    box = box_of(labels, (object_id,))
    crop = labels[box_slices(box)].copy()
    return Edit(Kind.ACCEPT, box, crop, crop.copy(), (object_id,), (object_id,))


def delete(labels: Labels, object_id: int) -> Edit:
    """Take an object away."""
    box = box_of(labels, (object_id,))
    before = labels[box_slices(box)].copy()
    after = np.where(before == object_id, 0, before).astype(np.int32)
    return Edit(Kind.DELETE, box, before, after, (object_id,), ())


def merge(labels: Labels, object_ids: Sequence[int]) -> Edit:
    """Make one object of two or more; it keeps the smallest id."""
    ids = tuple(sorted(set(object_ids)))
    if len(ids) < 2:
        raise BadInputError(f"merge of object {', '.join(map(str, ids)) or 'none'}: expected two or more")
    box = box_of(labels, ids)
    before = labels[box_slices(box)].copy()
    after = np.where(np.isin(before, ids), ids[0], before).astype(np.int32)
    return Edit(Kind.MERGE, box, before, after, ids, ids[:1])


def lie_apart(mask: NDArray[np.bool_]) -> bool:
    """Return whether what is marked lies in pieces with more than four voxels between them."""
    reach = np.ones((2 * _SIDE_BY_SIDE_PX + 1,) * mask.ndim, bool)
    near = np.asarray(ndimage.binary_dilation(np.pad(mask, _SIDE_BY_SIDE_PX), reach))
    labelled: Any = ndimage.label(near)
    return labelled[1] > 1


def split(
    labels: Labels,
    object_id: int,
    seeds: Sequence[Sequence[float]] | None = None,
    n_parts: int = 2,
    voxel_size_um: Sequence[float] | None = None,
    next_id: int | None = None,
) -> Edit:
    """Split an object at its necks: watershed of its distance map, one basin a seed.

    Where no seeds are told and there is no neck, so that a part would be a crumb, each voxel goes to the nearest
    of the centres.

    Parameters
    ----------
    labels : int32[...]
        Labels.
    object_id : int
        The object; its largest part keeps the id.
    seeds : sequence of points, optional
        A voxel of each part, in the array's axes. Without them, centres of `n_parts` k-means clusters.
    n_parts : int
        How many parts, where no seeds are given.
    voxel_size_um : sequence of float, optional
        Size of a voxel along each axis; 1 each where not told.
    next_id : int, optional
        First new id; one above the largest otherwise.

    Raises
    ------
    BadInputError
        There is no such object, a seed lies outside it, or it cannot be split into so many parts.
    """
    from skimage.segmentation import watershed  # slow to import, and only needed here

    box = box_of(labels, (object_id,))
    before = labels[box_slices(box)].copy()
    mask = before == object_id
    spacing = np.asarray(voxel_size_um or (1.0,) * labels.ndim, dtype=np.float64)
    markers = _markers(mask, object_id, box, seeds, n_parts, spacing)
    distance = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing))
    inner = tuple(slice(1, -1) for _ in range(mask.ndim))
    parts: NDArray[Any] = np.asarray(watershed(-distance[inner], markers, mask=mask))
    sizes = np.bincount(parts[mask], minlength=int(markers.max()) + 1)[1:]
    if seeds is None and sizes.min() < _LEAST_PART * sizes.sum() / sizes.size:
        centres, voxels = np.argwhere(markers) * spacing, np.argwhere(mask)
        parts[mask] = markers[markers > 0][KDTree(centres).query(voxels * spacing)[1]]
        sizes = np.bincount(parts[mask], minlength=int(markers.max()) + 1)[1:]
    if np.count_nonzero(sizes) < markers.max():
        raise BadInputError(f"object {object_id}: cannot be split into {int(markers.max())} parts")
    first_new = int(labels.max()) + 1 if next_id is None else next_id
    largest = int(np.argmax(sizes))
    others = [part for part in range(sizes.size) if part != largest]
    id_of = np.zeros(sizes.size + 1, dtype=np.int32)
    id_of[largest + 1] = object_id
    for offset, part in enumerate(others):
        id_of[part + 1] = first_new + offset
    after = np.where(mask, id_of[parts], before).astype(np.int32)
    ids = (object_id, *(first_new + offset for offset in range(len(others))))
    return Edit(Kind.SPLIT, box, before, after, (object_id,), ids)


def add(labels: Labels, mask: NDArray[np.bool_], next_id: int | None = None) -> Edit:
    """Add an object where `mask` says, on background alone: no other object loses a voxel.

    Raises
    ------
    BadInputError
        The mask has another shape, or no background under it.
    """
    _same_shape(labels, mask)
    free = mask & (labels == 0)
    if not free.any():
        raise BadInputError("add: the new object covers no background")
    new_id = int(labels.max()) + 1 if next_id is None else next_id
    box = _box_of_mask(free)
    before = labels[box_slices(box)].copy()
    after = np.where(free[box_slices(box)], new_id, before).astype(np.int32)
    return Edit(Kind.ADD, box, before, after, (), (new_id,))


def redraw(labels: Labels, object_id: int, mask: NDArray[np.bool_]) -> Edit:
    """Give an object the shape of `mask`; what it takes from others, they lose.

    Raises
    ------
    BadInputError
        There is no such object, the mask has another shape, or it is empty (then `delete` it).
    """
    _same_shape(labels, mask)
    if not mask.any():
        raise BadInputError(f"object {object_id}: redrawn as nothing; delete it instead")
    box = _box_of_mask(mask | _there(labels, object_id))
    where = box_slices(box)
    before = labels[where].copy()
    after = np.where(before == object_id, 0, before).astype(np.int32)
    after[mask[where]] = object_id
    others = {int(value) for value in np.unique(before[before != after])} - {0, object_id}
    ids = (object_id, *sorted(others))
    return Edit(Kind.MODIFY, box, before, after, ids, tuple(i for i in ids if (after == i).any()))


def box_of(labels: Labels, object_ids: Sequence[int]) -> Box:
    """Return the smallest box with all of these objects.

    Raises
    ------
    BadInputError
        One of them is not there.
    """
    mask = np.zeros(labels.shape, dtype=bool)
    for object_id in object_ids:
        mask |= _there(labels, object_id)
    return _box_of_mask(mask)


def _there(labels: Labels, object_id: int) -> NDArray[np.bool_]:
    mask = labels == object_id
    if object_id < 1 or not mask.any():
        raise BadInputError(f"object {object_id}: there is none with this id in the labels")
    return mask


def _same_shape(labels: Labels, mask: NDArray[np.bool_]) -> None:
    if mask.shape != labels.shape:
        raise BadInputError(f"mask of shape {mask.shape}: expected that of the labels, {labels.shape}")


def _box_of_mask(mask: NDArray[np.bool_]) -> Box:
    pairs: list[tuple[int, int]] = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        pairs.append((int(along[0]), int(along[-1]) + 1))
    return tuple(pairs)


def _markers(
    mask: NDArray[np.bool_],
    object_id: int,
    box: Box,
    seeds: Sequence[Sequence[float]] | None,
    n_parts: int,
    spacing: NDArray[np.float64],
) -> NDArray[np.int32]:
    markers = np.zeros(mask.shape, dtype=np.int32)
    voxels = np.argwhere(mask)
    if seeds is None:
        if not 2 <= n_parts <= len(voxels):
            raise BadInputError(f"object {object_id}: n_parts is {n_parts}, expected 2 to {len(voxels)}")
        start = _far_apart(voxels * spacing, n_parts)
        centres = np.asarray(kmeans2(voxels * spacing, start, minit="matrix")[0])
        for number, centre in enumerate(centres, start=1):
            nearest = voxels[np.argmin(((voxels * spacing - centre) ** 2).sum(axis=1))]
            markers[tuple(nearest)] = number
    else:
        for number, seed in enumerate(seeds, start=1):
            place = tuple(round(float(at)) - start for at, (start, _) in zip(seed, box, strict=True))
            inside = all(0 <= at < size for at, size in zip(place, mask.shape, strict=True))
            if not inside or not mask[place]:
                raise BadInputError(f"object {object_id}: seed {tuple(seed)} lies outside it")
            markers[place] = number
    if np.count_nonzero(markers) < max(2, markers.max()):
        raise BadInputError(f"object {object_id}: two seeds or more, in different voxels, were expected")
    return markers


def _far_apart(points_um: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return `n` points far from each other, the same for the same object."""
    first = points_um[np.argmax(((points_um - points_um.mean(axis=0)) ** 2).sum(axis=1))]
    chosen = [first]
    nearest = ((points_um - first) ** 2).sum(axis=1)
    while len(chosen) < n:
        chosen.append(points_um[np.argmax(nearest)])
        nearest = np.minimum(nearest, ((points_um - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)


def _exchange(labels: Labels, edit: Edit, old: Labels, new: Labels) -> None:
    where = box_slices(edit.box)
    if labels[where].shape != old.shape or not np.array_equal(labels[where], old):
        raise BadInputError(f"{edit.kind} of object {edit.ids_before}: the labels there have changed since")
    labels[where] = new
