"""Products of every row with every other: a float32 matrix product that converts the camera's type on the way.

A BLAS would need the stack as float32 first, 42 MB for 40 frames of 512x512, and a 40 x 262,144 product is a shape
that its own threads get in each other's way with on a busy machine. Here a chunk of columns is converted into the
second-level cache and multiplied there, four rows by four, so that sixteen sums stay in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]

# nnan and ninf are left out: a NaN pixel must reach the products
_FASTMATH = {"reassoc", "contract", "nsz", "arcp", "afn"}
_CHUNK = 2048


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _four_by_four(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, block: Any) -> None:
    zero = np.float32(0)
    ae = af = ag = ah = be = bf = bg = bh = ce = cf = cg = ch = de = df = dg = dh = zero
    for x in range(a.size):
        p, q, r, s = a[x], b[x], c[x], d[x]
        t, u, v, w = e[x], f[x], g[x], h[x]
        ae += p * t
        af += p * u
        ag += p * v
        ah += p * w
        be += q * t
        bf += q * u
        bg += q * v
        bh += q * w
        ce += r * t
        cf += r * u
        cg += r * v
        ch += r * w
        de += s * t
        df += s * u
        dg += s * v
        dh += s * w
    block[0, 0] += ae
    block[0, 1] += af
    block[0, 2] += ag
    block[0, 3] += ah
    block[1, 0] += be
    block[1, 1] += bf
    block[1, 2] += bg
    block[1, 3] += bh
    block[2, 0] += ce
    block[2, 1] += cf
    block[2, 2] += cg
    block[2, 3] += ch
    block[3, 0] += de
    block[3, 1] += df
    block[3, 2] += dg
    block[3, 3] += dh


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def _convert(source: Any, reference: Any, row: Any) -> Any:
    total = np.float32(0)
    for x in range(source.size):
        value = np.float32(source[x] - reference)
        row[x] = value
        total += value
    return total


@njit(nogil=True, fastmath=_FASTMATH, error_model="numpy", cache=True)
def gram_band(rows: Any, references: Any, first: int, end: int, gram: Any, sums: Any) -> None:
    """Add up the products of all rows over the columns `[first, end)`, in blocks on and above the diagonal.

    Parameters
    ----------
    rows : ndarray of shape (n, p)
        C-contiguous, any real type.
    references : ndarray of float32 or float64, shape (n,)
        Taken from each row first: near its mean, so that float32 loses nothing.
    first, end : int
        The band of columns.
    gram : ndarray of float64, shape (m, m)
        Added to; m is n rounded up to a multiple of 4.
    sums : ndarray of float64, shape (n,)
        Sums of the rows less their references; added to.
    """
    n, m = rows.shape[0], gram.shape[0]
    chunk = np.zeros((m, _CHUNK), np.float32)
    for begin in range(first, end, _CHUNK):
        width = min(_CHUNK, end - begin)
        for i in range(n):
            sums[i] += _convert(rows[i, begin : begin + width], references[i], chunk[i, :width])
        for i in range(0, m, 4):
            for j in range(i, m, 4):
                _four_by_four(
                    chunk[i, :width],
                    chunk[i + 1, :width],
                    chunk[i + 2, :width],
                    chunk[i + 3, :width],
                    chunk[j, :width],
                    chunk[j + 1, :width],
                    chunk[j + 2, :width],
                    chunk[j + 3, :width],
                    gram[i : i + 4, j : j + 4],
                )
