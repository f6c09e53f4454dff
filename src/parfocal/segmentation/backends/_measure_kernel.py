"""One pass over labelled voxels; one file, since numba's cache watches a kernel's own file alone."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def measured(
    labels: NDArray[np.int32],
    sums: NDArray[np.float64],
    box: NDArray[np.int64],
    faces: NDArray[np.int64],
    at_border: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Fill sums [n+1, 10] (voxels, z, y, x, zz, yy, xx, zy, zx, yx), box [n+1, 6], faces [n+1, 3, 2], at_border.

    Faces of an object along each axis: all that part it from what is not it, and those to another object. A side
    of the volume is no face: nobody knows what is beyond. Moments are about the first voxel seen, which is
    returned, so that large coordinates cancel nothing.
    """
    depth, height, width = labels.shape
    n = sums.shape[0]
    first = np.full((n, 3), -1, np.int64)
    for i in range(n):
        box[i, 0] = depth
        box[i, 1] = height
        box[i, 2] = width
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                a = labels[z, y, x]
                if z + 1 < depth:
                    b = labels[z + 1, y, x]
                    if a != b:
                        faces[a, 0, 0] += 1
                        faces[b, 0, 0] += 1
                        if a > 0 and b > 0:
                            faces[a, 0, 1] += 1
                            faces[b, 0, 1] += 1
                if y + 1 < height:
                    b = labels[z, y + 1, x]
                    if a != b:
                        faces[a, 1, 0] += 1
                        faces[b, 1, 0] += 1
                        if a > 0 and b > 0:
                            faces[a, 1, 1] += 1
                            faces[b, 1, 1] += 1
                if x + 1 < width:
                    b = labels[z, y, x + 1]
                    if a != b:
                        faces[a, 2, 0] += 1
                        faces[b, 2, 0] += 1
                        if a > 0 and b > 0:
                            faces[a, 2, 1] += 1
                            faces[b, 2, 1] += 1
                if a == 0:
                    continue
                if first[a, 0] < 0:
                    first[a, 0] = z
                    first[a, 1] = y
                    first[a, 2] = x
                dz = float(z - first[a, 0])
                dy = float(y - first[a, 1])
                dx = float(x - first[a, 2])
                sums[a, 0] += 1.0
                sums[a, 1] += dz
                sums[a, 2] += dy
                sums[a, 3] += dx
                sums[a, 4] += dz * dz
                sums[a, 5] += dy * dy
                sums[a, 6] += dx * dx
                sums[a, 7] += dz * dy
                sums[a, 8] += dz * dx
                sums[a, 9] += dy * dx
                box[a, 0] = min(box[a, 0], z)
                box[a, 1] = min(box[a, 1], y)
                box[a, 2] = min(box[a, 2], x)
                box[a, 3] = max(box[a, 3], z + 1)
                box[a, 4] = max(box[a, 4], y + 1)
                box[a, 5] = max(box[a, 5], x + 1)
                if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                    at_border[a] = True
                elif depth > 1 and (z == 0 or z == depth - 1):
                    at_border[a] = True
    return first


@njit(cache=True, nogil=True)
def intensities(
    labels: NDArray[np.int32],
    image: NDArray[np.generic],
    total: NDArray[np.float64],
    squares: NDArray[np.float64],
    largest: NDArray[np.float64],
) -> None:
    """Add up the pixels of each object: sum, sum of squares, largest, each [n+1]."""
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                a = labels[z, y, x]
                if a > 0:
                    value = float(image[z, y, x])  # pyright: ignore[reportArgumentType]
                    total[a] += value
                    squares[a] += value * value
                    if value > largest[a]:
                        largest[a] = value
