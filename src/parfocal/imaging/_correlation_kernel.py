"""Sums behind correlations: each frame read once, float64 sums, pixels that are no numbers left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

# nnan and ninf are left out: a NaN must be seen
_FASTMATH = {"reassoc", "contract", "nsz", "arcp", "afn"}

COUNT, A, B, AA, BB, AB = range(6)


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _row_sums(
    a: Any, b: Any, inside: Any, reference_a: Any, reference_b: Any
) -> tuple[Any, Any, Any, Any, Any, Any]:
    count = 0.0
    sum_a = sum_b = sum_aa = sum_bb = sum_ab = 0.0
    for x in range(a.size):
        u = np.float64(a[x] - reference_a)
        v = np.float64(b[x] - reference_b)
        counts = (inside[x] != 0) & (abs(u) < np.inf) & (abs(v) < np.inf)
        u = u if counts else 0.0
        v = v if counts else 0.0
        count += 1.0 if counts else 0.0
        sum_a += u
        sum_b += v
        sum_aa += u * u
        sum_bb += v * v
        sum_ab += u * v
    return count, sum_a, sum_b, sum_aa, sum_bb, sum_ab


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _first_finite(a: Any, y0: int, y1: int, x0: int, x1: int) -> Any:
    for y in range(y0, y1):
        for x in range(x0, x1):
            if abs(a[y, x]) < np.inf:
                return a[y, x]
    return np.float32(0)


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def pair_ncc(a: Any, b: Any, ay: int, ax: int, by: int, bx: int, height: int, width: int, inside: Any) -> float:
    """Return Pearson's correlation of two float32 rectangles, one in each frame; NaN where one is flat.

    `inside` is a uint8 mask of the first frame's shape, or of shape (0, 0) for all pixels.
    """
    # measured from a pixel of its own, a flat frame is exactly 0
    reference_a = _first_finite(a, ay, ay + height, ax, ax + width)
    reference_b = _first_finite(b, by, by + height, bx, bx + width)
    everything = np.ones(width, np.uint8)
    n = sum_a = sum_b = sum_aa = sum_bb = sum_ab = 0.0
    for y in range(height):
        row_inside = everything if inside.size == 0 else inside[ay + y, ax : ax + width]
        values = _row_sums(
            a[ay + y, ax : ax + width], b[by + y, bx : bx + width], row_inside, reference_a, reference_b
        )
        n += values[0]
        sum_a += values[1]
        sum_b += values[2]
        sum_aa += values[3]
        sum_bb += values[4]
        sum_ab += values[5]
    if n < 2:
        return np.nan
    variance_a = sum_aa - sum_a * sum_a / n
    variance_b = sum_bb - sum_b * sum_b / n
    # what rounding alone leaves of a frame that is flat but for one pixel of the reference
    if variance_a <= 1e-12 * sum_aa or variance_b <= 1e-12 * sum_bb:
        return np.nan
    r = (sum_ab - sum_a * sum_b / n) / np.sqrt(variance_a * variance_b)
    return min(1.0, max(-1.0, r))


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def binned_row(frame: Any, bin_px: int, reference: Any, out: Any) -> None:
    """Write the frame's bins of `bin_px` x `bin_px` pixels, less a reference, into a row of float32."""
    height, width = frame.shape[0] // bin_px, frame.shape[1] // bin_px
    if bin_px == 1:
        for y in range(height):
            source = frame[y]
            target = out[y * width : (y + 1) * width]
            for x in range(width):
                target[x] = np.float32(source[x] - reference)
        return
    per_bin = np.float32(1.0 / (bin_px * bin_px))
    line = np.empty(width * bin_px, np.float32)
    if bin_px == 4:
        # The usual one: four rows at once, so that the line is written once and not four times.
        for y in range(height):
            row_0, row_1, row_2, row_3 = frame[4 * y], frame[4 * y + 1], frame[4 * y + 2], frame[4 * y + 3]
            for x in range(line.size):
                line[x] = (
                    np.float32(row_0[x] - reference)
                    + np.float32(row_1[x] - reference)
                    + np.float32(row_2[x] - reference)
                    + np.float32(row_3[x] - reference)
                )
            target = out[y * width : (y + 1) * width]
            for x in range(width):
                target[x] = (line[4 * x] + line[4 * x + 1] + line[4 * x + 2] + line[4 * x + 3]) * per_bin
        return
    for y in range(height):
        line[:] = np.float32(0)
        for j in range(bin_px):
            source = frame[y * bin_px + j]
            for x in range(line.size):
                line[x] += np.float32(source[x] - reference)
        target = out[y * width : (y + 1) * width]
        for x in range(width):
            total = np.float32(0)
            for i in range(bin_px):
                total += line[x * bin_px + i]
            target[x] = total * per_bin


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def centre(row: Any) -> bool:
    """Take its mean from a row of float32, a flat one becoming exactly 0; False, and unchanged, if not finite."""
    total = 0.0
    smallest = largest = row[0]
    for x in range(row.size):
        total += np.float64(row[x])
        smallest = min(smallest, row[x])
        largest = max(largest, row[x])
    if not abs(total) < np.inf:
        return False
    mean = row[0] if smallest == largest else np.float32(total / row.size)
    for x in range(row.size):
        row[x] -= mean
    return True


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def without_hot_pixels(source: Any, low: Any, high: Any, target: Any) -> None:
    """Copy a float32 frame; a pixel far outside its neighbours and outside [low, high] becomes their mean."""
    height, width = source.shape
    for y in range(height):
        for x in range(width):
            value = source[y, x]
            target[y, x] = value
            if low <= value <= high:
                continue
            smallest = np.float32(np.inf)
            largest = np.float32(-np.inf)
            total = np.float32(0)
            n = 0
            for j in range(max(0, y - 1), min(height, y + 2)):
                for i in range(max(0, x - 1), min(width, x + 2)):
                    if (j == y and i == x) or not abs(source[j, i]) < np.inf:
                        continue
                    smallest = min(smallest, source[j, i])
                    largest = max(largest, source[j, i])
                    total += source[j, i]
                    n += 1
            spread = np.float32(2) * (largest - smallest)
            if n > 0 and not (smallest - spread <= value <= largest + spread):
                target[y, x] = total / np.float32(n)
