"""Sums of every neighbourhood operator, label by label, in one walk over a frame's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

# nnan and ninf are left out: a NaN pixel must reach the sums
_FASTMATH = {"reassoc", "contract", "nsz", "arcp", "afn"}

(
    N, SUM, SUM_SQUARES, N_INNER, LAPLACIAN, LAPLACIAN_SQUARES, MODIFIED, TENENGRAD, GRADIENT, BRENNER, VOLLATH,
    ROW_SHIFT, PRODUCT, PAIR_SUM, IMMERKAER,
) = range(15)  # fmt: skip
N_SUMS = 15


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def label_sums(pixels: Any, labels: Any, first_row: int, end_row: int, sums: Any) -> None:
    """Add up over the rows `[first_row, end_row)`, each counted by its centre.

    A 3x3 neighbourhood counts only where all its pixels have one label.

    Parameters
    ----------
    pixels : ndarray of float32, shape (height, width)
        The frame less a reference near its mean.
    labels : ndarray of int32, shape (height, width)
        Row of `sums` that a pixel belongs to; negative ones are left out.
    first_row, end_row : int
        The band.
    sums : ndarray of float64, shape (n_labels, N_SUMS)
        Added to.
    """
    height, width = pixels.shape
    two = np.float32(2)
    four = np.float32(4)
    for y in range(first_row, end_row):
        row = pixels[y]
        row_labels = labels[y]
        for x in range(width):
            label = row_labels[x]
            if label >= 0:
                target = sums[label]
                value = np.float64(row[x])
                target[N] += 1.0
                target[SUM] += value
                target[SUM_SQUARES] += value * value
        if y < 1 or y > height - 2:
            continue
        above, below = pixels[y - 1], pixels[y + 1]
        labels_above, labels_below = labels[y - 1], labels[y + 1]
        for x in range(1, width - 1):
            label = row_labels[x]
            if label < 0:
                continue
            if not (
                (row_labels[x - 1] == label)
                & (row_labels[x + 1] == label)
                & (labels_above[x - 1] == label)
                & (labels_above[x] == label)
                & (labels_above[x + 1] == label)
                & (labels_below[x - 1] == label)
                & (labels_below[x] == label)
                & (labels_below[x + 1] == label)
            ):
                continue
            left, centre, right = row[x - 1], row[x], row[x + 1]
            sum_left = above[x - 1] + below[x - 1]
            sum_centre = above[x] + below[x]
            sum_right = above[x + 1] + below[x + 1]
            across = right - left
            down = below[x] - above[x]
            bend_x = two * centre - left - right
            bend_y = two * centre - sum_centre
            laplacian = np.float64(-(bend_x + bend_y))
            gradient_x = np.float64(sum_right - sum_left + two * across)
            gradient_y = np.float64(below[x - 1] - above[x - 1] + below[x + 1] - above[x + 1] + two * down)
            squared = gradient_x * gradient_x + gradient_y * gradient_y
            target = sums[label]
            target[N_INNER] += 1.0
            target[LAPLACIAN] += laplacian
            target[LAPLACIAN_SQUARES] += laplacian * laplacian
            target[MODIFIED] += np.float64(abs(bend_x) + abs(bend_y))
            target[TENENGRAD] += squared
            target[GRADIENT] += np.sqrt(squared)
            target[BRENNER] += np.float64(across) * np.float64(across) + np.float64(down) * np.float64(down)
            target[VOLLATH] += np.float64(left) * np.float64(centre - right)
            target[ROW_SHIFT] += np.float64(centre - right)
            target[PRODUCT] += np.float64(left) * np.float64(centre)
            target[PAIR_SUM] += np.float64(left) + np.float64(centre)
            target[IMMERKAER] += np.float64(
                abs(sum_left + sum_right - two * (sum_centre + left + right) + four * centre)
            )
