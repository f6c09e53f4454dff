"""Which labels of two arrays overlap: the contingency table, kept sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.linking._overlaps_kernel import count_overlaps

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """The pairs of labels that share elements. Label 0 is nothing.

    Parameters
    ----------
    ids_a, ids_b : int64[n_a], int64[n_b]
        The labels that occur, ascending, without 0.
    area_a, area_b : int64[n_a], int64[n_b]
        How many elements each has.
    index_a, index_b : int64[n_pairs]
        The pairs, as places in `ids_a` and `ids_b`, by `index_a`, then `index_b`.
    shared : int64[n_pairs]
        How many elements they share.
    n_elements : int
        Of either array.
    """

    ids_a: Ints
    ids_b: Ints
    area_a: Ints
    area_b: Ints
    index_a: Ints
    index_b: Ints
    shared: Ints
    n_elements: int

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair."""
        return self.shared / (self.area_a[self.index_a] + self.area_b[self.index_b] - self.shared)

    @property
    def containment(self) -> NDArray[np.float64]:
        """Intersection over the smaller of the two."""
        return self.shared / np.minimum(self.area_a[self.index_a], self.area_b[self.index_b])


def overlaps(a: ArrayLike, b: ArrayLike) -> Overlaps:
    """Count which labels of `a` and `b` share elements, in one pass.

    Parameters
    ----------
    a, b : array_like of int
        Of one shape, any number of axes. 0 is background; labels need not be consecutive.

    Raises
    ------
    BadInputError
        Shapes differ, a label is negative, or labels are not whole numbers.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape:
        raise BadInputError(f"overlaps: labels of shape {first.shape} and {second.shape}, expected one shape")
    (first, ids_a), (second, ids_b) = compact(first), compact(second)
    area_a, area_b = (np.zeros(ids.size + 1, np.int64) for ids in (ids_a, ids_b))
    keys, shared = count_overlaps(first.ravel(), second.ravel(), area_a, area_b, 1024)
    there_a, there_b = (np.flatnonzero(area[1:]) for area in (area_a, area_b))
    place_a, place_b = (np.cumsum(area > 0) - 1 - (area[0] > 0) for area in (area_a, area_b))
    return Overlaps(
        ids_a[there_a],
        ids_b[there_b],
        area_a[1:][there_a],
        area_b[1:][there_b],
        place_a[keys // area_b.size],
        place_b[keys % area_b.size],
        shared,
        first.size,
    )


def compact(labels: ArrayLike) -> tuple[NDArray[np.int32], Ints]:
    """Return labels as int32 that fit a table, and the label that each (from 1) stands for.

    Labels up to four times the number of elements stay what they are, whether all occur or not: looking up each
    costs more than a table with holes.

    Raises
    ------
    BadInputError
        A label is negative, or labels are not whole numbers.
    """
    given = np.asarray(labels)
    if given.dtype.kind not in "bui":
        raise BadInputError(f"labels: {given.dtype}, expected whole numbers, 0 for background")
    if given.dtype.kind == "b":
        given = given.view(np.uint8)
    if given.size == 0:
        return given.astype(np.int32), np.empty(0, np.int64)
    # as if it were unsigned a negative label is the largest: one look at all of them instead of two
    largest = int(given.view(f"u{given.dtype.itemsize}").max()) if given.dtype.isnative else int(given.max())
    if given.dtype.kind == "i" and (largest > np.iinfo(given.dtype).max or not given.dtype.isnative):
        if given.min() < 0:
            raise BadInputError(f"labels: {given.min()} is among them, expected 0 for background and ids above")
    if largest <= max(4 * given.size, 1000) and largest < 2**31:
        return np.ascontiguousarray(given, np.int32), np.arange(1, largest + 1)
    ids, place = np.unique(given, return_inverse=True)
    place = place.reshape(given.shape).astype(np.int32)
    if ids[0] == 0:
        return place, ids[1:].astype(np.int64)
    return place + np.int32(1), ids.astype(np.int64)
