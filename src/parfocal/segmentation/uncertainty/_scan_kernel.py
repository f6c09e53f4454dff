"""One pass over labels for all that is said of each object; a second for the outline that its hull needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Columns of `sums`
VOLUME, SUM_Z, SUM_Y, SUM_X, AT_BORDER, BAND, BAND_ENTROPY, NEAR_ZERO = range(8)
N_SUMS = 8
_BAND_PX = 2


@njit(cache=True, nogil=True)
def _entropy(logit: float) -> float:
    """Return the binary entropy of sigma(logit), bits."""
    if logit != logit:
        return 1.0
    size = abs(logit)
    if size > 40:
        return 0.0
    small = math.exp(-size) / (1 + math.exp(-size))  # the smaller of the two chances
    return -(small * math.log2(small) + (1 - small) * math.log2(1 - small))


@njit(cache=True, nogil=True)
def scan(
    labels: NDArray[np.int32],
    place: NDArray[np.int32],
    logits: NDArray[np.float32],
    near_zero: float,
    z_first: int,
    z_last: int,
    sums: NDArray[np.float64],
    box: NDArray[np.int32],
) -> None:
    """Add up the planes `z_first` to `z_last - 1` into `sums[object]` and widen `box[object, axis, (low, high)]`.

    `place` maps an id to its row. `logits` is empty where there are none. The band is what lies within 2 px, in
    the plane, of an object's edge, on either side; a voxel outside counts for the nearest object that is met.
    """
    depth, height, width = labels.shape
    with_logits = logits.size > 0
    for z in range(z_first, z_last):
        at_z = depth > 1 and (z == 0 or z == depth - 1)
        for y in range(height):
            at_y = at_z or y == 0 or y == height - 1
            for x in range(width):
                label = labels[z, y, x]
                if label > 0:
                    row = place[label]
                    sums[row, VOLUME] += 1
                    sums[row, SUM_Z] += z
                    sums[row, SUM_Y] += y
                    sums[row, SUM_X] += x
                    if at_y or x == 0 or x == width - 1:
                        sums[row, AT_BORDER] += 1
                    if z < box[row, 0, 0]:
                        box[row, 0, 0] = z
                    if z > box[row, 0, 1]:
                        box[row, 0, 1] = z
                    if y < box[row, 1, 0]:
                        box[row, 1, 0] = y
                    if y > box[row, 1, 1]:
                        box[row, 1, 1] = y
                    if x < box[row, 2, 0]:
                        box[row, 2, 0] = x
                    if x > box[row, 2, 1]:
                        box[row, 2, 1] = x
                    if with_logits and abs(logits[z, y, x]) < near_zero:
                        sums[row, NEAR_ZERO] += 1
                if not with_logits:
                    continue
                owner = np.int32(-1)
                for step in range(1, _BAND_PX + 1):
                    for side in range(4):
                        yy, xx = y, x
                        if side == 0:
                            yy = y - step
                        elif side == 1:
                            yy = y + step
                        elif side == 2:
                            xx = x - step
                        else:
                            xx = x + step
                        if yy < 0 or yy >= height or xx < 0 or xx >= width:
                            continue
                        other = labels[z, yy, xx]
                        if other != label:
                            if label > 0:
                                owner = label
                            elif other > 0:
                                owner = other
                        if owner > 0:
                            break
                    if owner > 0:
                        break
                if owner > 0:
                    sums[place[owner], BAND] += 1
                    sums[place[owner], BAND_ENTROPY] += _entropy(logits[z, y, x])


@njit(cache=True, nogil=True)
def outline(labels: NDArray[np.int32], label: int, box: NDArray[np.int32], corners: NDArray[np.float64]) -> int:
    """Write the corners `(z, y, x)` that may be on an object's hull; return how many.

    Of each row its two ends, of each plane the convex hull of those (monotone chain): a tenth of the surface.
    Coordinates are voxel corners, so that a single voxel has volume 1. Each plane's corners are written once at
    its lower and once at its upper face.
    """
    n = 0
    rows = box[1, 1] - box[1, 0] + 1
    points = np.empty((4 * rows, 2), np.float64)
    hull = np.empty((8 * rows + 2, 2), np.float64)
    for z in range(box[0, 0], box[0, 1] + 1):
        count = 0
        # sorted by y as they are written, then by x: low ends first
        for y in range(box[1, 0], box[1, 1] + 1):
            low, high = -1, -1
            for x in range(box[2, 0], box[2, 1] + 1):
                if labels[z, y, x] == label:
                    if low < 0:
                        low = x
                    high = x
            if low >= 0:
                points[count, 0], points[count, 1] = y, low
                points[count + 1, 0], points[count + 1, 1] = y, high + 1
                points[count + 2, 0], points[count + 2, 1] = y + 1, low
                points[count + 3, 0], points[count + 3, 1] = y + 1, high + 1
                count += 4
        if count == 0:
            continue
        m = _chain(points[:count], hull)
        for k in range(m):
            for face in range(2):
                if n < corners.shape[0]:
                    corners[n, 0], corners[n, 1], corners[n, 2] = z + face, hull[k, 0], hull[k, 1]
                    n += 1
    return n


@njit(cache=True, nogil=True)
def _chain(points: NDArray[np.float64], hull: NDArray[np.float64]) -> int:
    """Write the convex hull of points (Andrew's monotone chain); return how many corners it has."""
    order = np.argsort(points[:, 0] * 1e7 + points[:, 1])
    m = 0
    for turn in range(2):
        start = m
        for k in range(order.size):
            index = order[k] if turn == 0 else order[order.size - 1 - k]
            y, x = points[index, 0], points[index, 1]
            while m - start >= 2 and _cross(hull[m - 2], hull[m - 1], y, x) <= 0:
                m -= 1
            hull[m, 0], hull[m, 1] = y, x
            m += 1
        m -= 1  # the last of one half is the first of the other
    return m


@njit(cache=True, nogil=True)
def _cross(o: Any, a: Any, y: float, x: float) -> float:
    return (a[0] - o[0]) * (x - o[1]) - (a[1] - o[1]) * (y - o[0])
