"""Compiled fit of crowds in a frame: maximum likelihood of all their pixels at once, and how many spots there are.

All that calls one another is here, as in `_crowd_kernel`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_ITERATIONS = 25
_LARGEST_STEP_PX = 0.5
_ENOUGH_PX = 1e-3
_REACH_PX = 3
_ROOT_HALF = 1.0 / math.sqrt(2.0)
_ROOT_2_PI = math.sqrt(2.0 * math.pi)


@njit(cache=True, nogil=True)
def _profile(at: float, sigma: float) -> tuple[float, float]:
    """Return a Gaussian's share in the pixel that is `at` px from its centre, and its slope by the centre."""
    low, high = (at - 0.5) / sigma, (at + 0.5) / sigma
    share = 0.5 * (math.erf(high * _ROOT_HALF) - math.erf(low * _ROOT_HALF))
    slope = (math.exp(-0.5 * low * low) - math.exp(-0.5 * high * high)) / (_ROOT_2_PI * sigma)
    return share, slope


@njit(cache=True, nogil=True)
def _axes(state: Any, n: int, sigma: float, axes: Any) -> None:
    """Fill the shares of each spot, and their slopes, along x (0, 1) and y (2, 3)."""
    for i in range(n):
        for j in range(axes.shape[2]):
            axes[0, i, j], axes[1, i, j] = _profile(j - state[3 * i], sigma)
            axes[2, i, j], axes[3, i, j] = _profile(j - state[3 * i + 1], sigma)


@njit(cache=True, nogil=True)
def _sums(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, state: Any, sigma: float,
    gradient: Any, fisher: Any, slopes: Any, axes: Any,
) -> float:  # fmt: skip
    """Fill gradient and Fisher matrix (lower half) of the log-likelihood; return it.

    `state` is x, y, photons of each, then the background.
    """
    n = (state.size - 1) // 3
    _axes(state, n, sigma, axes)
    for a in range(state.size):
        gradient[a] = 0.0
        for b in range(a + 1):
            fisher[a, b] = 0.0
    total = 0.0
    slopes[3 * n] = 1.0
    for k in range(rows.size):
        mean = state[3 * n] + light[k] + variance[k]
        column, row = columns[k], rows[k]
        for i in range(n):
            share_x, share_y, photons = axes[0, i, column], axes[2, i, row], state[3 * i + 2]
            mean += photons * share_x * share_y
            slopes[3 * i] = photons * axes[1, i, column] * share_y
            slopes[3 * i + 1] = photons * share_x * axes[3, i, row]
            slopes[3 * i + 2] = share_x * share_y
        mean = max(mean, 1e-3)
        seen = max(counts[k] + variance[k], 0.0)
        total += seen * math.log(mean) - mean
        weight, off = 1.0 / mean, seen / mean - 1.0
        for a in range(3 * n + 1):
            gradient[a] += off * slopes[a]
            weighted = weight * slopes[a]
            for b in range(a + 1):
                fisher[a, b] += weighted * slopes[b]
    return total


@njit(cache=True, nogil=True)
def _factor(matrix: Any, damping: float, floor: float, lower: Any) -> bool:
    """Cholesky's factor of a damped matrix, of which the lower half is told; False where it has none."""
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total = total * (1.0 + damping) + floor
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i > j:
                lower[i, j] = total / lower[j, j]
            elif total > 0.0:
                lower[i, i] = math.sqrt(total)
            else:
                return False
    return True


@njit(cache=True, nogil=True)
def _solve(lower: Any, right: Any, out: Any) -> None:
    n = right.size
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


@njit(cache=True, nogil=True)
def _limited(state: Any, step: Any, out: Any) -> float:
    """Take a step, all of it shortened so that no place and no light goes too far; return its longest way, px."""
    shrink, moved = 1.0, 0.0
    for a in range(state.size - 1):
        most = _LARGEST_STEP_PX
        if a % 3 != 2:
            moved = max(moved, abs(step[a]))
        else:
            most = 2.0 * state[a] + 10.0 if step[a] > 0.0 else 0.7 * state[a]
        if abs(step[a]) > most:
            shrink = min(shrink, most / abs(step[a]))
    for a in range(state.size):
        out[a] = state[a] + shrink * step[a]
    out[state.size - 1] = max(out[state.size - 1], 1e-3)
    return moved


@njit(cache=True, nogil=True)
def fit_crowd(
    counts: Any,
    variance: Any,
    light: Any,
    rows: Any,
    columns: Any,
    sigma: float,
    axes: Any,
    state: Any,
    errors: Any,
) -> tuple[float, bool]:
    """Climb to the maximum of the likelihood from `state`, in place; write standard errors.

    Parameters
    ----------
    counts, variance, light : float64[pixel]
        Counts, read variance, and light that is known (of puncta that are not of this crowd).
    rows, columns : int64[pixel]
        Within the window that `state` is told in.
    sigma : float
        Width of a punctum, px.
    axes : float64[4, n or more, side of the window]
        Scratch.
    state : float64[3 n + 1]
        x, y, photons of each, then background per pixel.
    errors : float64[3 n + 1]

    Returns
    -------
    value : float
        The log-likelihood, but for what is the same of all states.
    came : bool
        Whether it got there.
    """
    size = state.size
    slopes, step, trial = np.empty(size), np.empty(size), np.empty(size)
    lower, gradients, fishers = np.empty((size, size)), np.empty((2, size)), np.empty((2, size, size))
    now = 0
    value = _sums(counts, variance, light, rows, columns, state, sigma, gradients[0], fishers[0], slopes, axes)
    damping = 1e-2
    came = False
    for _ in range(_ITERATIONS):
        if not _factor(fishers[now], damping, 1e-9, lower):
            damping = max(10.0 * damping, 1e-3)
            continue
        _solve(lower, gradients[now], step)
        moved = _limited(state, step, trial)
        new = 1 - now
        found = _sums(
            counts, variance, light, rows, columns, trial, sigma, gradients[new], fishers[new], slopes, axes
        )
        if found >= value - 1e-9:
            for a in range(size):
                state[a] = trial[a]
            value, now = found, new
            damping = max(damping * 0.3, 1e-6)
            if moved < _ENOUGH_PX:
                came = True
                break
        else:
            damping *= 8.0
            if damping > 1e6:
                came = moved < 0.02
                break
    if not _factor(fishers[now], 0.0, 1e-12, lower):
        return value, False
    for a in range(size):
        for b in range(size):
            slopes[b] = 1.0 if b == a else 0.0
        _solve(lower, slopes, step)
        if not step[a] > 0.0:
            return value, False
        errors[a] = math.sqrt(step[a])
    return value, came


@njit(cache=True, nogil=True)
def _without(state: Any, which: int) -> Any:
    out = np.empty(state.size - 3)
    for a in range(out.size):
        out[a] = state[a if a < 3 * which else a + 3]
    return out


@njit(cache=True, nogil=True)
def _most_lacking(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, sigma: float, axes: Any, state: Any,
    nearest_px: float,
) -> tuple[float, int, float]:  # fmt: skip
    """Return how significant one more punctum would be at the best pixel, which pixel, and how bright it would be.

    The score test: sum of a spot's profile times what is lacking, over the standard deviation of that.
    """
    n = (state.size - 1) // 3
    _axes(state, n, sigma, axes)
    profile = np.empty(_REACH_PX + 1)
    for d in range(_REACH_PX + 1):
        profile[d], _ = _profile(float(d), sigma)
    mean, lacks = np.empty(rows.size), np.empty(rows.size)
    for k in range(rows.size):
        expected = state[3 * n] + light[k] + variance[k]
        for i in range(n):
            expected += state[3 * i + 2] * axes[0, i, columns[k]] * axes[2, i, rows[k]]
        mean[k] = max(expected, 1e-3)
        lacks[k] = max(counts[k] + variance[k], 0.0) / mean[k] - 1.0
    best, at, bright = 0.0, -1, 0.0
    for c in range(rows.size):
        near = False
        for i in range(n):
            near = near or (rows[c] - state[3 * i + 1]) ** 2 + (columns[c] - state[3 * i]) ** 2 < nearest_px**2
        if near:
            continue
        lacking, information = 0.0, 0.0
        for k in range(rows.size):
            down, right = abs(rows[k] - rows[c]), abs(columns[k] - columns[c])
            if down > _REACH_PX or right > _REACH_PX:
                continue
            share = profile[right] * profile[down]
            lacking += share * lacks[k]
            information += share * share / mean[k]
        score = lacking / math.sqrt(information)
        if score > best:
            best, at, bright = score, c, lacking / information
    return best, at, bright


@njit(cache=True, nogil=True)
def _settle(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, sigma: float, axes: Any, state: Any,
    least_gain: float, gain_per_photon: float, most_more: int,
) -> tuple[Any, Any, bool]:  # fmt: skip
    """Return state and errors of as many puncta as the pixels ask for: fewer where one more tells nothing."""
    errors = np.zeros(state.size)
    value, came = fit_crowd(counts, variance, light, rows, columns, sigma, axes, state, errors)
    # Fewer: the one that is told worst, and one of each two that are nearly at one place.
    tries = 0
    while state.size > 4 and tries < 6:
        tries += 1
        n = (state.size - 1) // 3
        worst, least = -1, 5.0
        for i in range(n):
            ratio = state[3 * i + 2] / max(errors[3 * i + 2], 1e-9)
            if not came and errors[3 * i + 2] == 0.0:
                ratio = 0.0
            if ratio < least:
                worst, least = i, ratio
        if worst < 0:
            break
        fewer = _without(state, worst)
        # What it held goes to the nearest of the others.
        nearest, distance = -1, 1e9
        for i in range(n - 1):
            d = (fewer[3 * i] - state[3 * worst]) ** 2 + (fewer[3 * i + 1] - state[3 * worst + 1]) ** 2
            if d < distance:
                nearest, distance = i, d
        if distance < 9.0 * sigma * sigma:
            had, gets = fewer[3 * nearest + 2], max(state[3 * worst + 2], 0.0)
            if had + gets > 0.0:
                part = gets / (had + gets)
                fewer[3 * nearest] += part * (state[3 * worst] - fewer[3 * nearest])
                fewer[3 * nearest + 1] += part * (state[3 * worst + 1] - fewer[3 * nearest + 1])
                fewer[3 * nearest + 2] = had + gets
        fewer_errors = np.zeros(fewer.size)
        found, arrived = fit_crowd(counts, variance, light, rows, columns, sigma, axes, fewer, fewer_errors)
        if value - found < least_gain:
            state, errors, value, came = fewer, fewer_errors, found, arrived
        else:
            break
    # More: where light is lacking.
    for _ in range(most_more):
        score, at, bright = _most_lacking(counts, variance, light, rows, columns, sigma, axes, state, 0.8 * sigma)
        if at < 0 or score < 3.5:
            break
        n = (state.size - 1) // 3
        more = np.empty(state.size + 3)
        for a in range(3 * n):
            more[a] = state[a]
        more[3 * n], more[3 * n + 1], more[3 * n + 2] = columns[at], rows[at], max(bright, 1.0)
        more[3 * n + 3] = state[3 * n]
        # Whoever stood for both gives the other half of it away.
        brightest = 0.0
        for i in range(n):
            d = (more[3 * i] - columns[at]) ** 2 + (more[3 * i + 1] - rows[at]) ** 2
            if d < 9.0 * sigma * sigma:
                brightest = max(brightest, more[3 * i + 2])
        more_errors = np.zeros(more.size)
        found, arrived = fit_crowd(counts, variance, light, rows, columns, sigma, axes, more, more_errors)
        if not arrived or found - value < least_gain + gain_per_photon * brightest:
            break
        if more[3 * n + 2] < max(4.0 * more_errors[3 * n + 2], 0.2 * brightest):
            break
        state, errors, value, came = more, more_errors, found, arrived
    return state, errors, came


@njit(cache=True, nogil=True)
def _light_of_others(
    x: Any, y: Any, photons: Any, own: Any, low_y: int, high_y: int, low_x: int, high_x: int, sigma: float,
    reach: float,
) -> Any:  # fmt: skip
    """Return the light in a window of puncta that are not of the crowd."""
    height, width = high_y - low_y + 1, high_x - low_x + 1
    out = np.zeros((height, width))
    along = np.empty(width)
    for k in range(x.size):
        if x[k] < low_x - reach or x[k] > high_x + reach or y[k] < low_y - reach or y[k] > high_y + reach:
            continue
        is_own = False
        for m in own:
            is_own = is_own or m == k
        if is_own:
            continue
        for i in range(width):
            along[i], _ = _profile(low_x + i - x[k], sigma)
        for j in range(height):
            share, _ = _profile(low_y + j - y[k], sigma)
            for i in range(width):
                out[j, i] += photons[k] * share * along[i]
    return out


@njit(cache=True, nogil=True)
def fit_in_frame(
    counts: Any, variance: Any, x: Any, y: Any, photons: Any, background: Any, members: Any, starts: Any,
    sigma: float, radius: int, least_gain: float, gain_per_photon: float, most_more: int, said: Any,
) -> int:  # fmt: skip
    """Fit crowds one after another; what is not of a crowd is light that is known. Return how many came out.

    Parameters
    ----------
    counts, variance : float64[y, x]
    x, y, photons, background : float64[n]
        Of all puncta of the frame, as the network tells them.
    members : int64[...]
        Puncta, crowd by crowd; crowd c is `members[starts[c] : starts[c + 1]]`.
    sigma : float
    radius : int
        Pixels as near to a member are looked at.
    least_gain, gain_per_photon : float
        Of the log-likelihood, for one punctum more: and so much more for each photon of the brightest beside it,
        since no spot is quite a Gaussian.
    most_more : int
        Puncta that may be added to a crowd.
    said : float64[k, 10]
        x, y, photons, background, their standard errors, the crowd, and whether the fit got there.
    """
    height, width = counts.shape
    reach = radius + 5.0 * sigma
    n_out = 0
    for crowd in range(starts.size - 1):
        own = members[starts[crowd] : starts[crowd + 1]]
        n = own.size
        low_y, high_y, low_x, high_x = height, 0, width, 0
        for i in own:
            low_y, high_y = min(low_y, round(y[i]) - radius), max(high_y, round(y[i]) + radius)
            low_x, high_x = min(low_x, round(x[i]) - radius), max(high_x, round(x[i]) + radius)
        low_y, high_y = max(low_y, 0), min(high_y, height - 1)
        low_x, high_x = max(low_x, 0), min(high_x, width - 1)
        side = max(high_y - low_y, high_x - low_x) + 1
        axes = np.empty((4, n + most_more, side))
        other = _light_of_others(x, y, photons, own, low_y, high_y, low_x, high_x, sigma, reach)
        most = (high_y - low_y + 1) * (high_x - low_x + 1)
        seen, noise, light = np.empty(most), np.empty(most), np.empty(most)
        rows, columns = np.empty(most, np.int64), np.empty(most, np.int64)
        n_pixels = 0
        for j in range(low_y, high_y + 1):
            for i in range(low_x, high_x + 1):
                near = False
                for k in own:
                    if (j - y[k]) ** 2 + (i - x[k]) ** 2 <= (radius + 0.5) ** 2:
                        near = True
                        break
                if not near:
                    continue
                seen[n_pixels], noise[n_pixels] = counts[j, i], variance[j, i]
                light[n_pixels] = other[j - low_y, i - low_x]
                rows[n_pixels], columns[n_pixels] = j - low_y, i - low_x
                n_pixels += 1
        if n_pixels <= 3 * n + 1:
            continue
        state = np.empty(3 * n + 1)
        lit = 0.0
        for k in range(n):
            state[3 * k], state[3 * k + 1] = x[own[k]] - low_x, y[own[k]] - low_y
            state[3 * k + 2] = max(photons[own[k]], 1.0)
            lit += background[own[k]] / n
        state[3 * n] = max(lit, 1e-3)
        state, errors, came = _settle(
            seen[:n_pixels], noise[:n_pixels], light[:n_pixels], rows[:n_pixels], columns[:n_pixels], sigma, axes,
            state, least_gain, gain_per_photon, most_more,
        )  # fmt: skip
        for k in range((state.size - 1) // 3):
            if n_out < said.shape[0]:
                row = said[n_out]
                for a in range(3):
                    row[a], row[4 + a] = state[3 * k + a], errors[3 * k + a]
                row[0], row[1] = row[0] + low_x, row[1] + low_y
                row[3], row[7] = state[state.size - 1], errors[state.size - 1]
                row[8], row[9] = crowd, 1.0 if came else 0.0
                n_out += 1
    return n_out
