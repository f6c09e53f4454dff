"""Regions of equal labels, their holes and crumbs, and the shells round objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _root(parent: Any, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _join(parent: Any, i: int, j: int) -> int:
    a, b = _root(parent, i), _root(parent, j)
    if a < b:
        parent[b] = a
        return a
    parent[a] = b
    return b


@njit(nogil=True, cache=True)
def regions_of(labels: Any, regions: Any) -> int:
    """Find the face-connected regions of equal labels, background too, numbered from 0; return how many."""
    depth, height, width = labels.shape
    parent = np.empty(1024, np.int32)
    n = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = labels[z, y, x]
                at = -1
                if x > 0 and labels[z, y, x - 1] == i:
                    at = regions[z, y, x - 1]
                if y > 0 and labels[z, y - 1, x] == i:
                    above = regions[z, y - 1, x]
                    at = above if at < 0 or at == above else _join(parent, at, above)
                if z > 0 and labels[z - 1, y, x] == i:
                    behind = regions[z - 1, y, x]
                    at = behind if at < 0 or at == behind else _join(parent, at, behind)
                if at < 0:
                    if n == parent.size:
                        larger = np.empty(2 * n, np.int32)
                        larger[:n] = parent
                        parent = larger
                    parent[n] = n
                    at = n
                    n += 1
                regions[z, y, x] = at
    count = 0
    for i in range(n):  # a root stands before all of its region
        if parent[i] == i:
            parent[i] = count
            count += 1
        else:
            parent[i] = parent[parent[i]]
    flat = regions.ravel()
    for k in range(flat.size):
        flat[k] = parent[flat[k]]
    return count


@njit(nogil=True, cache=True)
def mend(labels: Any, regions: Any, n_regions: int, n_labels: int) -> None:
    """Fill each hole that one object alone surrounds, and clear all but the largest piece of each object."""
    depth, height, width = labels.shape
    size = np.zeros(n_regions, np.int64)
    owner = np.zeros(n_regions, np.int32)
    around = np.zeros(n_regions, np.int32)  # the label round a piece of background; -1: several, or the edge
    flat, flat_regions = labels.ravel(), regions.ravel()
    for k in range(flat.size):
        size[flat_regions[k]] += 1
        owner[flat_regions[k]] = flat[k]
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if labels[z, y, x] != 0:
                    continue
                r = regions[z, y, x]
                if around[r] < 0:
                    continue
                edge = y == 0 or x == 0 or y == height - 1 or x == width - 1
                if edge or (depth > 1 and (z == 0 or z == depth - 1)):
                    around[r] = -1
                    continue
                for step in range(6):
                    k = z + (step == 0) - (step == 1)
                    j = y + (step == 2) - (step == 3)
                    m = x + (step == 4) - (step == 5)
                    if k < 0 or k >= depth:
                        continue
                    i = labels[k, j, m]
                    if i:
                        if around[r] == 0:
                            around[r] = i
                        elif around[r] != i:
                            around[r] = -1
                            break
    largest = np.full(n_labels + 1, -1, np.int64)
    for r in range(n_regions):
        i = owner[r]
        if i and (largest[i] < 0 or size[r] > size[largest[i]]):
            largest[i] = r
    for k in range(flat.size):
        r = flat_regions[k]
        if flat[k] == 0:
            if around[r] > 0:
                flat[k] = around[r]
        elif largest[flat[k]] != r:
            flat[k] = 0


@njit(nogil=True, cache=True)
def grow(labels: Any, grown: Any) -> None:
    """Give each unlabelled voxel with a labelled face neighbour the label of the first of them."""
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = labels[z, y, x]
                if i == 0:
                    if x > 0 and labels[z, y, x - 1]:
                        i = labels[z, y, x - 1]
                    elif x + 1 < width and labels[z, y, x + 1]:
                        i = labels[z, y, x + 1]
                    elif y > 0 and labels[z, y - 1, x]:
                        i = labels[z, y - 1, x]
                    elif y + 1 < height and labels[z, y + 1, x]:
                        i = labels[z, y + 1, x]
                    elif z > 0 and labels[z - 1, y, x]:
                        i = labels[z - 1, y, x]
                    elif z + 1 < depth and labels[z + 1, y, x]:
                        i = labels[z + 1, y, x]
                grown[z, y, x] = i


@njit(nogil=True, cache=True)
def add_means(labels: Any, near: Any, far: Any, image: Any, inside: Any, shell: Any) -> None:
    """Add value and count of each object's voxels to `inside`, of those in `far` but not in `near` to `shell`."""
    flat, flat_near, flat_far, values = labels.ravel(), near.ravel(), far.ravel(), image.ravel()
    for k in range(flat.size):
        if flat[k]:
            inside[flat[k], 0] += values[k]
            inside[flat[k], 1] += 1.0
        elif flat_far[k] and flat_near[k] == 0:
            shell[flat_far[k], 0] += values[k]
            shell[flat_far[k], 1] += 1.0


@njit(nogil=True, cache=True)
def renumber(labels: Any, new_ids: Any) -> None:
    """Replace each label by `new_ids` of it, in place."""
    flat = labels.ravel()
    for k in range(flat.size):
        flat[k] = new_ids[flat[k]]


@njit(nogil=True, cache=True)
def touching_edge(labels: Any, n: int) -> Any:
    """Return, of each id, whether it is cut by a face of the volume (not of z in a single plane)."""
    depth, height, width = labels.shape
    at_edge = np.zeros(n + 1, np.bool_)
    for z in range(depth):
        outer = depth > 1 and (z == 0 or z == depth - 1)
        for y in range(height):
            if outer or y == 0 or y == height - 1:
                for x in range(width):
                    at_edge[labels[z, y, x]] = True
            else:
                at_edge[labels[z, y, 0]] = True
                at_edge[labels[z, y, width - 1]] = True
    at_edge[0] = False
    return at_edge


@njit(nogil=True, cache=True)
def first_voxels(labels: Any, n: int) -> Any:
    """Return where each id is met first, counted through the volume; -1 where it is not."""
    first = np.full(n + 1, -1, np.int64)
    flat = labels.ravel()
    for k in range(flat.size):
        if first[flat[k]] < 0:
            first[flat[k]] = k
    return first
