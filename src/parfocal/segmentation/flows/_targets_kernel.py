"""Where each voxel's object has its centre, and the way there; a plane is a volume of depth 1."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BLIND_FRACTION = 0.03

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int32]
Boxes = NDArray[np.int64]


@njit(nogil=True, cache=True)
def boxes_and_centroids(labels: Labels, n: int) -> tuple[Boxes, Doubles, NDArray[np.int64]]:
    """Return each id's box (first and last index along each axis), centroid and count; row 0 stays empty."""
    boxes = np.empty((n + 1, 6), np.int64)
    for i in range(n + 1):
        for axis in range(3):
            boxes[i, 2 * axis] = labels.shape[axis]
            boxes[i, 2 * axis + 1] = -1
    sums = np.zeros((n + 1, 3), np.float64)
    counts = np.zeros(n + 1, np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                i = labels[z, y, x]
                if i <= 0:
                    continue
                counts[i] += 1
                sums[i, 0] += z
                sums[i, 1] += y
                sums[i, 2] += x
                boxes[i, 0] = min(boxes[i, 0], z)
                boxes[i, 1] = max(boxes[i, 1], z)
                boxes[i, 2] = min(boxes[i, 2], y)
                boxes[i, 3] = max(boxes[i, 3], y)
                boxes[i, 4] = min(boxes[i, 4], x)
                boxes[i, 5] = max(boxes[i, 5], x)
    for i in range(n + 1):
        if counts[i]:
            for axis in range(3):
                sums[i, axis] /= counts[i]
    return boxes, sums, counts


@njit(nogil=True, cache=True)
def _nearest_inside(labels: Labels, i: int, box: Boxes, centre: Doubles, step: Doubles) -> None:
    """Move a centre that is outside of its object to the nearest voxel of it, in um."""
    z, y, x = round(centre[0]), round(centre[1]), round(centre[2])
    if labels[z, y, x] == i:
        return
    best = np.inf
    at = (z, y, x)
    for z in range(box[0], box[1] + 1):
        for y in range(box[2], box[3] + 1):
            for x in range(box[4], box[5] + 1):
                if labels[z, y, x] == i:
                    d = (
                        ((z - centre[0]) * step[0]) ** 2
                        + ((y - centre[1]) * step[1]) ** 2
                        + ((x - centre[2]) * step[2]) ** 2
                    )
                    if d < best:
                        best = d
                        at = (z, y, x)
    centre[0], centre[1], centre[2] = at[0], at[1], at[2]


@njit(nogil=True, cache=True)
def _straight(labels: Labels, i: int, box: Boxes, centre: Doubles, flow: Floats) -> float:
    """Point every voxel of an object at its centre; return the fraction whose straight way there leaves it."""
    seen = 0
    blind = 0
    for z in range(box[0], box[1] + 1):
        for y in range(box[2], box[3] + 1):
            for x in range(box[4], box[5] + 1):
                if labels[z, y, x] != i:
                    continue
                seen += 1
                dz, dy, dx = centre[0] - z, centre[1] - y, centre[2] - x
                length = math.sqrt(dz * dz + dy * dy + dx * dx)
                # Shorter than a voxel from the centre the vector is what is left of the way: steps of it end
                # at the centre and do not hop over it.
                scale = 1.0 / max(1.0, length)
                flow[0, z, y, x] = dz * scale
                flow[1, z, y, x] = dy * scale
                flow[2, z, y, x] = dx * scale
                outside = 0
                for k in range(1, int(length)):
                    if (
                        labels[
                            round(z + k * dz * scale),
                            round(y + k * dy * scale),
                            round(x + k * dx * scale),
                        ]
                        != i
                    ):
                        outside += 1
                if outside > 1:  # one may be rounding
                    blind += 1
    return blind / max(seen, 1)


@njit(nogil=True, cache=True)
def _diffuse(
    labels: Labels, i: int, box: Boxes, centre: Doubles, weight: Doubles, heat: Doubles, flow: Floats
) -> None:
    """Point every voxel of an object up the heat that its centre, held at 1, gives to it.

    The surroundings are held at 0. Gauss-Seidel sweeps from below stay under the mean of the neighbours, so at no
    stage is there a maximum but the source: whoever climbs gets to the centre.
    """
    nz, ny, nx = box[1] - box[0] + 1, box[3] - box[2] + 1, box[5] - box[4] + 1
    for z in range(nz + 2):
        for y in range(ny + 2):
            for x in range(nx + 2):
                heat[z, y, x] = 0.0
    cz, cy, cx = round(centre[0]), round(centre[1]), round(centre[2])
    wz, wy, wx = weight[0], weight[1], weight[2]
    total = 2.0 * (wz + wy + wx)
    for sweep in range(8 + 2 * (nz + ny + nx)):
        heat[cz - box[0] + 1, cy - box[2] + 1, cx - box[4] + 1] = 1.0
        back = sweep % 2 == 1
        for a in range(nz):
            z = nz - a if back else a + 1
            for b in range(ny):
                y = ny - b if back else b + 1
                for c in range(nx):
                    x = nx - c if back else c + 1
                    if labels[z + box[0] - 1, y + box[2] - 1, x + box[4] - 1] == i:
                        heat[z, y, x] = (
                            wz * (heat[z - 1, y, x] + heat[z + 1, y, x])
                            + wy * (heat[z, y - 1, x] + heat[z, y + 1, x])
                            + wx * (heat[z, y, x - 1] + heat[z, y, x + 1])
                        ) / total
    heat[cz - box[0] + 1, cy - box[2] + 1, cx - box[4] + 1] = 1.0
    for z in range(1, nz + 1):
        for y in range(1, ny + 1):
            for x in range(1, nx + 1):
                at = (z + box[0] - 1, y + box[2] - 1, x + box[4] - 1)
                if labels[at] != i or heat[z, y, x] <= 0.0:
                    continue  # a part that no heat reaches keeps its straight way
                dz = wz * (heat[z + 1, y, x] - heat[z - 1, y, x])
                dy = wy * (heat[z, y + 1, x] - heat[z, y - 1, x])
                dx = wx * (heat[z, y, x + 1] - heat[z, y, x - 1])
                length = math.sqrt(dz * dz + dy * dy + dx * dx)
                if length == 0.0 or (at[0] == cz and at[1] == cy and at[2] == cx):
                    dz, dy, dx, length = 0.0, 0.0, 0.0, 1.0
                flow[0, at[0], at[1], at[2]] = dz / length
                flow[1, at[0], at[1], at[2]] = dy / length
                flow[2, at[0], at[1], at[2]] = dx / length


@njit(nogil=True, cache=True)
def point_to_centres(
    labels: Labels,
    boxes: Boxes,
    centres: Doubles,
    counts: NDArray[np.int64],
    step: Doubles,
    first: int,
    stop: int,
    way: int,
    flow: Floats,
) -> None:
    """Fill `flow` for the ids `first` to `stop - 1`; `way` is 0 as the object asks for, 1 straight, 2 heat."""
    heat = np.empty((1, 1, 1), np.float64)
    weight = np.empty(3, np.float64)
    for axis in range(3):
        weight[axis] = 1.0 / step[axis] ** 2
    if labels.shape[0] == 1:
        weight[0] = 0.0
    for i in range(first, stop):
        if counts[i] == 0:
            continue
        box = boxes[i]
        _nearest_inside(labels, i, box, centres[i], step)
        blind = _straight(labels, i, box, centres[i], flow)
        if way == 2 or (way == 0 and blind > _BLIND_FRACTION):
            nz, ny, nx = box[1] - box[0] + 3, box[3] - box[2] + 3, box[5] - box[4] + 3
            if heat.shape[0] < nz or heat.shape[1] < ny or heat.shape[2] < nx:
                heat = np.empty(
                    (max(nz, heat.shape[0]), max(ny, heat.shape[1]), max(nx, heat.shape[2])), np.float64
                )
            _diffuse(labels, i, box, centres[i], weight, heat, flow)


@njit(nogil=True, cache=True)
def mark_boundary(labels: Labels, first_z: int, stop_z: int, boundary: Floats) -> None:
    """Set 1 where an object's voxel has a face neighbour that is not of it; the volume's edge is no neighbour."""
    depth, height, width = labels.shape
    for z in range(first_z, stop_z):
        for y in range(height):
            for x in range(width):
                i = labels[z, y, x]
                if i <= 0:
                    continue
                if (
                    (z > 0 and labels[z - 1, y, x] != i)
                    or (z + 1 < depth and labels[z + 1, y, x] != i)
                    or (y > 0 and labels[z, y - 1, x] != i)
                    or (y + 1 < height and labels[z, y + 1, x] != i)
                    or (x > 0 and labels[z, y, x - 1] != i)
                    or (x + 1 < width and labels[z, y, x + 1] != i)
                ):
                    boundary[z, y, x] = 1.0


@njit(nogil=True, cache=True)
def sum_flow_errors(labels: Labels, flow: Floats, target: Floats, sums: Doubles) -> None:
    """Add each voxel's squared distance between `flow` and `target` to its object's sum."""
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                i = labels[z, y, x]
                if i > 0:
                    for axis in range(flow.shape[0]):
                        sums[i] += (flow[axis, z, y, x] - target[axis, z, y, x]) ** 2
