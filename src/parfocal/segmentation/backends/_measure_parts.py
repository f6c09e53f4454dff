"""The table of objects of a volume larger than memory, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import Segmentation
from parfocal.segmentation.backends._measure import ObjectTable, measure_objects, solidity_of

Box = tuple[slice, slice, slice]


class Volume(Protocol):
    """What is read part by part: an array, or a `volumes.open_source`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """z, y, x."""
        ...

    def __getitem__(self, where: Box, /) -> NDArray[Any]:
        """Return a part."""
        ...


def measure_in_parts(
    labels: Volume,
    images: Mapping[str, Volume] | None,
    voxel_size_um: tuple[float, float, float],
    *,
    offset: float = 0.0,
    part_px: tuple[int, int, int] = (64, 512, 512),
) -> ObjectTable:
    """Measure every object of labels that need not fit into memory, as `measure_objects` does.

    Each object is measured whole, with the part in which its bounding box begins; what is read with a part reaches
    as far as its objects do.

    Parameters
    ----------
    labels : int32 (z, y, x)
        Linked: an id is one object.
    images : mapping of str to volume of the shape of the labels, optional
        Raw pixels by channel.
    voxel_size_um : (float, float, float)
        z, y, x.
    offset : float
        What the camera adds to each pixel.
    part_px : (int, int, int)
        Sides of a part.

    Raises
    ------
    BadInputError
        An image has another shape.
    """
    given = dict(images or {})
    for channel, image in given.items():
        if tuple(image.shape) != tuple(labels.shape):
            raise BadInputError(f"channel {channel}: image of shape {image.shape}, labels of {labels.shape}")
    ids, boxes = _bounding_boxes(labels, part_px)
    tables = [
        _measured(labels, given, voxel_size_um, offset, ids[here], boxes[here])
        for here in _by_part(boxes, part_px)
    ]
    if not tables:
        empty = Segmentation(np.zeros((1, 1, 1), np.int32), voxel_size_um, "")
        return measure_objects(empty, {name: np.zeros((1, 1, 1)) for name in given})
    return _joined(tables, np.argsort(ids[np.concatenate(list(_by_part(boxes, part_px)))], kind="stable"))


def _bounding_boxes(labels: Volume, part_px: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all ids, rising, and first and past-the-last voxel of each along z, y, x."""
    found: dict[int, NDArray[np.int64]] = {}
    for part in _parts(labels.shape, part_px):
        own = np.asarray(labels[part])
        ids, local = np.unique(own, return_inverse=True)
        local = local.reshape(own.shape)
        low, high = np.zeros((ids.size, 3), np.int64), np.zeros((ids.size, 3), np.int64)
        for axis, begins in enumerate(p.start for p in part):
            lines = np.moveaxis(local, axis, 0)
            is_there = np.zeros((lines.shape[0], ids.size), np.bool_)
            for k, line in enumerate(lines):
                is_there[k, line.ravel()] = True
            low[:, axis] = begins + is_there.argmax(axis=0)
            high[:, axis] = begins + len(lines) - is_there[::-1].argmax(axis=0)
        for row, one in enumerate(ids.tolist()):
            if one:
                box = np.concatenate([low[row], high[row]])
                before = found.get(one)
                if before is not None:
                    box = np.concatenate([np.minimum(before[:3], box[:3]), np.maximum(before[3:], box[3:])])
                found[one] = box
    ids = np.array(sorted(found), np.int64)
    return ids, np.array([found[int(one)] for one in ids], np.int64).reshape(-1, 6)


def _measured(
    labels: Volume,
    images: Mapping[str, Volume],
    voxel_size_um: tuple[float, float, float],
    offset: float,
    ids: NDArray[np.int64],
    boxes: NDArray[np.int64],
) -> ObjectTable:
    """Return the rows of some objects that lie together."""
    # A voxel further than they reach: what touches them counts.
    low = np.maximum(boxes[:, :3].min(axis=0) - 1, 0)
    high = np.minimum(boxes[:, 3:].max(axis=0) + 1, labels.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high))
    known, local = np.unique(np.concatenate([[0], np.asarray(labels[z, y, x]).ravel()]), return_inverse=True)
    own = local[1:].reshape([s.stop - s.start for s in (z, y, x)]).astype(np.int32)
    flat = labels.shape[0] == 1
    table = measure_objects(
        Segmentation(own, voxel_size_um, ""),
        {name: np.asarray(image[z, y, x]) for name, image in images.items()},
        offset=offset,
        origin_um=(low[0] * voxel_size_um[0], low[1] * voxel_size_um[1], low[2] * voxel_size_um[2]),
        solidity=False,
    )
    rows = np.searchsorted(known[table.ids], ids)
    local_boxes = np.zeros((known.size, 6), np.int64)
    local_boxes[table.ids[rows]] = boxes - np.concatenate([low, low])
    at_side = (boxes[:, :3] == 0) | (boxes[:, 3:] == labels.shape)
    return replace(
        _rows(table, rows),
        ids=ids,
        bounding_box=boxes,
        solidity=solidity_of(own, table.ids[rows], local_boxes),
        at_border=at_side[:, 1:].any(axis=1) if flat else at_side.any(axis=1),
    )


def _by_part(boxes: NDArray[np.int64], part_px: tuple[int, int, int]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of the objects that begin in one part, part by part."""
    if not len(boxes):
        return
    places = boxes[:, :3] // np.array(part_px)
    _, group = np.unique(places, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1)


def _parts(shape: tuple[int, ...], part_px: tuple[int, int, int]) -> Iterator[Box]:
    for z, y, x in product(*(range(0, n, step) for n, step in zip(shape, part_px))):
        ends = (min(a + step, n) for a, step, n in zip((z, y, x), part_px, shape))
        a, b, c = (slice(begin, end) for begin, end in zip((z, y, x), ends))
        yield a, b, c


def _rows(table: ObjectTable, rows: NDArray[np.int64]) -> ObjectTable:
    columns: dict[str, Any] = {}
    for one in fields(table):
        value = getattr(table, one.name)
        is_by_channel = isinstance(value, Mapping)
        columns[one.name] = {name: value[name][rows] for name in value} if is_by_channel else value[rows]
    return ObjectTable(**columns)


def _joined(tables: list[ObjectTable], order: NDArray[np.int64]) -> ObjectTable:
    columns: dict[str, Any] = {}
    for one in fields(ObjectTable):
        values: list[Any] = [getattr(table, one.name) for table in tables]
        if isinstance(values[0], Mapping):
            columns[one.name] = {name: np.concatenate([v[name] for v in values])[order] for name in values[0]}
        else:
            columns[one.name] = np.concatenate(values)[order]
    return ObjectTable(**columns)
