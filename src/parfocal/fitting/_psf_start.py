"""Compiled start values of the spot fit, and windowed moments for where it fails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_TAPS = np.array([70.0, 56.0, 28.0, 8.0, 1.0]) / 256.0  # binomial, sigma 1.4 px
_FAST = {"reassoc", "contract", "arcp", "nsz"}  # without nnan and ninf: both do occur
_RIVAL = 12.0
"""A start within so much of the best one's weighted sum of squares is tried too."""


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _smooth(count: Any, variance: Any, across: Any, out: Any) -> None:
    """Fill `out` with the smoothed photoelectrons; edges repeat."""
    height, width = count.shape
    for i in range(height):
        for j in range(width):
            total = _TAPS[0] * (count[i, j] - variance[i, j])
            for k in range(1, 5):
                left, right = max(j - k, 0), min(j + k, width - 1)
                total += _TAPS[k] * (count[i, left] - variance[i, left] + count[i, right] - variance[i, right])
            across[i, j] = total
    for i in range(height):
        for j in range(width):
            total = _TAPS[0] * across[i, j]
            for k in range(1, 5):
                total += _TAPS[k] * (across[max(i - k, 0), j] + across[min(i + k, height - 1), j])
            out[i, j] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _vertex(left: Any, middle: Any, right: Any) -> Any:
    """Return the offset of a parabola's top from the middle of three, -0.5 to 0.5."""
    bend = left - 2.0 * middle + right
    return min(max(0.5 * (left - right) / bend, -0.5), 0.5) if bend < 0.0 else 0.0


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _linear_fit(shape: Any, count: Any, variance: Any, weight: Any) -> Any:
    """Return (gain, photons, background) of the weighted least squares of photons * shape + background."""
    see = se = s = sne = sn = 0.0
    for i in range(count.shape[0]):
        for j in range(count.shape[1]):
            w, e, n = weight[i, j], shape[i, j], count[i, j] - variance[i, j]
            see += w * e * e
            se += w * e
            s += w
            sne += w * e * n
            sn += w * n
    determinant = see * s - se * se
    if not determinant > 1e-9 * see * s:
        return -np.inf, 0.0, 0.0
    photons, background = (sne * s - sn * se) / determinant, (see * sn - se * sne) / determinant
    if not photons > 0.0:
        return -np.inf, 0.0, 0.0
    return photons * sne + background * sn, photons, max(background, 0.0)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _spot(x: Any, y: Any, sigma_x: Any, sigma_y: Any, theta: Any, out: Any) -> None:
    """Fill a sampled Gaussian as wide as the pixel-integrated one: near enough to start from."""
    height, width = out.shape
    kx, ky = 0.5 / (sigma_x**2 + 1.0 / 12.0), 0.5 / (sigma_y**2 + 1.0 / 12.0)
    peak = math.sqrt(kx * ky) / math.pi
    if theta == 0.0:
        for j in range(width):
            out[0, j] = math.exp(-kx * (j - x) ** 2)
        for i in range(height - 1, -1, -1):  # row 0 last: the others are made from it
            row = peak * math.exp(-ky * (i - y) ** 2)
            for j in range(width):
                out[i, j] = row * out[0, j]
        return
    cos, sin = math.cos(theta), math.sin(theta)
    for i in range(height):
        for j in range(width):
            u, v = cos * (j - x) - sin * (i - y), sin * (j - x) + cos * (i - y)
            out[i, j] = peak * math.exp(-kx * u * u - ky * v * v)


@njit(cache=True, nogil=True, error_model="numpy")
def starts(
    counts: Any, variances: Any, candidates: Any, centers: Any, states: Any, n_rivals: Any, work: Any
) -> None:
    """Fill up to three start states a picture, best first, NaN photons where there is none.

    The centre is the row of `centers` (n, 2: x, y), or the top of the smoothed picture where there are no rows. Of
    the candidates (n, 4: sigma_x, sigma_y, theta, z) those win whose spot there, with the best photons and
    background, explains most of the picture.
    """
    height, width = counts.shape[1:]
    size = height * width
    across, smooth = work[0, :size].reshape(height, width), work[1, :size].reshape(height, width)
    weight, shape = work[2, :size].reshape(height, width), work[3, :size].reshape(height, width)
    n_candidates = candidates.shape[0]
    found = np.empty((n_candidates, 3))
    for k in range(counts.shape[0]):
        count, variance = counts[k], variances[k if variances.shape[0] > 1 else 0]
        for start in range(states.shape[1]):
            for m in range(states.shape[2]):
                states[k, start, m] = np.nan
            states[k, start, 6] = candidates[0, 2]
        n_rivals[k] = 0
        _smooth(count, variance, across, smooth)
        y = x = 0
        for i in range(height):
            for j in range(width):
                if smooth[i, j] > smooth[y, x]:
                    y, x = i, j
        top = smooth[y, x]
        if not (math.isfinite(top) and top > 0.0):
            continue
        for i in range(height):
            for j in range(width):
                weight[i, j] = 1.0 / (max(smooth[i, j], 1e-3 * top) + variance[i, j])
        center_x, center_y = float(x), float(y)
        if centers.shape[0] > 0:
            center_x, center_y = centers[k, 0], centers[k, 1]
        elif 0 < x < width - 1:
            center_x += _vertex(smooth[y, x - 1], top, smooth[y, x + 1])
        if centers.shape[0] == 0 and 0 < y < height - 1:
            center_y += _vertex(smooth[y - 1, x], top, smooth[y + 1, x])
        for c in range(n_candidates):
            _spot(center_x, center_y, candidates[c, 0], candidates[c, 1], candidates[c, 2], shape)
            found[c, 0], found[c, 1], found[c, 2] = _linear_fit(shape, count, variance, weight)
        best = -np.inf
        for start in range(states.shape[1]):
            c = 0
            for other in range(n_candidates):
                if found[other, 0] > found[c, 0]:
                    c = other
            if not found[c, 0] > -np.inf:
                break
            if start == 0:
                best = found[c, 0]
            if found[c, 0] > best - _RIVAL:
                n_rivals[k] = start + 1
            p = states[k, start]
            p[0], p[1], p[2], p[3] = center_x, center_y, found[c, 1], found[c, 2]
            p[4], p[5], p[6], p[7] = candidates[c, 0], candidates[c, 1], candidates[c, 2], candidates[c, 3]
            for near in range(max(c - 1, 0), min(c + 2, n_candidates)):
                found[near, 0] = -np.inf  # a neighbour is no other start


@njit(cache=True, error_model="numpy")
def starts_of_one(
    counts: Any, variances: Any, candidates: Any, centers: Any, states: Any, n_rivals: Any, work: Any
) -> None:
    """Do as `starts`, and keep the interpreter meanwhile: to get it back can take longer than one picture does."""
    starts(counts, variances, candidates, centers, states, n_rivals, work)


@njit(cache=True, nogil=True, error_model="numpy")
def moments(counts: Any, variances: Any, out: Any) -> None:
    """Fill (n, 6) x, y, photons, background, sigma_x, sigma_y by moments under a Gaussian window.

    Background is the median of the border; the window (half the picture's width at half height) follows the
    centre, and its narrowing of the widths is undone, as is the pixel's widening.
    """
    height, width = counts.shape[1:]
    border = np.empty(2 * height + 2 * width - 4)
    signal = np.empty((height, width))
    window = min(height, width) / 5.0
    for k in range(counts.shape[0]):
        variance = variances[k if variances.shape[0] > 1 else 0]
        n = 0
        total = 0.0
        for i in range(height):
            for j in range(width):
                signal[i, j] = counts[k, i, j] - variance[i, j]
                total += signal[i, j]
                if i == 0 or i == height - 1 or j == 0 or j == width - 1:
                    m = n
                    while m > 0 and border[m - 1] > signal[i, j]:
                        border[m] = border[m - 1]
                        m -= 1
                    border[m] = signal[i, j]
                    n += 1
        background = 0.5 * (border[(n - 1) // 2] + border[n // 2])
        x, y = 0.5 * (width - 1), 0.5 * (height - 1)
        sigma_x = sigma_y = np.nan
        for _ in range(12):
            s = sx = sy = sxx = syy = 0.0
            for i in range(height):
                for j in range(width):
                    r2 = (j - x) ** 2 + (i - y) ** 2
                    w = math.exp(-0.5 * r2 / window**2) * (signal[i, j] - background)
                    s += w
                    sx += w * (j - x)
                    sy += w * (i - y)
                    sxx += w * (j - x) ** 2
                    syy += w * (i - y) ** 2
            if not s > 0.0:
                x = y = np.nan
                break
            mean_x, mean_y = sx / s, sy / s
            sigma_x = _unwindowed(sxx / s - mean_x**2, window)
            sigma_y = _unwindowed(syy / s - mean_y**2, window)
            x = min(max(x + mean_x, 0.0), width - 1.0)
            y = min(max(y + mean_y, 0.0), height - 1.0)
        out[k, 0], out[k, 1] = x, y
        out[k, 2], out[k, 3] = total - height * width * background, background
        out[k, 4], out[k, 5] = sigma_x, sigma_y


@njit(cache=True, nogil=True, error_model="numpy")
def _unwindowed(variance: Any, window: Any) -> Any:
    """Return the width behind a variance that a window has narrowed; NaN where there is none."""
    if not 0.0 < variance < window**2:
        return np.nan
    narrower = 1.0 / (1.0 / variance - 1.0 / window**2) - 1.0 / 12.0
    return math.sqrt(narrower) if narrower > 0.0 else np.nan
