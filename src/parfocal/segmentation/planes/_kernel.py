"""One pass over a plane of labels and the plane before it: areas, places, and who overlaps whom."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

_SCATTER = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def measure_masks(labels: Any, masks: Any) -> None:
    """Fill the table of a plane's masks.

    Parameters
    ----------
    labels : ndarray of int32, shape (height, width)
    masks : ndarray of int64, shape (largest label + 1, 7)
        Area, sums of y and x, first and last y, first and last x. Rows begin as `(0, 0, 0, big, -1, big, -1)`.
    """
    height, width = labels.shape
    for y in range(height):
        x = 0
        while x < width:
            label = labels[y, x]
            begin = x
            x += 1
            while x < width and labels[y, x] == label:
                x += 1
            if label == 0:
                continue
            run = x - begin
            mask = masks[label]
            mask[0] += run
            mask[1] += run * y
            mask[2] += run * (begin + x - 1) // 2
            if y < mask[3]:
                mask[3] = y
            mask[4] = y
            if begin < mask[5]:
                mask[5] = begin
            if x - 1 > mask[6]:
                mask[6] = x - 1


@njit(nogil=True, cache=True)
def _count(keys: Any, counts: Any, shift: int, key: int, count: int) -> int:
    mask = keys.size - 1
    at = np.int64((np.uint64(key) * _SCATTER) >> np.uint64(shift))
    while keys[at] != key:
        if keys[at] < 0:
            keys[at] = key
            counts[at] = count
            return 1
        at = (at + 1) & mask
    counts[at] += count
    return 0


@njit(nogil=True, cache=True)
def overlap_masks(before: Any, labels: Any, open_ids: Any, wanted: Any, masks: Any, dy: int, dx: int) -> Any:
    """Return which objects of an earlier plane overlap which masks, and by how many pixels: rows (id, label, n).

    Parameters
    ----------
    before : ndarray of int32, shape (height, width)
        Object ids of the earlier plane.
    labels : ndarray of int32, shape (height, width)
    open_ids : ndarray of bool
        By id: objects that may go on.
    wanted : ndarray of bool
        By label: masks that look for a beginning.
    masks : ndarray of int64
        Not looked at; see `overlap_in_boxes`.
    dy, dx : int
        What the earlier plane is moved by.
    """
    height, width = labels.shape
    stride = np.int64(wanted.size)
    bits = 10
    keys = np.full(1 << bits, -1, np.int64)
    counts = np.zeros(1 << bits, np.int64)
    used = 0
    first_x, end_x = max(0, dx), min(width, width + dx)
    for y in range(max(0, dy), min(height, height + dy)):
        x = first_x
        while x < end_x:
            label, object_id = labels[y, x], before[y - dy, x - dx]
            begin = x
            x += 1
            while x < end_x and labels[y, x] == label and before[y - dy, x - dx] == object_id:
                x += 1
            if label == 0:
                continue
            if object_id == 0 or not open_ids[object_id] or not wanted[label]:
                continue
            used += _count(keys, counts, 64 - bits, object_id * stride + label, x - begin)
            if 2 * used > keys.size:
                old_keys, old_counts = keys, counts
                bits += 1
                keys = np.full(1 << bits, -1, np.int64)
                counts = np.zeros(1 << bits, np.int64)
                for k in range(old_keys.size):
                    if old_keys[k] >= 0:
                        _count(keys, counts, 64 - bits, old_keys[k], old_counts[k])
    found = np.empty((used, 3), np.int64)
    n = 0
    for k in range(keys.size):
        if keys[k] >= 0:
            found[n, 0] = keys[k] // stride
            found[n, 1] = keys[k] % stride
            found[n, 2] = counts[k]
            n += 1
    return found[np.argsort(found[:, 0] * stride + found[:, 1])]


@njit(nogil=True, cache=True)
def overlap_in_boxes(before: Any, labels: Any, open_ids: Any, wanted: Any, masks: Any, dy: int, dx: int) -> Any:
    """Do as `overlap_masks`, looking at each mask's box alone: most of a plane is background.

    Parameters
    ----------
    masks : ndarray of int64, shape (largest label + 1, 7)
        As `measure_masks` fills it.
    """
    height, width = labels.shape
    counts = np.zeros(open_ids.size, np.int64)
    touched = np.empty(open_ids.size, np.int64)
    found = np.empty((4 * wanted.size + 16, 3), np.int64)
    n = 0
    for label in range(1, wanted.size):
        if not wanted[label]:
            continue
        n_touched = 0
        for y in range(max(masks[label, 3], dy), min(masks[label, 4] + 1, height + dy)):
            for x in range(max(masks[label, 5], dx), min(masks[label, 6] + 1, width + dx)):
                if labels[y, x] != label:
                    continue
                object_id = before[y - dy, x - dx]
                if object_id == 0 or not open_ids[object_id]:
                    continue
                if counts[object_id] == 0:
                    touched[n_touched] = object_id
                    n_touched += 1
                counts[object_id] += 1
        if n + n_touched > found.shape[0]:
            more = np.empty((2 * found.shape[0] + n_touched, 3), np.int64)
            more[:n] = found[:n]
            found = more
        for k in range(n_touched):
            found[n, 0], found[n, 1], found[n, 2] = touched[k], label, counts[touched[k]]
            counts[touched[k]] = 0
            n += 1
    return found[np.argsort(found[:n, 0] * wanted.size + found[:n, 1])]


@njit(nogil=True, cache=True)
def rename(labels: Any, names: Any, out: Any) -> None:
    """Write `names[labels]`."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            out[y, x] = names[labels[y, x]]


@njit(nogil=True, cache=True)
def rename_in_boxes(labels: Any, names: Any, masks: Any, out: Any) -> None:
    """Write `names[labels]` into an array of zeros, looking at each mask's box alone."""
    for label in range(1, masks.shape[0]):
        name = names[label]
        for y in range(masks[label, 3], masks[label, 4] + 1):
            for x in range(masks[label, 5], masks[label, 6] + 1):
                if labels[y, x] == label:
                    out[y, x] = name


@njit(nogil=True, cache=True)
def weigh(
    pairs: Any,
    area_before: Any,
    area_now: Any,
    min_iou: float,
    min_contained: float,
    min_contained_iou: float,
    max_ratio: float,
) -> Any:
    """Return per pair: IoU, containment, affinity (0: forbidden), and the share of the best rival's affinity.

    A pair that is linked by containment alone must be the best that either can have; and where the larger mask has
    another one to go with, it may not be larger by more than `max_ratio`: of touching columns, one that widens
    swallows its neighbour's cap.
    """
    n = pairs.shape[0]
    out = np.zeros((n, 4))
    for k in range(n):
        a, b = area_before[k], area_now[k]
        iou = pairs[k, 2] / (a + b - pairs[k, 2])
        contained = pairs[k, 2] / min(a, b)
        out[k, 0], out[k, 1] = iou, contained
        if iou >= min_iou or (contained >= min_contained and iou >= min_contained_iou):
            out[k, 2] = 0.5 * (iou + contained)
    n_rows = n_columns = 0
    for k in range(n):
        n_rows = max(n_rows, pairs[k, 0] + 1)
        n_columns = max(n_columns, pairs[k, 1] + 1)
    # best and second best overlap by area, for each object and each mask: who else is there
    best_row, best_column = np.full(n_rows, -1), np.full(n_columns, -1)
    next_row, next_column = np.full(n_rows, -1), np.full(n_columns, -1)
    for k in range(n):
        for side in range(2):
            at = pairs[k, side]
            best, second = (best_row, next_row) if side == 0 else (best_column, next_column)
            if best[at] < 0 or out[k, 0] > out[best[at], 0]:
                second[at], best[at] = best[at], k
            elif second[at] < 0 or out[k, 0] > out[second[at], 0]:
                second[at] = k
    refused = np.zeros(n, np.bool_)
    for k in range(n):
        if out[k, 2] == 0:
            continue
        i, j = pairs[k, 0], pairs[k, 1]
        rival_row = next_row[i] if best_row[i] == k else best_row[i]
        rival_column = next_column[j] if best_column[j] == k else best_column[j]
        rival = 0.0
        for other in (rival_row, rival_column):
            if other >= 0 and out[other, 2] > 0:
                rival = max(rival, 0.5 * (out[other, 0] + out[other, 1]))
        out[k, 3] = rival / (0.5 * (out[k, 0] + out[k, 1]))
        if out[k, 0] >= min_iou:
            continue
        if best_row[i] != k or best_column[j] != k:
            refused[k] = True
            continue
        larger_rival = rival_row if area_before[k] > area_now[k] else rival_column
        if larger_rival >= 0 and out[larger_rival, 1] >= 0.5:
            ratio = max(area_before[k], area_now[k]) / min(area_before[k], area_now[k])
            refused[k] = ratio > max_ratio
    for k in range(n):
        if refused[k]:
            out[k, 2] = 0.0
    return out


@njit(nogil=True, cache=True)
def find_necks(first: Any, roots: Any, low: Any, ratio: float, gradual: float) -> Any:
    """Return where chains are to be cut: places k so that a new object begins at k.

    Parameters
    ----------
    first : ndarray of int64, shape (n_objects + 1,)
        Where each object's masks begin.
    roots : ndarray of float64
        Square roots of their areas, along z.
    low : ndarray of float64
        The same, lowered where a shallower neck will do.
    ratio, gradual : float
        A neck lies below `ratio` of what is reached on both sides, and what lies beside it below `gradual` of
        that: two nuclei taper toward each other, one bad mask does not.
    """
    cuts = np.empty(roots.size, np.int64)
    n_cuts = 0
    stack = np.empty((roots.size + 1, 2), np.int64)
    for i in range(first.size - 1):
        stack[0, 0], stack[0, 1] = first[i], first[i + 1]
        n_open = 1
        while n_open:
            n_open -= 1
            begin, end = stack[n_open, 0], stack[n_open, 1]
            if end - begin < 5:
                continue
            deepest, neck = ratio, -1
            left = roots[begin]
            for k in range(begin + 2, end - 2):
                left = max(left, roots[k - 1])
                if low[k] > deepest * left:
                    continue
                right = roots[k + 1]
                for m in range(k + 2, end):
                    right = max(right, roots[m])
                if roots[k - 1] > gradual * left or roots[k + 1] > gradual * right:
                    continue
                depth = low[k] / min(left, right)
                if depth < deepest:
                    deepest, neck = depth, k
            if neck >= 0:
                # between the two smallest: the neck, and the smaller of those beside it
                cut = neck + 1 if low[neck + 1] <= low[neck - 1] else neck
                cuts[n_cuts] = cut
                n_cuts += 1
                stack[n_open, 0], stack[n_open, 1] = begin, cut
                stack[n_open + 1, 0], stack[n_open + 1, 1] = cut, end
                n_open += 2
    return np.sort(cuts[:n_cuts])
