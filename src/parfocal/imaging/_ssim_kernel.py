"""Structural similarity over a 7x7 uniform window, one band of rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

_FASTMATH = {"reassoc", "contract", "nsz", "arcp", "afn"}
SIDE = 7


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _add_row(a: Any, b: Any, sign: float, columns: Any) -> None:
    ca, cb, caa, cbb, cab = columns[0], columns[1], columns[2], columns[3], columns[4]
    for x in range(a.size):
        u = np.float64(a[x])
        v = np.float64(b[x])
        ca[x] += sign * u
        cb[x] += sign * v
        caa[x] += sign * u * u
        cbb[x] += sign * v * v
        cab[x] += sign * u * v


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _window_sums(column: Any, out: Any) -> None:
    for x in range(out.size):
        out[x] = (
            column[x]
            + column[x + 1]
            + column[x + 2]
            + column[x + 3]
            + column[x + 4]
            + column[x + 5]
            + column[x + 6]
        )


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _row_ssim(sums: Any, reference_a: float, reference_b: float, c1: float, c2: float) -> float:
    n = float(SIDE * SIDE)
    per_sample = 1.0 / (n - 1.0)
    total = 0.0
    sa, sb, saa, sbb, sab = sums[0], sums[1], sums[2], sums[3], sums[4]
    for x in range(sa.size):
        ma, mb = sa[x] / n, sb[x] / n
        va = (saa[x] - sa[x] * ma) * per_sample
        vb = (sbb[x] - sb[x] * mb) * per_sample
        vab = (sab[x] - sa[x] * mb) * per_sample
        ma += reference_a
        mb += reference_b
        total += ((2.0 * ma * mb + c1) * (2.0 * vab + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return total


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def band_ssim(
    a: Any, b: Any, first: int, end: int, reference_a: float, reference_b: float, c1: float, c2: float
) -> float:
    """Return the sum of the similarities of windows whose first row is in `[first, end)`.

    `a`, `b` are the frames less their references, so that variances keep their digits.
    """
    width = a.shape[1]
    columns = np.zeros((5, width))
    sums = np.empty((5, width - SIDE + 1))
    total = 0.0
    for y in range(first, end):
        if (y - first) % 64 == 0:  # afresh now and then, so that rounding does not gather
            columns[:] = 0.0
            for j in range(SIDE):
                _add_row(a[y + j], b[y + j], 1.0, columns)
        else:
            _add_row(a[y - 1], b[y - 1], -1.0, columns)
            _add_row(a[y + SIDE - 1], b[y + SIDE - 1], 1.0, columns)
        for k in range(5):
            _window_sums(columns[k], sums[k])
        total += _row_ssim(sums, reference_a, reference_b, c1, c2)
    return total
