"""Compiled parts of the spot fit: image model, score and Fisher matrix, start values, the climb, moments.

Everything that a climb calls is here: numba's file cache looks at a kernel's own file alone. Nothing in a loop
allocates; a thread brings its own `workspace`. Pixels come as `count` = photoelectrons + read variance and
`variance` = read variance, both divided by the excess noise factor (Huang 2013: their sum is taken as Poisson).
Light that is known to be there beside the spot is added to `variance` alone: it is in the count already. In the
modes of least squares `count` is photoelectrons and `variance` the pixel's weight.

A state is (x, y, photons, background, sigma_x, sigma_y, theta, z); what of it is free depends on the mode.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

WIDTHS, WIDTHS_AND_THETA, DEPTH, ROUND, WIDTHS_SQUARES, ROUND_SQUARES = range(6)
"""Modes: free are x, y, photons, background and (both widths | both widths and theta | z | one width for both);
the last two minimize weighted squares, the others the negative log-likelihood."""

N_FREE = (6, 7, 5, 5, 6, 5)

CONVERGED, NOT_CONVERGED, OUTSIDE, WIDTH_AT_LIMIT, NO_SPOT, NOT_FINITE, AT_LIMIT = range(7)
N_STATE, N_STARTS = 8, 3
DEVIANCE, EVALUATIONS, STATUS, N_OUT = 8, 9, 10, 11
"""Columns of a result after the state."""

_SQRT_HALF = math.sqrt(0.5)
_ONE_OVER_SQRT_TAU = 1.0 / math.sqrt(2.0 * math.pi)
_FLOOR = 1e-3
_WIDTH_MIN_PX, _WIDTH_MAX_SIZES = 0.25, 1.5
_ROTATED_ABOVE_RAD = 0.01
_MAX_STEPS = 100
_DONE = 1e-6
_FAST = {"reassoc", "contract", "arcp", "nsz"}  # without nnan and ninf: both do occur


def workspace(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return scratch memory of one thread for pictures of a size."""
    return np.empty((16, max(height * width, 64)))


# Loops for what an assignment of slices would say: numba compiles those several times slower.


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(source: Any, target: Any) -> None:
    for k in range(source.size):
        target[k] = source[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _copy_square(source: Any, target: Any) -> None:
    for k in range(source.shape[0]):
        for m in range(source.shape[1]):
            target[k, m] = source[k, m]


@njit(cache=True, nogil=True, error_model="numpy")
def _clear(score: Any, fisher: Any) -> None:
    for k in range(score.size):
        score[k] = 0.0
        for m in range(score.size):
            fisher[k, m] = 0.0


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _axis(center: Any, sigma: Any, size: Any, share: Any, by_center: Any, by_sigma: Any) -> None:
    """Fill the share of light in each pixel along an axis and its derivatives by centre and by width."""
    scale = _SQRT_HALF / sigma
    height = _ONE_OVER_SQRT_TAU / sigma
    over_sigma = 1.0 / sigma
    u = -0.5 - center
    t = u * scale
    erf_left, bell_left = math.erf(t), height * math.exp(-t * t)
    for j in range(size):
        right = j + 0.5 - center
        t = right * scale
        erf_right, bell_right = math.erf(t), height * math.exp(-t * t)
        share[j] = 0.5 * (erf_right - erf_left)
        by_center[j] = bell_left - bell_right
        by_sigma[j] = (u * bell_left - right * bell_right) * over_sigma
        u, erf_left, bell_left = right, erf_right, bell_right


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _sums_separable(squares: Any, p: Any, count: Any, variance: Any, score: Any, fisher: Any, work: Any) -> Any:
    """Fill score and Fisher matrix of the six parameters at theta = 0; return the negative log-likelihood.

    mu = photons a_j c_i + background, so a row needs 14 sums over its pixels, whatever the row's own factors.
    With `squares`: half the weighted squares, their slope, and Gauss and Newton's matrix.
    """
    height, width = count.shape
    a, a1, a2 = work[0], work[1], work[2]
    c, c1, c2 = work[3], work[4], work[5]
    weight, pull = work[6], work[7]
    _axis(p[0], p[4], width, a, a1, a2)
    _axis(p[1], p[5], height, c, c1, c2)
    photons, background = p[2], p[3]
    _clear(score, fisher)
    nll = 0.0
    for i in range(height):
        bright = photons * c[i]
        if squares:
            for j in range(width):
                w = variance[i, j]
                r = count[i, j] - bright * a[j] - background
                nll += 0.5 * w * r * r
                weight[j] = w
                pull[j] = w * r
        else:
            for j in range(width):
                mean = max(bright * a[j] + background + variance[i, j], _FLOOR)
                weight[j] = mean
            for j in range(width):
                nll += weight[j] - count[i, j] * math.log(weight[j])
            for j in range(width):
                w = 1.0 / weight[j]
                r = count[i, j] * w - 1.0
                weight[j] = w
                pull[j] = r
        r0 = ra = r1 = r2 = 0.0
        s0 = sa = s1 = s2 = saa = sa1 = sa2 = s11 = s12 = s22 = 0.0
        for j in range(width):
            r = pull[j]
            r0 += r
            ra += r * a[j]
            r1 += r * a1[j]
            r2 += r * a2[j]
        for j in range(width):
            w = weight[j]
            wa, w1, w2 = w * a[j], w * a1[j], w * a2[j]
            s0 += w
            sa += wa
            s1 += w1
            s2 += w2
            saa += wa * a[j]
            sa1 += wa * a1[j]
            sa2 += wa * a2[j]
            s11 += w1 * a1[j]
            s12 += w1 * a2[j]
            s22 += w2 * a2[j]
        e, f, h = c[i], c1[i], c2[i]
        score[0] += e * r1
        score[1] += f * ra
        score[2] += e * ra
        score[3] += r0
        score[4] += e * r2
        score[5] += h * ra
        fisher[0, 0] += e * e * s11
        fisher[1, 0] += e * f * sa1
        fisher[2, 0] += e * e * sa1
        fisher[3, 0] += e * s1
        fisher[4, 0] += e * e * s12
        fisher[5, 0] += e * h * sa1
        fisher[1, 1] += f * f * saa
        fisher[2, 1] += e * f * saa
        fisher[3, 1] += f * sa
        fisher[4, 1] += e * f * sa2
        fisher[5, 1] += f * h * saa
        fisher[2, 2] += e * e * saa
        fisher[3, 2] += e * sa
        fisher[4, 2] += e * e * sa2
        fisher[5, 2] += e * h * saa
        fisher[3, 3] += s0
        fisher[4, 3] += e * s2
        fisher[5, 3] += h * sa
        fisher[4, 4] += e * e * s22
        fisher[5, 4] += e * h * sa2
        fisher[5, 5] += h * h * saa
    for k in (0, 1, 4, 5):
        score[k] *= photons
        for m in range(6):
            fisher[max(k, m), min(k, m)] *= photons
        fisher[k, k] *= photons
    return nll


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _sums_rotated(p: Any, count: Any, variance: Any, score: Any, fisher: Any) -> Any:
    """As `_sums_separable` for axes turned by theta, with theta as a seventh parameter.

    A pixel is taken as turned with the axes: its second moments are the same, and the error stays below 1e-3
    of the peak for widths from 0.8 px up.
    """
    height, width = count.shape
    cos, sin = math.cos(p[6]), math.sin(p[6])
    photons, background, sigma_u, sigma_v = p[2], p[3], p[4], p[5]
    scale_u, scale_v = _SQRT_HALF / sigma_u, _SQRT_HALF / sigma_v
    peak_u, peak_v = _ONE_OVER_SQRT_TAU / sigma_u, _ONE_OVER_SQRT_TAU / sigma_v
    _clear(score, fisher)
    nll = 0.0
    for i in range(height):
        dy = i - p[1]
        for j in range(width):
            dx = j - p[0]
            u, v = cos * dx - sin * dy, sin * dx + cos * dy
            left, right = (u - 0.5) * scale_u, (u + 0.5) * scale_u
            low, high = (v - 0.5) * scale_v, (v + 0.5) * scale_v
            share_u, share_v = 0.5 * (math.erf(right) - math.erf(left)), 0.5 * (math.erf(high) - math.erf(low))
            bell_left, bell_right = peak_u * math.exp(-left * left), peak_u * math.exp(-right * right)
            bell_low, bell_high = peak_v * math.exp(-low * low), peak_v * math.exp(-high * high)
            by_u, by_v = (bell_right - bell_left) * share_v, (bell_high - bell_low) * share_u
            d0 = -photons * (cos * by_u + sin * by_v)
            d1 = photons * (sin * by_u - cos * by_v)
            d2 = share_u * share_v
            d4 = photons * share_v * ((u - 0.5) * bell_left - (u + 0.5) * bell_right) / sigma_u
            d5 = photons * share_u * ((v - 0.5) * bell_low - (v + 0.5) * bell_high) / sigma_v
            d6 = photons * (u * by_v - v * by_u)
            mean = max(photons * d2 + background + variance[i, j], _FLOOR)
            nll += mean - count[i, j] * math.log(mean)
            w = 1.0 / mean
            r = count[i, j] * w - 1.0
            score[0] += r * d0
            score[1] += r * d1
            score[2] += r * d2
            score[3] += r
            score[4] += r * d4
            score[5] += r * d5
            score[6] += r * d6
            w0, w1, w2, w4, w5, w6 = w * d0, w * d1, w * d2, w * d4, w * d5, w * d6
            fisher[0, 0] += w0 * d0
            fisher[1, 0] += w1 * d0
            fisher[2, 0] += w2 * d0
            fisher[3, 0] += w0
            fisher[4, 0] += w4 * d0
            fisher[5, 0] += w5 * d0
            fisher[6, 0] += w6 * d0
            fisher[1, 1] += w1 * d1
            fisher[2, 1] += w2 * d1
            fisher[3, 1] += w1
            fisher[4, 1] += w4 * d1
            fisher[5, 1] += w5 * d1
            fisher[6, 1] += w6 * d1
            fisher[2, 2] += w2 * d2
            fisher[3, 2] += w2
            fisher[4, 2] += w4 * d2
            fisher[5, 2] += w5 * d2
            fisher[6, 2] += w6 * d2
            fisher[3, 3] += w
            fisher[4, 3] += w4
            fisher[5, 3] += w5
            fisher[6, 3] += w6
            fisher[4, 4] += w4 * d4
            fisher[5, 4] += w5 * d4
            fisher[6, 4] += w6 * d4
            fisher[5, 5] += w5 * d5
            fisher[6, 5] += w6 * d5
            fisher[6, 6] += w6 * d6
    return nll


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _width(curve: Any, z: Any) -> Any:
    """Return the width of a curve (sigma0, center, depth, a, b) at z and its slope."""
    x = (z - curve[1]) / curve[2]
    square = max(1.0 + x * x * (1.0 + x * (curve[3] + x * curve[4])), 1e-6)
    growth = x * (2.0 + x * (3.0 * curve[3] + x * 4.0 * curve[4]))
    width = curve[0] * math.sqrt(square)
    return width, curve[0] * curve[0] * growth / (2.0 * curve[2] * width)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def sums(mode: Any, p: Any, curves: Any, count: Any, variance: Any, score: Any, fisher: Any, work: Any) -> Any:
    """Fill score and the Fisher matrix's lower half of a mode's free parameters; return -log-likelihood.

    In `DEPTH` the widths of `p` are set from its z, and z is the fifth parameter; of a round spot it is the width.
    """
    slope_x = slope_y = 1.0
    if mode == DEPTH:
        p[4], slope_x = _width(curves[0], p[7])
        p[5], slope_y = _width(curves[1], p[7])
    if mode == WIDTHS_AND_THETA or abs(p[6]) > _ROTATED_ABOVE_RAD:
        nll = _sums_rotated(p, count, variance, score, fisher)
    else:
        nll = _sums_separable(mode >= WIDTHS_SQUARES, p, count, variance, score, fisher, work)
    if mode == DEPTH or mode == ROUND or mode == ROUND_SQUARES:
        score[4] = slope_x * score[4] + slope_y * score[5]
        for k in range(4):
            fisher[4, k] = slope_x * fisher[4, k] + slope_y * fisher[5, k]
        both = 2.0 * slope_x * slope_y * fisher[5, 4]
        fisher[4, 4] = slope_x * slope_x * fisher[4, 4] + both + slope_y * slope_y * fisher[5, 5]
    return nll


@njit(cache=True, nogil=True, error_model="numpy")
def _factor(matrix: Any, damping: Any, n: Any, lower: Any) -> Any:
    """Fill the Cholesky factor of matrix + damping * its diagonal; return whether it is positive definite."""
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total *= 1.0 + damping
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i > j:
                lower[i, j] = total / lower[j, j]
            elif total > 1e-14 * matrix[i, i]:
                lower[i, i] = math.sqrt(total)
            else:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(lower: Any, right: Any, n: Any, out: Any) -> None:
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= lower[i, k] * out[k]
        out[i] = total / lower[i, i]
    for i in range(n - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * out[k]
        out[i] = total / lower[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def invert(matrix: Any, n: Any, out: Any) -> Any:
    """Fill the inverse of a symmetric matrix of which the lower half is given; return whether there is one."""
    lower, unit = np.zeros((8, 8)), np.zeros(8)
    if not _factor(matrix, 0.0, n, lower):
        return False
    for i in range(n):
        unit[i] = 1.0
        _solve(lower, unit, n, out[i])
        unit[i] = 0.0
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _stepped(mode: Any, p: Any, step: Any, limits: Any, size: Any, out: Any) -> None:
    """Fill the state after a step, held where one step may lead."""
    _copy(p, out)
    out[0] = p[0] + min(max(step[0], -1.0), 1.0)
    out[1] = p[1] + min(max(step[1], -1.0), 1.0)
    out[2] = min(max(p[2] + step[2], 0.2 * p[2]), 5.0 * p[2])
    out[3] = p[3] + step[3]
    if mode == DEPTH:
        most = 0.2 * (limits[1] - limits[0])
        out[7] = min(max(p[7] + min(max(step[4], -most), most), limits[0]), limits[1])
        return
    if mode == ROUND or mode == ROUND_SQUARES:
        step[5] = step[4]
    for k in (4, 5):
        width = min(max(p[k] + step[k], 0.6 * p[k]), 1.6 * p[k])
        out[k] = min(max(width, _WIDTH_MIN_PX), _WIDTH_MAX_SIZES * size)
    if mode == WIDTHS_AND_THETA:
        out[6] = p[6] + min(max(step[6], -0.4), 0.4)


@njit(cache=True, nogil=True, error_model="numpy")
def climb(mode: Any, p: Any, curves: Any, limits: Any, count: Any, variance: Any, small: Any, work: Any) -> Any:
    """Levenberg-Marquardt on the Fisher matrix from the state `p`, which is left at the end.

    `limits` are where a `DEPTH` is looked for; of a `ROUND` spot, mean and 1 / variance of its width beforehand.
    Returns (status, -log-likelihood, evaluations); the Fisher matrix at the end is `small[0:8]`.
    """
    n_free = N_FREE[mode]
    size = max(count.shape[0], count.shape[1])
    fisher, trial_fisher, lower = small[0:8], small[8:16], small[16:24]
    score, trial_score, step, trial = small[24], small[25], small[26], small[27]
    _copy(p, trial)
    nll, decrement, promised, damping, noise = np.inf, np.inf, np.inf, 1e-3, 0.0
    pinned = False
    for n in range(1, _MAX_STEPS):  # one place calls `sums`: each would be compiled in full
        trial_nll = sums(mode, trial, curves, count, variance, trial_score, trial_fisher, work)
        if mode == ROUND and limits[1] > 0.0:
            away = trial[4] - limits[0]
            trial_nll += 0.5 * limits[1] * away * away
            trial_score[4] -= limits[1] * away
            trial_fisher[4, 4] += limits[1]
        if trial_nll <= nll + noise:
            gain = nll - trial_nll
            nll = trial_nll
            _copy(trial, p)
            _copy(trial_score, score)
            _copy_square(trial_fisher, fisher)
            noise = 1e-12 * abs(nll) + 1e-12
            if not (-size < p[0] < 2 * size and -size < p[1] < 2 * size):
                return OUTSIDE, nll, n
            if mode != DEPTH and not (
                _WIDTH_MIN_PX < p[4] < _WIDTH_MAX_SIZES * size and _WIDTH_MIN_PX < p[5] < _WIDTH_MAX_SIZES * size
            ):
                return WIDTH_AT_LIMIT, nll, n
            # Far from the curvature that the Fisher matrix expects, full steps go to and fro around the top.
            if gain > 0.75 * promised:
                damping = 0.1 * damping if damping > 1e-8 else 0.0
            elif gain < 0.25 * promised:
                damping = max(8.0 * damping, 0.1)
        elif decrement < 1e-3 * _DONE:  # rounding
            return (AT_LIMIT if pinned else CONVERGED), nll, n
        elif n == 1:
            return NOT_FINITE, nll, n
        else:
            damping = max(10.0 * damping, 1e-4)
        # at an end of the search range, and pushed on: z stays there, the others go on
        pinned = mode == DEPTH and (
            (p[7] <= limits[0] and score[4] < 0.0) or (p[7] >= limits[1] and score[4] > 0.0)
        )
        n_solved = 4 if pinned else n_free
        while not _factor(fisher, damping, n_solved, lower) and damping < 1e6:
            damping = max(10.0 * damping, 1e-6)
        if not damping < 1e6:
            return NOT_CONVERGED, nll, n
        step[4] = 0.0
        _solve(lower, score, n_solved, step)
        decrement = promised = 0.0
        for k in range(n_solved):
            decrement += step[k] * score[k]
            promised += 0.5 * step[k] * (score[k] + damping * fisher[k, k] * step[k])
        if decrement < _DONE and damping < 0.1:
            # A thousandth of a standard error is left, and this step takes most of it: nothing else would change.
            _stepped(mode, p, step, limits, size, trial)
            if mode == DEPTH:
                trial[4], trial[5] = _width(curves[0], trial[7])[0], _width(curves[1], trial[7])[0]
            _copy(trial, p)
            return (AT_LIMIT if pinned else CONVERGED), nll, n
        _stepped(mode, p, step, limits, size, trial)
    return NOT_CONVERGED, nll, _MAX_STEPS


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _least_nll(count: Any) -> Any:
    """Return the negative log-likelihood where each mean is its count: the deviance counts from there."""
    total = 0.0
    for i in range(count.shape[0]):
        for j in range(count.shape[1]):
            if count[i, j] > 0.0:
                total += count[i, j] - count[i, j] * math.log(count[i, j])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def climbs(
    mode: Any,
    curves: Any,
    limits: Any,
    counts: Any,
    variances: Any,
    states: Any,
    n_rivals: Any,
    out: Any,
    covariances: Any,
    small: Any,
    work: Any,
) -> None:
    """Fit every picture from its best start, from rivals that are nearly as good, and from others if it fails.

    `states` is (n, N_STARTS, N_STATE), best first, NaN photons where there is none; `variances` is (n or 1,
    height, width). Fills `out` (n, N_OUT) and `covariances`; `small` is (28, 8).
    """
    n_free = N_FREE[mode]
    height, width = counts.shape[1:]
    fisher = small[0:8]
    best, best_fisher = np.empty(N_STATE), np.empty((8, 8))
    for k in range(counts.shape[0]):
        count = counts[k]
        variance = variances[k if variances.shape[0] > 1 else 0]
        best_status, best_nll = NO_SPOT, np.inf
        evaluations = 0
        _copy(states[k, 0], best)
        for start in range(N_STARTS):
            p = states[k, start]
            found = best_status == CONVERGED
            if not math.isfinite(p[2]) or (found and start >= n_rivals[k]):
                break
            status, nll, n = climb(mode, p, curves, limits, count, variance, small, work)
            evaluations += n
            if status == CONVERGED and not (
                -0.5 <= p[0] <= width - 0.5 and -0.5 <= p[1] <= height - 0.5 and p[2] > 0.0
            ):
                status = OUTSIDE
            if (status == CONVERGED and not found) or (nll < best_nll and (status == CONVERGED) == found):
                best_status, best_nll = status, nll
                _copy(p, best)
                _copy_square(fisher, best_fisher)
        if best_status == CONVERGED and not invert(best_fisher, n_free, covariances[k]):
            best_status = NOT_CONVERGED
        _copy(best, out[k])
        out[k, DEVIANCE] = 2.0 * (best_nll - (0.0 if mode >= WIDTHS_SQUARES else _least_nll(count)))
        if mode == ROUND:
            out[k, DEVIANCE] -= limits[1] * (best[4] - limits[0]) ** 2
        out[k, EVALUATIONS] = evaluations
        out[k, STATUS] = best_status


@njit(cache=True, error_model="numpy")
def climbs_of_one(
    mode: Any,
    curves: Any,
    limits: Any,
    counts: Any,
    variances: Any,
    states: Any,
    n_rivals: Any,
    out: Any,
    covariances: Any,
    small: Any,
    work: Any,
) -> None:
    """Do as `climbs`, and keep the interpreter meanwhile: to get it back can take longer than one picture does."""
    climbs(mode, curves, limits, counts, variances, states, n_rivals, out, covariances, small, work)
