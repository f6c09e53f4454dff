"""From what the network says of each pixel to puncta: claims on the same place are one punctum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

N_COLUMNS = 9  # y, x, p, ln photons, background, sigma x, sigma y, sigma ln photons, calcium logit


@njit(cache=True, nogil=True)
def gather(planes: Any, least: float, threshold: float, same_px: float, found: Any) -> int:
    """Write puncta as rows of `found`; return how many there are (none beyond its length are written).

    From the most probable pixel down: a pixel, and those of its eight neighbours that claim a place within
    `same_px` of its own, are one punctum of the sum of their probabilities; it is kept from `threshold` on. So two
    close puncta stay two, where pixels claim two places.

    Parameters
    ----------
    planes : float32[8 or 9, y, x]
        As `_shape.OUTPUTS`, the probability itself in place of the logit.
    least : float
        Pixels less probable than this claim nothing.
    """
    height, width = planes.shape[1:]
    p = planes[0]
    n = 0
    for j in range(height):
        for i in range(width):
            if p[j, i] >= least:
                n += 1
    at = np.empty(n, np.int64)
    value = np.empty(n)
    n = 0
    for j in range(height):
        for i in range(width):
            if p[j, i] >= least:
                at[n] = j * width + i
                value[n] = -p[j, i]
                n += 1
    order = np.argsort(value, kind="mergesort")
    taken = np.zeros((height, width), np.bool_)
    n_found = 0
    for rank in range(n):
        j, i = at[order[rank]] // width, at[order[rank]] % width
        if taken[j, i]:
            continue
        y0, x0 = j + planes[2, j, i], i + planes[1, j, i]
        total, sum_y, sum_x, sum_photons, sum_background = 0.0, 0.0, 0.0, 0.0, 0.0
        sum_vx, sum_vy, sum_vn = 0.0, 0.0, 0.0
        for b in range(max(0, j - 1), min(height, j + 2)):
            for a in range(max(0, i - 1), min(width, i + 2)):
                if taken[b, a] or p[b, a] < least:
                    continue
                y, x = b + planes[2, b, a], a + planes[1, b, a]
                if (b != j or a != i) and (y - y0) ** 2 + (x - x0) ** 2 > same_px * same_px:
                    continue
                taken[b, a] = True
                weight = p[b, a]
                total += weight
                sum_y += weight * y
                sum_x += weight * x
                sum_photons += weight * planes[3, b, a]
                sum_background += weight * planes[4, b, a]
                sum_vx += weight * planes[5, b, a]
                sum_vy += weight * planes[6, b, a]
                sum_vn += weight * planes[7, b, a]
        if total < threshold:
            continue
        if n_found < found.shape[0]:
            row = found[n_found]
            row[0], row[1], row[2] = sum_y / total, sum_x / total, min(total, 1.0)
            row[3], row[4] = sum_photons / total, sum_background / total
            row[5], row[6], row[7] = math.exp(sum_vx / total), math.exp(sum_vy / total), math.exp(sum_vn / total)
            row[8] = planes[8, j, i] if planes.shape[0] > 8 else 0.0
        n_found += 1
    return n_found
