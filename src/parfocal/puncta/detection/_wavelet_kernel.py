"""Compiled parts of the detector: both wavelet planes in one pass over the rows, and local maxima."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OUTER, _NEAR, _MIDDLE = np.float32(1 / 16), np.float32(4 / 16), np.float32(6 / 16)
_REACH = 6
"""Pixels from which one of F2 is made, to each side: 2 of the first spline and 4 of the second."""

_FAST = {"reassoc", "contract", "arcp", "nsz"}  # without nnan and ninf: both do occur


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _smoothed_row(image: Any, row: Any, column: Any, out: Any) -> None:
    """Fill `out` (width + 8) with a row of V1, from 4 pixels left of the image to 4 right of it.

    The row may lie outside the image; the image's edges repeat. `column` is scratch, width + 12.
    """
    height, width = image.shape
    up2, up1 = min(max(row - 2, 0), height - 1), min(max(row - 1, 0), height - 1)
    here = min(max(row, 0), height - 1)
    down1, down2 = min(max(row + 1, 0), height - 1), min(max(row + 2, 0), height - 1)
    for j in range(width):
        column[j + _REACH] = (
            _OUTER * (image[up2, j] + image[down2, j])
            + _NEAR * (image[up1, j] + image[down1, j])
            + _MIDDLE * image[here, j]
        )
    for j in range(_REACH):
        column[j] = column[_REACH]
        column[width + _REACH + j] = column[width + _REACH - 1]
    for j in range(width + 8):
        out[j] = (
            _OUTER * (column[j] + column[j + 4])
            + _NEAR * (column[j + 1] + column[j + 3])
            + _MIDDLE * column[j + 2]
        )


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def wavelet_rows(image: Any, first: Any, last: Any, f1: Any, f2: Any, smooth: Any) -> None:
    """Fill rows `first` to `last` of F1 = I - V1, F2 = V1 - V2 and `smooth` = V2; float32 all."""
    width = image.shape[1]
    column = np.empty(width + 2 * _REACH, np.float32)
    ring = np.empty((9, width + 8), np.float32)
    across = np.empty(width + 8, np.float32)
    for row in range(first - 4, first + 4):
        _smoothed_row(image, row, column, ring[(row + 9) % 9])
    for i in range(first, last):
        _smoothed_row(image, i + 4, column, ring[(i + 13) % 9])
        far_up, up, here = ring[(i + 5) % 9], ring[(i + 7) % 9], ring[(i + 9) % 9]
        down, far_down = ring[(i + 11) % 9], ring[(i + 13) % 9]
        for j in range(width + 8):
            across[j] = _OUTER * (far_up[j] + far_down[j]) + _NEAR * (up[j] + down[j]) + _MIDDLE * here[j]
        for j in range(width):
            v2 = (
                _OUTER * (across[j] + across[j + 8])
                + _NEAR * (across[j + 2] + across[j + 6])
                + _MIDDLE * across[j + 4]
            )
            v1 = here[j + 4]
            f1[i, j] = image[i, j] - v1
            f2[i, j] = v1 - v2
            smooth[i, j] = v2


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def noise_heights(
    smooth: Any, read_variance: Any, least: Any, excess: Any, squares: Any, skew: Any, height: Any, out: Any
) -> None:
    """Fill the height that noise exceeds as rarely as `height` standard deviations; see `noise_threshold`.

    `read_variance` is (height or 1, width or 1); `skew` is the third moment's factor over that of the second^1.5.
    """
    n_rows, n_columns = smooth.shape
    by_row, by_column = read_variance.shape[0] > 1, read_variance.shape[1] > 1
    bend = skew * (height * height - np.float32(1.0)) / np.float32(6.0)
    for i in range(n_rows):
        for j in range(n_columns):
            level = max(smooth[i, j], least)
            read = read_variance[i if by_row else 0, j if by_column else 0]
            variance = max(excess * level + read, np.float32(1e-6))
            # sd (height + bend level / variance^1.5)
            out[i, j] = squares * (height * np.sqrt(variance) + bend * level / variance)


@njit(cache=True, nogil=True, error_model="numpy")
def local_maxima(image: Any, threshold: Any, neighbours: Any, out: Any) -> Any:
    """Fill `out` (n, 2) with (y, x) of pixels above the threshold that no neighbour exceeds; return how many.

    `threshold` is (height or 1, width or 1). Stops where `out` is full.
    """
    height, width = image.shape
    by_row, by_column = threshold.shape[0] > 1, threshold.shape[1] > 1
    n = 0
    for i in range(height):
        for j in range(width):
            value = image[i, j]
            if not value > threshold[i if by_row else 0, j if by_column else 0]:
                continue
            if (i > 0 and image[i - 1, j] > value) or (i < height - 1 and image[i + 1, j] > value):
                continue
            if (j > 0 and image[i, j - 1] > value) or (j < width - 1 and image[i, j + 1] > value):
                continue
            if neighbours == 8:
                if i > 0 and (
                    (j > 0 and image[i - 1, j - 1] > value) or (j < width - 1 and image[i - 1, j + 1] > value)
                ):
                    continue
                if i < height - 1 and (
                    (j > 0 and image[i + 1, j - 1] > value) or (j < width - 1 and image[i + 1, j + 1] > value)
                ):
                    continue
            if n == out.shape[0]:
                return n
            out[n, 0], out[n, 1] = i, j
            n += 1
    return n
