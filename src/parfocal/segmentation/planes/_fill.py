"""Planes that a link bridged, filled by the shape between the two that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

Labels = NDArray[np.int32]


@njit(nogil=True, cache=True)
def signed_distance(labels: Any, label: int, top: int, left: int, out: Any) -> None:
    """Write the distance to the mask's edge, px, above 0 within, of a crop that begins at (top, left).

    Exact: along columns first, then the least of the parabolas along each row (Felzenszwalb and Huttenlocher,
    2012, without their envelope: crops are small). Half a pixel is taken off, so that 0 lies between pixels.
    """
    height, width = out.shape
    far = height + width
    column = np.empty((2, height, width))
    for x in range(width):
        for kind in range(2):
            distance = far
            for y in range(height):
                inside = labels[top + y, left + x] == label
                distance = 0 if inside == (kind == 0) else distance + 1
                column[kind, y, x] = distance
            distance = far
            for y in range(height - 1, -1, -1):
                distance = min(distance + 1, column[kind, y, x])
                column[kind, y, x] = distance
    for y in range(height):
        for x in range(width):
            inside = labels[top + y, left + x] == label
            kind = 1 if inside else 0
            least = column[kind, y, x] ** 2
            reach = 1
            while reach * reach < least and reach < width:
                if x - reach >= 0:
                    least = min(least, reach * reach + column[kind, y, x - reach] ** 2)
                if x + reach < width:
                    least = min(least, reach * reach + column[kind, y, x + reach] ** 2)
                reach += 1
            distance = np.sqrt(least) - 0.5
            out[y, x] = distance if inside else -distance


@njit(nogil=True, cache=True)
def box_of(labels: Any, label: int, box: Any) -> None:
    """Widen `(top, bottom, left, right)`, ends excluded, to hold the mask; the search begins in the box given."""
    top, bottom, left, right = labels.shape[0], 0, labels.shape[1], 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] == label:
                top, bottom = min(top, y), y + 1
                left, right = min(left, x), max(right, x + 1)
    box[0], box[1] = min(box[0], top), max(box[1], bottom)
    box[2], box[3] = min(box[2], left), max(box[3], right)


def fill_between(volume: Labels, object_id: int, z_from: int, z_to: int, box: tuple[int, int, int, int]) -> int:
    """Fill an object's missing planes in place, and return how many pixels it got.

    The shape in between is where the signed distances of both masks, interpolated linearly, are above 0.
    Background becomes the object. A pixel of another object does where that one, interpolated in the same way,
    would not be there, and most of the shape lies in it: two masks were one in that plane.

    Parameters
    ----------
    volume : int32[z, y, x]
    object_id : int
    z_from, z_to : int
        Planes that have it.
    box : (top, bottom, left, right)
        Holds both masks, ends excluded.
    """
    top, bottom = max(box[0] - 1, 0), min(box[1] + 1, volume.shape[1])
    left, right = max(box[2] - 1, 0), min(box[3] + 1, volume.shape[2])
    crop = (slice(top, bottom), slice(left, right))

    def distances(label: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        both = np.empty((2, bottom - top, right - left))
        signed_distance(volume[z_from], label, top, left, both[0])
        signed_distance(volume[z_to], label, top, left, both[1])
        return both[0], both[1]

    before, after = distances(object_id)
    filled = 0
    for z in range(z_from + 1, z_to):
        share = (z - z_from) / (z_to - z_from)
        shape = (1 - share) * before + share * after
        there = volume[z][crop]  # a view
        wanted = shape > 0
        free = wanted & (there == 0)
        taken = there[wanted & (there != 0)]
        for other in np.unique(taken) if taken.size else ():
            its = wanted & (there == other)
            if 2 * np.count_nonzero(its) < np.count_nonzero(wanted):
                continue
            if not (np.any(volume[z_from] == other) and np.any(volume[z_to] == other)):
                continue
            its_before, its_after = distances(int(other))
            free |= its & (shape > (1 - share) * its_before + share * its_after)
        there[free] = object_id
        filled += int(np.count_nonzero(free))
    return filled
