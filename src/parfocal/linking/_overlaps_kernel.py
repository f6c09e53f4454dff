"""One pass over two label arrays: which overlap, and by how much. Counted by runs, in a hash table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

_SCATTER = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _add(keys: Any, counts: Any, shift: int, key: int, count: int) -> int:
    """Count for a key; return 1 where it is new."""
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
def count_overlaps(a: Any, b: Any, area_a: Any, area_b: Any, capacity: int) -> Any:
    """Return keys `a * area_b.size + b` and counts of the pairs that share voxels, neither being 0.

    Parameters
    ----------
    a, b : ndarray of int32, 1-D
        Labels from 0.
    area_a, area_b : ndarray of int64
        One longer than the largest label; added to.
    capacity : int
        A power of two to begin with; the table grows.
    """
    width = np.int64(area_b.size)
    bits = 0
    while (1 << bits) < capacity:
        bits += 1
    keys = np.full(1 << bits, -1, np.int64)
    counts = np.zeros(1 << bits, np.int64)
    used = 0
    at, n = 0, a.size
    while at < n:
        p, q = a[at], b[at]
        begin = at
        at += 1
        while at < n and a[at] == p and b[at] == q:
            at += 1
        run = at - begin
        area_a[p] += run
        area_b[q] += run
        if p == 0 or q == 0:
            continue
        used += _add(keys, counts, 64 - bits, p * width + q, run)
        if 2 * used > keys.size:
            old_keys, old_counts = keys, counts
            bits += 1
            keys = np.full(1 << bits, -1, np.int64)
            counts = np.zeros(1 << bits, np.int64)
            for k in range(old_keys.size):
                if old_keys[k] >= 0:
                    _add(keys, counts, 64 - bits, old_keys[k], old_counts[k])
    n_pairs = 0
    out_keys = np.empty(used, np.int64)
    out_counts = np.empty(used, np.int64)
    for k in range(keys.size):
        if keys[k] >= 0:
            out_keys[n_pairs] = keys[k]
            out_counts[n_pairs] = counts[k]
            n_pairs += 1
    order = np.argsort(out_keys)
    return out_keys[order], out_counts[order]
