"""One pass over a band of rows: every sum that the sharpness scores need, in float32, read once.

The image is walked in tiles of `_TILE` columns, so that the few rows in flight stay in the first-level cache:
a row is converted, the 3x3 operators run on the last three rows, the Laplacian row is smoothed along x into a
ring, and the ring is smoothed along y. Loops along a row carry no branch, so that they become SIMD code. Sums
are float32 along a tile's row and float64 across rows.

`fastmath` leaves out `nnan` and `ninf`: a NaN pixel must reach the sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

_FASTMATH = {"reassoc", "contract", "nsz", "arcp", "afn"}
_TILE = 512
_PAIRS = 6  # taps are taken six pairs at a time, unrolled by hand, so that any radius runs at full speed

# What a band writes, in this order.
SUM, SUM_SQUARES, LAPLACIAN, LAPLACIAN_SQUARES, TENENGRAD, BRENNER, VOLLATH, ROW_SHIFT, IMMERKAER, ABS_LOG = range(
    10
)
N_SUMS = 10


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _convert(source: Any, reference: Any, row: Any) -> None:
    for x in range(row.size):
        row[x] = np.float32(source[x] - reference)


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _moments(row: Any) -> tuple[Any, Any]:
    total = np.float32(0)
    squares = np.float32(0)
    for x in range(row.size):
        total += row[x]
        squares += row[x] * row[x]
    return total, squares


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _laplacian(above: Any, row: Any, below: Any, laplacian: Any) -> None:
    for x in range(laplacian.size):
        laplacian[x] = above[x + 1] + below[x + 1] + row[x] + row[x + 2] - np.float32(4) * row[x + 1]


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _stencils(above: Any, row: Any, below: Any) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    laplacian = np.float32(0)
    laplacian_squares = np.float32(0)
    tenengrad = np.float32(0)
    brenner = np.float32(0)
    vollath = np.float32(0)
    row_shift = np.float32(0)
    immerkaer = np.float32(0)
    two = np.float32(2)
    four = np.float32(4)
    for x in range(row.size - 2):
        left, centre, right = row[x], row[x + 1], row[x + 2]
        sum_left, sum_centre, sum_right = (
            above[x] + below[x],
            above[x + 1] + below[x + 1],
            above[x + 2] + below[x + 2],
        )
        step_left, step_centre, step_right = (
            below[x] - above[x],
            below[x + 1] - above[x + 1],
            below[x + 2] - above[x + 2],
        )
        across = right - left
        value = sum_centre + left + right - four * centre
        laplacian += value
        laplacian_squares += value * value
        gradient_x = sum_right - sum_left + two * across
        gradient_y = step_left + step_right + two * step_centre
        tenengrad += gradient_x * gradient_x + gradient_y * gradient_y
        brenner += across * across + step_centre * step_centre
        vollath += left * (centre - right)
        row_shift += centre - right
        immerkaer += abs(sum_left + sum_right - two * (sum_centre + left + right) + four * centre)
    return laplacian, laplacian_squares, tenengrad, brenner, vollath, row_shift, immerkaer


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _smooth_x(laplacian: Any, radius: int, taps: Any, smoothed: Any) -> None:
    n = smoothed.size
    for k in range(1, radius + 1, _PAIRS):
        t0 = taps[0] if k == 1 else np.float32(0)
        t1, t2, t3, t4, t5, t6 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3], taps[k + 4], taps[k + 5]
        # views that begin at the outermost neighbour: every index below is a small constant
        centre = laplacian[radius:]
        west = laplacian[radius - k - 5 :]
        east = laplacian[radius + k :]
        for x in range(n):
            value = (
                t0 * centre[x]
                + t1 * (west[x + 5] + east[x])
                + t2 * (west[x + 4] + east[x + 1])
                + t3 * (west[x + 3] + east[x + 2])
                + t4 * (west[x + 2] + east[x + 3])
                + t5 * (west[x + 1] + east[x + 4])
                + t6 * (west[x] + east[x + 5])
            )
            smoothed[x] = value if k == 1 else smoothed[x] + value


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _abs_of_smooth_y(ring: Any, y: int, radius: int, taps: Any, scratch: Any) -> Any:
    length = ring.shape[0]
    n = scratch.size
    centre = ring[y % length, :n]
    total = np.float32(0)
    for k in range(1, radius + 1, _PAIRS):
        t0 = taps[0] if k == 1 else np.float32(0)
        t1, t2, t3, t4, t5, t6 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3], taps[k + 4], taps[k + 5]
        n1, s1 = ring[(y - k) % length, :n], ring[(y + k) % length, :n]
        n2, s2 = ring[(y - k - 1) % length, :n], ring[(y + k + 1) % length, :n]
        n3, s3 = ring[(y - k - 2) % length, :n], ring[(y + k + 2) % length, :n]
        n4, s4 = ring[(y - k - 3) % length, :n], ring[(y + k + 3) % length, :n]
        n5, s5 = ring[(y - k - 4) % length, :n], ring[(y + k + 4) % length, :n]
        n6, s6 = ring[(y - k - 5) % length, :n], ring[(y + k + 5) % length, :n]
        first, last = k == 1, k + _PAIRS > radius
        for x in range(n):
            value = (
                t0 * centre[x]
                + t1 * (n1[x] + s1[x])
                + t2 * (n2[x] + s2[x])
                + t3 * (n3[x] + s3[x])
                + t4 * (n4[x] + s4[x])
                + t5 * (n5[x] + s5[x])
                + t6 * (n6[x] + s6[x])
            )
            if not first:
                value += scratch[x]
            if last:
                total += abs(value)
            else:
                scratch[x] = value
    return total


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def band_sums(image: Any, reference: Any, first_row: int, end_row: int, taps: Any, sums: Any) -> None:
    """Sum over the rows `[first_row, end_row)`, each counted by its centre; neighbours are read outside them.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        C-contiguous, native byte order.
    reference : float
        Subtracted from every pixel before float32 arithmetic, so that a large mean costs no precision.
    first_row, end_row : int
        The band.
    taps : ndarray of float32
        Weights of the symmetric Gaussian from its centre outwards; 1 + a multiple of six of them.
    sums : ndarray of float64, shape (N_SUMS,)
        Receives the sums.
    """
    height, width = image.shape
    radius = taps.size - 1
    margin = radius + 1  # the Laplacian's pixel and the Gaussian's
    sums[:] = 0.0
    rows = np.empty((3, _TILE + 2 * margin), np.float32)
    laplacian = np.empty(_TILE + 2 * margin, np.float32)
    ring = np.empty((2 * radius + 1, _TILE), np.float32)
    scratch = np.empty(_TILE, np.float32)
    first_read = max(0, first_row - margin)
    end_read = min(height, end_row + margin)
    first_stencil, end_stencil = max(1, first_row), min(height - 1, end_row)
    first_log, end_log = max(margin, first_row), min(height - margin, end_row)
    for tile in range(0, width, _TILE):
        tile_end = min(width, tile + _TILE)
        left, right = max(0, tile - margin), min(width, tile_end + margin)
        n = right - left
        own, own_end = tile - left, tile_end - left
        inner, inner_end = max(1, tile) - left, min(width - 1, tile_end) - left
        log, log_end = max(margin, tile) - left, min(width - margin, tile_end) - left
        n_log = max(0, log_end - log)
        for y_read in range(first_read, end_read):
            below = rows[y_read % 3, :n]
            _convert(image[y_read, left:right], reference, below)
            if first_row <= y_read < end_row:
                total, squares = _moments(below[own:own_end])
                sums[SUM] += total
                sums[SUM_SQUARES] += squares
            if y_read < first_read + 2:
                continue
            y = y_read - 1
            above, row = rows[(y - 1) % 3, :n], rows[y % 3, :n]
            if first_stencil <= y < end_stencil and inner < inner_end:
                window = slice(inner - 1, inner_end + 1)
                values = _stencils(above[window], row[window], below[window])
                sums[LAPLACIAN] += values[0]
                sums[LAPLACIAN_SQUARES] += values[1]
                sums[TENENGRAD] += values[2]
                sums[BRENNER] += values[3]
                sums[VOLLATH] += values[4]
                sums[ROW_SHIFT] += values[5]
                sums[IMMERKAER] += values[6]
            if n_log == 0:
                continue
            _laplacian(above, row, below, laplacian[: n - 2])
            # laplacian[x] belongs to buffer column x + 1
            _smooth_x(laplacian[log - margin :], radius, taps, ring[y % ring.shape[0], :n_log])
            y_log = y - radius
            if first_log <= y_log < end_log:
                sums[ABS_LOG] += _abs_of_smooth_y(ring, y_log, radius, taps, scratch[:n_log])
