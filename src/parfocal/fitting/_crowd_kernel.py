"""Compiled joint fit of several round spots of one width: as many as the picture asks for.

All that calls one another is here: numba's file cache looks at a kernel's own file alone. Pixels come as in
`_psf_kernel`. A state is (background, width, then x, y, photons of each spot).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

MOST = 5
N_STATE = 2 + 3 * MOST
_SQRT_HALF = math.sqrt(0.5)
_ONE_OVER_SQRT_TAU = 1.0 / math.sqrt(2.0 * math.pi)
_FLOOR = 1e-3
_MAX_STEPS = 60
_DONE = 1e-5
_OUTSIDE_PX = 1.5
"""How far beyond the picture a neighbour may lie whose light reaches into it."""


def workspace(height: int, width: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Return scratch memory of one thread: light along both axes, matrices, vectors, and two pictures."""
    side = max(height, width)
    return (
        np.empty((6, MOST, side)),
        np.empty((4, N_STATE, N_STATE)),
        np.empty((6, N_STATE)),
        np.empty((2, height, width)),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _axis(center: Any, sigma: Any, size: Any, share: Any, by_center: Any, by_sigma: Any) -> None:
    scale, height = _SQRT_HALF / sigma, _ONE_OVER_SQRT_TAU / sigma
    u = -0.5 - center
    t = u * scale
    erf_left, bell_left = math.erf(t), height * math.exp(-t * t)
    for j in range(size):
        right = j + 0.5 - center
        t = right * scale
        erf_right, bell_right = math.erf(t), height * math.exp(-t * t)
        share[j] = 0.5 * (erf_right - erf_left)
        by_center[j] = bell_left - bell_right
        by_sigma[j] = (u * bell_left - right * bell_right) / sigma
        u, erf_left, bell_left = right, erf_right, bell_right


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(
    p: Any, n: Any, count: Any, variance: Any, score: Any, fisher: Any, mean: Any, axes: Any, slope: Any
) -> Any:
    """Fill score, Fisher matrix (lower half) and expected picture; return the negative log-likelihood."""
    height, width = count.shape
    n_free = 2 + 3 * n
    for s in range(n):
        _axis(p[2 + 3 * s], p[1], width, axes[0, s], axes[1, s], axes[2, s])
        _axis(p[3 + 3 * s], p[1], height, axes[3, s], axes[4, s], axes[5, s])
    for k in range(n_free):
        score[k] = 0.0
        for m in range(k + 1):
            fisher[k, m] = 0.0
    nll = 0.0
    slope[0] = 1.0
    for i in range(height):
        for j in range(width):
            mu, by_sigma = p[0], 0.0
            for s in range(n):
                photons = p[4 + 3 * s]
                a, c = axes[0, s, j], axes[3, s, i]
                mu += photons * a * c
                by_sigma += photons * (axes[2, s, j] * c + a * axes[5, s, i])
                slope[2 + 3 * s] = photons * axes[1, s, j] * c
                slope[3 + 3 * s] = photons * a * axes[4, s, i]
                slope[4 + 3 * s] = a * c
            slope[1] = by_sigma
            mu = max(mu + variance[i, j], _FLOOR)
            mean[i, j] = mu
            nll += mu - count[i, j] * math.log(mu)
            w = 1.0 / mu
            pull = count[i, j] * w - 1.0
            for k in range(n_free):
                score[k] += pull * slope[k]
                weighted = w * slope[k]
                for m in range(k + 1):
                    fisher[k, m] += weighted * slope[m]
    return nll


@njit(cache=True, nogil=True, error_model="numpy")
def _factor(matrix: Any, damping: Any, n: Any, lower: Any) -> Any:
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total *= 1.0 + damping
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i > j:
                lower[i, j] = total / lower[j, j]
            elif total > 1e-13 * matrix[i, i]:
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
def _with_prior(p: Any, prior: Any, score: Any, fisher: Any) -> Any:
    """Add what is known of the width beforehand to score and Fisher matrix; return its share of -ln L."""
    away = p[1] - prior[0]
    score[1] -= prior[1] * away
    fisher[1, 1] += prior[1]
    return 0.5 * prior[1] * away * away


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(
    p: Any, n: Any, prior: Any, count: Any, variance: Any, mean: Any, axes: Any, matrices: Any, vectors: Any
) -> Any:
    """Levenberg-Marquardt on the Fisher matrix from `p`, left at the end; return (whether it came to rest, -ln L).

    The Fisher matrix at the end is `matrices[0]`, the expected picture `mean`.
    """
    height, width = count.shape
    fisher, trial_fisher, lower = matrices[0], matrices[1], matrices[2]
    score, trial_score, step, trial, slope = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    n_free = 2 + 3 * n
    for k in range(n_free):
        trial[k] = p[k]
    nll, damping, decrement = np.inf, 1e-3, np.inf
    for turn in range(_MAX_STEPS):
        trial_nll = _sums(trial, n, count, variance, trial_score, trial_fisher, mean, axes, slope)
        trial_nll += _with_prior(trial, prior, trial_score, trial_fisher)
        if trial_nll <= nll + 1e-12 * abs(nll):
            gain = nll - trial_nll
            nll = trial_nll
            for k in range(n_free):
                p[k], score[k] = trial[k], trial_score[k]
                for m in range(k + 1):
                    fisher[k, m] = trial_fisher[k, m]
            damping = 0.2 * damping if gain > 0.25 * decrement or turn == 0 else max(2.0 * damping, 1e-3)
        elif turn == 0 or not damping < 1e8:
            return False, nll
        else:
            damping = max(10.0 * damping, 1e-3)
        while not _factor(fisher, damping, n_free, lower):
            damping = max(10.0 * damping, 1e-6)
            if not damping < 1e8:
                return False, nll
        _solve(lower, score, n_free, step)
        decrement = 0.0
        for k in range(n_free):
            decrement += step[k] * score[k]
        if decrement < _DONE:
            # the picture and its matrix are those of `p`, not of a trial that was refused
            nll = _sums(p, n, count, variance, score, fisher, mean, axes, slope)
            _with_prior(p, prior, score, fisher)
            return True, nll
        trial[0] = p[0] + step[0]
        trial[1] = min(max(p[1] + min(max(step[1], -0.3 * p[1]), 0.4 * p[1]), 0.3), float(max(height, width)))
        for s in range(n):
            x, y, photons = 2 + 3 * s, 3 + 3 * s, 4 + 3 * s
            trial[x] = p[x] + min(max(step[x], -0.7), 0.7)
            trial[y] = p[y] + min(max(step[y], -0.7), 0.7)
            trial[x] = min(max(trial[x], -0.5 - _OUTSIDE_PX), width - 0.5 + _OUTSIDE_PX)
            trial[y] = min(max(trial[y], -0.5 - _OUTSIDE_PX), height - 0.5 + _OUTSIDE_PX)
            trial[photons] = min(max(p[photons] + step[photons], 0.2 * p[photons]), 5.0 * p[photons])
    return False, nll


@njit(cache=True, nogil=True, error_model="numpy")
def _next_spot(p: Any, n: Any, count: Any, mean: Any, left: Any) -> None:
    """Append a spot to `p` where most light is left over, in standard deviations under a window of 3 x 3."""
    height, width = count.shape
    best, y, x, light = -np.inf, 0, 0, 0.0
    for i in range(height):
        for j in range(width):
            left[i, j] = count[i, j] - mean[i, j]
    for i in range(height):
        for j in range(width):
            total = spread = 0.0
            for a in range(max(i - 1, 0), min(i + 2, height)):
                for b in range(max(j - 1, 0), min(j + 2, width)):
                    total += left[a, b]
                    spread += mean[a, b]
            if total / math.sqrt(spread) > best:
                best, y, x, light = total / math.sqrt(spread), i, j, total
    most = 0.0
    for s in range(n):
        most = max(most, p[4 + 3 * s])
    p[2 + 3 * n], p[3 + 3 * n] = float(x), float(y)
    p[4 + 3 * n] = max(1.5 * light, 0.1 * most, 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _standard_errors(fisher: Any, n_free: Any, lower: Any, vectors: Any, out: Any) -> Any:
    """Fill `out` with the roots of the diagonal of the inverse; return whether there is one."""
    if not _factor(fisher, 0.0, n_free, lower):
        return False
    column, unit = vectors[3], vectors[5]
    for m in range(n_free):
        for q in range(n_free):
            unit[q] = 1.0 if q == m else 0.0
        _solve(lower, unit, n_free, column)
        out[m] = math.sqrt(column[m])
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def crowds(
    counts: Any,
    variances: Any,
    starts: Any,
    critical: Any,
    prior: Any,
    other_width: Any,
    states: Any,
    errors: Any,
    n_spots: Any,
    deviances: Any,
    axes: Any,
    matrices: Any,
    vectors: Any,
    pictures: Any,
) -> None:
    """Fit every picture with one spot, and with more as long as an F test believes in them.

    Two more are tried where one more does not do: of three close together, a second alone leaves as much over.
    `starts` is (n, 5): x, y, photons, background, width; NaN photons where there is nothing to fit.
    `critical[k - 1, m - 1]` is the F of m spots beyond k; as many as it has rows and one more are tried. Fills
    `states` and `errors` (n, N_STATE), `n_spots` (0 where no fit came to rest) and `deviances`.

    `prior` is mean and 1 / variance of the width, as it is known beforehand; zeros: nothing is. Each number of
    spots is then fitted twice, freely and drawn to the prior, and the test holds against each other what the
    better of both leaves over, where `other_width` is what a width of its own costs: a wide spot stays one, and
    two that are close are two. Places and their errors are those that were drawn to the prior unless a width of
    its own is worth its cost; light, width and deviance are those of the free fit.
    """
    height, width = counts.shape[1:]
    mean, left = pictures[0], pictures[1]
    trial, tied = np.empty(N_STATE), np.empty(N_STATE)
    own_errors, tied_errors = np.empty(N_STATE), np.empty(N_STATE)
    nothing = np.zeros(2)
    for k in range(counts.shape[0]):
        count, variance = counts[k], variances[k if variances.shape[0] > 1 else 0]
        n_spots[k] = 0
        if not math.isfinite(starts[k, 2]):
            continue
        least = 0.0
        for i in range(height):
            for j in range(width):
                if count[i, j] > 0.0:
                    least += count[i, j] - count[i, j] * math.log(count[i, j])
        for m in range(3):
            trial[2 + m] = starts[k, m]
        trial[0], trial[1] = starts[k, 3], starts[k, 4]
        last, believed = 0, np.inf  # spots of the state in `trial`, believed or not; what the believed ones leave
        for n in range(1, critical.shape[0] + 2):
            n_free = 2 + 3 * n
            if n > 1:
                _sums(trial, last, count, variance, vectors[0], matrices[0], mean, axes, vectors[4])
                _next_spot(trial, last, count, mean, left)
            last = n
            is_drawn, drawn = False, np.inf
            if prior[1] > 0.0:
                is_drawn, drawn = _climb(trial, n, prior, count, variance, mean, axes, matrices, vectors)
                is_drawn = is_drawn and _standard_errors(matrices[0], n_free, matrices[2], vectors, tied_errors)
                for m in range(n_free):
                    tied[m] = trial[m]
            came_to_rest, nll = _climb(trial, n, nothing, count, variance, mean, axes, matrices, vectors)
            if not came_to_rest or not _standard_errors(matrices[0], n_free, matrices[2], vectors, own_errors):
                break
            deviance = 2.0 * (nll - least)
            left_over = deviance
            if prior[1] > 0.0:
                left_over += other_width
                is_drawn = is_drawn and 2.0 * (drawn - least) <= left_over
                if is_drawn:
                    left_over = 2.0 * (drawn - least)
            more = n - n_spots[k]
            free = height * width - n_free
            is_believed = n == 1 or (
                (believed - left_over) * free > 3.0 * more * critical[n_spots[k] - 1, more - 1] * left_over
            )
            if is_believed:
                n_spots[k], deviances[k], believed = n, deviance, left_over
                for m in range(n_free):
                    is_place = m >= 2 and (m - 2) % 3 < 2
                    from_tied = is_drawn and is_place
                    states[k, m] = tied[m] if from_tied else trial[m]
                    errors[k, m] = tied_errors[m] if from_tied else own_errors[m]
            elif more > 1:
                break
            if prior[1] > 0.0:  # what is left over beside spots of the width that is known shows the next one best
                for m in range(n_free):
                    trial[m] = tied[m]
