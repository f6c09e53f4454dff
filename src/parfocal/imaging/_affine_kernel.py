"""Loops of `register_affine`, `warp` and `morph`: bilinear samples through a 3x3 matrix of (y, x, 1)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from parfocal.imaging._affine_layout import N_UNKNOWNS

_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}  # NaN stays NaN


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def _sample(image: NDArray[np.float32], y: float, x: float) -> float:
    """Return the image between its pixels; (y, x) must lie within it."""
    j = min(int(y), image.shape[0] - 2)
    i = min(int(x), image.shape[1] - 2)
    v, u = y - j, x - i
    top = image[j, i] + u * (image[j, i + 1] - image[j, i])
    low = image[j + 1, i] + u * (image[j + 1, i + 1] - image[j + 1, i])
    return top + v * (low - top)


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def normal_sums(
    fixed: NDArray[np.float32],
    slope_y: NDArray[np.float32],
    slope_x: NDArray[np.float32],
    moving: NDArray[np.float32],
    matrix: NDArray[np.float64],
    first: int,
    last: int,
    sums: NDArray[np.float64],
) -> None:
    """Add up the normal equations of one inverse-compositional step over rows `first` to `last`.

    For each fixed pixel that lies within the moving image: the change of the fixed image with the six affine
    parameters (lengths in units of the image's half side), and gain and offset that carry the moving image over.
    """
    height, width = fixed.shape
    cy, cx = 0.5 * (height - 1), 0.5 * (width - 1)
    unit = 2.0 / max(height, width)
    limit_y, limit_x = moving.shape[0] - 1.0, moving.shape[1] - 1.0
    row = np.empty(N_UNKNOWNS)
    row[7] = -1.0
    for y in range(first, last):
        yy = (y - cy) * unit
        for x in range(width):
            my = matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]
            mx = matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]
            if my < 0.0 or mx < 0.0 or my > limit_y or mx > limit_x:
                continue
            xx = (x - cx) * unit
            gy, gx, f = slope_y[y, x], slope_x[y, x], fixed[y, x]
            row[0], row[1], row[2] = gy, gy * yy, gy * xx
            row[3], row[4], row[5] = gx, gx * yy, gx * xx
            row[6] = -_sample(moving, my, mx)
            k = 0
            for i in range(N_UNKNOWNS):
                for j in range(i, N_UNKNOWNS):
                    sums[k] += row[i] * row[j]
                    k += 1
            for i in range(N_UNKNOWNS):
                sums[k + i] -= row[i] * f
            sums[k + N_UNKNOWNS] += f * f
            sums[k + N_UNKNOWNS + 1] += 1.0


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def warp_rows(
    image: NDArray[np.float32],
    matrix: NDArray[np.float64],
    fill: float,
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Fill rows of `out` with the image at `matrix @ (y, x, 1)`, `fill` where that lies outside."""
    limit_y, limit_x = image.shape[0] - 1.0, image.shape[1] - 1.0
    for y in range(first, last):
        for x in range(out.shape[1]):
            my = matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]
            mx = matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]
            # A whole number of pixels must not be lost to the last digit of a product.
            if my < -1e-6 or mx < -1e-6 or my > limit_y + 1e-6 or mx > limit_x + 1e-6:
                out[y, x] = fill
            else:
                out[y, x] = _sample(image, min(max(my, 0.0), limit_y), min(max(mx, 0.0), limit_x))


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def morph_rows(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    to_before: NDArray[np.float64],
    to_after: NDArray[np.float64],
    alpha: float,
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Fill rows of `out` with two images, each seen through its matrix, weighted 1 - alpha and alpha.

    Where both are there, the weights are feathered by how deep within its image each sample lies; where one
    is there, it keeps its weight.
    """
    by, bx = before.shape[0] - 1.0, before.shape[1] - 1.0
    ay, ax = after.shape[0] - 1.0, after.shape[1] - 1.0
    for y in range(first, last):
        for x in range(out.shape[1]):
            y0 = to_before[0, 0] * y + to_before[0, 1] * x + to_before[0, 2]
            x0 = to_before[1, 0] * y + to_before[1, 1] * x + to_before[1, 2]
            y1 = to_after[0, 0] * y + to_after[0, 1] * x + to_after[0, 2]
            x1 = to_after[1, 0] * y + to_after[1, 1] * x + to_after[1, 2]
            depth0 = min(min(y0, by - y0), min(x0, bx - x0)) + 1.0
            depth1 = min(min(y1, ay - y1), min(x1, ax - x1)) + 1.0
            value, w0, w1 = 0.0, 0.0, 0.0
            if depth0 > 1.0 - 1e-6:
                w0 = 1.0 - alpha
            if depth1 > 1.0 - 1e-6:
                w1 = alpha
            if w0 > 0.0 and w1 > 0.0:
                total = w0 * depth0 + w1 * depth1
                w0, w1 = w0 * depth0 / total, w1 * depth1 / total
            if w0 > 0.0:
                value += w0 * _sample(before, min(max(y0, 0.0), by), min(max(x0, 0.0), bx))
            if w1 > 0.0:
                value += w1 * _sample(after, min(max(y1, 0.0), ay), min(max(x1, 0.0), ax))
            out[y, x] = value


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def masked_correlation(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    matrix: NDArray[np.float64],
    y0: int,
    y1: int,
    x0: int,
    x1: int,
) -> tuple[float, int]:
    """Return Pearson's r over a window of the fixed image, where the moving one is there; and how many pixels."""
    limit_y, limit_x = moving.shape[0] - 1.0, moving.shape[1] - 1.0
    n, sf, sm, sff, smm, sfm = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    shift_f, shift_m = float(fixed[y0, x0]), float(moving[0, 0])
    for y in range(y0, y1):
        for x in range(x0, x1):
            my = matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]
            mx = matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]
            if my < -1e-6 or mx < -1e-6 or my > limit_y + 1e-6 or mx > limit_x + 1e-6:
                continue
            f = fixed[y, x] - shift_f
            m = _sample(moving, min(max(my, 0.0), limit_y), min(max(mx, 0.0), limit_x)) - shift_m
            n += 1
            sf += f
            sm += m
            sff += f * f
            smm += m * m
            sfm += f * m
    if n < 2:
        return math.nan, n
    var = (sff - sf * sf / n) * (smm - sm * sm / n)
    if var <= 0.0:
        return math.nan, n
    return (sfm - sf * sm / n) / math.sqrt(var), n
