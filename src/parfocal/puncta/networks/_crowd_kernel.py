"""Puncta of a crowd fitted together: maximum likelihood of all their pixels at once, and how many there are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_ITERATIONS = 25
_LARGEST_STEP_PX = 0.5
_ENOUGH_PX = 1e-3
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
def _sums(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, state: Any, sigma: float,
    gradient: Any, fisher: Any, slopes: Any,
) -> float:  # fmt: skip
    """Fill gradient and Fisher matrix of the log-likelihood; return it. `state` is x, y, N of each, then b."""
    n = (state.size - 1) // 3
    gradient[:] = 0.0
    fisher[:] = 0.0
    total = 0.0
    for k in range(rows.size):
        mean = state[3 * n] + light[k] + variance[k]
        for i in range(n):
            share_x, slope_x = _profile(columns[k] - state[3 * i], sigma)
            share_y, slope_y = _profile(rows[k] - state[3 * i + 1], sigma)
            photons = state[3 * i + 2]
            mean += photons * share_x * share_y
            slopes[3 * i] = photons * slope_x * share_y
            slopes[3 * i + 1] = photons * share_x * slope_y
            slopes[3 * i + 2] = share_x * share_y
        slopes[3 * n] = 1.0
        mean = max(mean, 1e-3)
        seen = max(counts[k] + variance[k], 0.0)
        total += seen * math.log(mean) - mean
        weight, off = 1.0 / mean, seen / mean - 1.0
        for a in range(3 * n + 1):
            gradient[a] += off * slopes[a]
            for b in range(a + 1):
                fisher[a, b] += weight * slopes[a] * slopes[b]
    for a in range(3 * n + 1):
        for b in range(a):
            fisher[b, a] = fisher[a, b]
    return total


@njit(cache=True, nogil=True)
def fit_crowd(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, sigma: float, state: Any, errors: Any
) -> tuple[float, bool]:
    """Climb to the maximum of the likelihood from `state`, in place; write standard errors.

    Parameters
    ----------
    counts, variance, light : float64[pixel]
        Counts, read variance, and light that is known (of puncta that are not of this crowd).
    rows, columns : float64[pixel]
    sigma : float
        Width of a punctum, px.
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
    gradient, fisher, slopes = np.empty(size), np.empty((size, size)), np.empty(size)
    trial_gradient, trial_fisher = np.empty(size), np.empty((size, size))
    value = _sums(counts, variance, light, rows, columns, state, sigma, gradient, fisher, slopes)
    damping = 1e-2
    came = False
    for _ in range(_ITERATIONS):
        damped = fisher.copy()
        for a in range(size):
            damped[a, a] = damped[a, a] * (1.0 + damping) + 1e-9
        step = np.linalg.solve(damped, gradient)
        shrink, moved = 1.0, 0.0
        for a in range(size - 1):
            most = 0.7 * state[a] if a % 3 == 2 else _LARGEST_STEP_PX
            if a % 3 != 2:
                moved = max(moved, abs(step[a]))
            elif step[a] > 0.0:
                most = 2.0 * state[a] + 10.0
            if abs(step[a]) > most:
                shrink = min(shrink, most / abs(step[a]))
        trial = state + shrink * step
        trial[size - 1] = max(trial[size - 1], 1e-3)
        found = _sums(counts, variance, light, rows, columns, trial, sigma, trial_gradient, trial_fisher, slopes)
        if found >= value - 1e-9:
            state[:] = trial
            gradient[:] = trial_gradient
            fisher[:] = trial_fisher
            value = found
            damping = max(damping * 0.3, 1e-6)
            if moved < _ENOUGH_PX:
                came = True
                break
        else:
            damping *= 8.0
            if damping > 1e6:
                came = moved < 0.02
                break
    for a in range(size):
        fisher[a, a] += 1e-12
    covariance = np.linalg.inv(fisher)
    for a in range(size):
        if not covariance[a, a] > 0.0:
            return value, False
        errors[a] = math.sqrt(covariance[a, a])
    return value, came


@njit(cache=True, nogil=True)
def _without(state: Any, which: int) -> Any:
    out = np.empty(state.size - 3)
    out[: 3 * which] = state[: 3 * which]
    out[3 * which :] = state[3 * which + 3 :]
    return out


@njit(cache=True, nogil=True)
def _most_lacking(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, sigma: float, state: Any, nearest_px: float
) -> tuple[float, int, float]:  # fmt: skip
    """Return how significant one more punctum would be at the best pixel, which pixel, and how bright it would be.

    The score test: sum of a spot's profile times what is lacking, over the standard deviation of that.
    """
    n = (state.size - 1) // 3
    mean = np.empty(rows.size)
    for k in range(rows.size):
        mean[k] = state[3 * n] + light[k] + variance[k]
        for i in range(n):
            share_x, _ = _profile(columns[k] - state[3 * i], sigma)
            share_y, _ = _profile(rows[k] - state[3 * i + 1], sigma)
            mean[k] += state[3 * i + 2] * share_x * share_y
        mean[k] = max(mean[k], 1e-3)
    best, at, bright = 0.0, -1, 0.0
    for c in range(rows.size):
        near = False
        for i in range(n):
            near = near or (rows[c] - state[3 * i + 1]) ** 2 + (columns[c] - state[3 * i]) ** 2 < nearest_px**2
        if near:
            continue
        lacking, information = 0.0, 0.0
        for k in range(rows.size):
            if abs(rows[k] - rows[c]) > 3 or abs(columns[k] - columns[c]) > 3:
                continue
            share_x, _ = _profile(columns[k] - columns[c], sigma)
            share_y, _ = _profile(rows[k] - rows[c], sigma)
            share = share_x * share_y
            lacking += share * (max(counts[k] + variance[k], 0.0) / mean[k] - 1.0)
            information += share * share / mean[k]
        score = lacking / math.sqrt(information)
        if score > best:
            best, at, bright = score, c, lacking / information
    return best, at, bright


@njit(cache=True, nogil=True)
def _settle(
    counts: Any, variance: Any, light: Any, rows: Any, columns: Any, sigma: float, state: Any, least_gain: float,
    gain_per_photon: float, most_more: int,
) -> tuple[Any, Any, bool]:  # fmt: skip
    """Return state and errors of as many puncta as the pixels ask for: fewer where one more tells nothing."""
    errors = np.zeros(state.size)
    value, came = fit_crowd(counts, variance, light, rows, columns, sigma, state, errors)
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
        found, arrived = fit_crowd(counts, variance, light, rows, columns, sigma, fewer, fewer_errors)
        if value - found < least_gain:
            state, errors, value, came = fewer, fewer_errors, found, arrived
        else:
            break
    # More: where light is lacking.
    for _ in range(most_more):
        score, at, bright = _most_lacking(counts, variance, light, rows, columns, sigma, state, 0.8 * sigma)
        if at < 0 or score < 3.5:
            break
        n = (state.size - 1) // 3
        more = np.empty(state.size + 3)
        more[: 3 * n] = state[: 3 * n]
        more[3 * n], more[3 * n + 1], more[3 * n + 2] = columns[at], rows[at], max(bright, 1.0)
        more[3 * n + 3] = state[3 * n]
        # Whoever stood for both gives the other half of it away.
        brightest = 0.0
        for i in range(n):
            d = (more[3 * i] - columns[at]) ** 2 + (more[3 * i + 1] - rows[at]) ** 2
            if d < 9.0 * sigma * sigma:
                brightest = max(brightest, more[3 * i + 2])
        more_errors = np.zeros(more.size)
        found, arrived = fit_crowd(counts, variance, light, rows, columns, sigma, more, more_errors)
        if not arrived or found - value < least_gain + gain_per_photon * brightest:
            break
        if more[3 * n + 2] < max(4.0 * more_errors[3 * n + 2], 0.2 * brightest):
            break
        state, errors, value, came = more, more_errors, found, arrived
    return state, errors, came


@njit(cache=True, nogil=True)
def fit_crowds(
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
        most = (high_y - low_y + 1) * (high_x - low_x + 1)
        seen, noise, light = np.empty(most), np.empty(most), np.empty(most)
        rows, columns = np.empty(most), np.empty(most)
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
                other = 0.0
                for k in range(x.size):
                    if abs(j - y[k]) > reach or abs(i - x[k]) > reach:
                        continue
                    is_own = False
                    for m in own:
                        if m == k:
                            is_own = True
                    if not is_own:
                        share_x, _ = _profile(i - x[k], sigma)
                        share_y, _ = _profile(j - y[k], sigma)
                        other += photons[k] * share_x * share_y
                seen[n_pixels], noise[n_pixels], light[n_pixels] = counts[j, i], variance[j, i], other
                rows[n_pixels], columns[n_pixels] = j, i
                n_pixels += 1
        if n_pixels <= 3 * n + 1:
            continue
        state = np.empty(3 * n + 1)
        lit = 0.0
        for k in range(n):
            state[3 * k], state[3 * k + 1] = x[own[k]], y[own[k]]
            state[3 * k + 2] = max(photons[own[k]], 1.0)
            lit += background[own[k]] / n
        state[3 * n] = max(lit, 1e-3)
        state, errors, came = _settle(
            seen[:n_pixels], noise[:n_pixels], light[:n_pixels], rows[:n_pixels], columns[:n_pixels], sigma, state,
            least_gain, gain_per_photon, most_more,
        )  # fmt: skip
        for k in range((state.size - 1) // 3):
            if n_out < said.shape[0]:
                row = said[n_out]
                for a in range(3):
                    row[a], row[4 + a] = state[3 * k + a], errors[3 * k + a]
                row[3], row[7] = state[state.size - 1], errors[state.size - 1]
                row[8], row[9] = crowd, 1.0 if came else 0.0
                n_out += 1
    return n_out
