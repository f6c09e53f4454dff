"""Random numbers inside compiled kernels: SplitMix64, uniforms, normals, Poisson counts, gammas.

A stream is one 64-bit state, so a frame's noise depends on its seed and number alone: not on threads, not on
which frames came before. Poisson counts are exact at every mean, no normal approximation.

Whatever draws in a loop is here too: numba's file cache looks at a kernel's own file alone, and would go on
using a kernel elsewhere that was compiled with an older version of these functions.

References
----------
.. [1] G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA (2014).
.. [2] W. Hoermann, "The transformed rejection method for generating Poisson random variables", Insurance:
   Mathematics and Economics 12, 39 (1993).
.. [3] G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 363 (2000).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2**-53
_INVERSION_BELOW = 10.0
_FINEST_S = 2.0**-10

BROWNIAN_SPAN_S = 2.0**24
"""How long a Brownian path is: about 194 days."""


@njit(cache=True, inline="always")
def mixed(value: Any) -> Any:
    """Return a well mixed 64-bit hash of a 64-bit value."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@njit(cache=True, nogil=True)
def stream(seed: Any, number: Any) -> Any:
    """Return the start state of stream `number` of a seed."""
    return mixed(mixed(np.uint64(seed) + _STEP) ^ (np.uint64(number) * _MIX_2 + _STEP))


@njit(cache=True, inline="always")
def uniform(state: Any) -> Any:
    """Return (new state, number in the open interval 0..1)."""
    state = state + _STEP
    return state, (np.float64(mixed(state) >> _S11) + 0.5) * _TO_UNIT


@njit(cache=True, nogil=True)
def normal_pair(state: Any) -> Any:
    """Return (new state, two independent standard normal numbers): Marsaglia's polar method."""
    while True:
        state, u = uniform(state)
        state, v = uniform(state)
        u = 2.0 * u - 1.0
        v = 2.0 * v - 1.0
        s = u * u + v * v
        if 0.0 < s < 1.0:
            factor = math.sqrt(-2.0 * math.log(s) / s)
            return state, u * factor, v * factor


@njit(cache=True, nogil=True)
def poisson(state: Any, mean: Any) -> Any:
    """Return (new state, Poisson count as a float): inversion below a mean of 10, PTRS above."""
    if mean <= 0.0:
        return state, 0.0
    if mean < _INVERSION_BELOW:
        state, u = uniform(state)
        term = math.exp(-mean)
        count = 0.0
        while u > term and count < 200.0:
            u -= term
            count += 1.0
            term *= mean / count
        return state, count
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        state, u = uniform(state)
        state, v = uniform(state)
        u -= 0.5
        us = 0.5 - abs(u)
        count = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return state, count
        if count < 0.0 or (us < 0.013 and v > us):
            continue
        inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
        left = math.log(v * inverse_alpha / (a / (us * us) + b))
        if left <= count * math.log(mean) - mean - math.lgamma(count + 1.0):
            return state, count


@njit(cache=True, nogil=True)
def gamma(state: Any, shape: Any) -> Any:
    """Return (new state, gamma number of scale 1) of a shape of 1 or more; 0 of a shape of 0."""
    if shape < 1.0:
        return state, 0.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        state, x, _ = normal_pair(state)
        v = (1.0 + c * x) ** 3
        if v <= 0.0:
            continue
        state, u = uniform(state)
        if math.log(u) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            return state, d * v


@njit(cache=True, nogil=True)
def add_noise(
    mean: Any, offset: Any, gain: Any, read_noise: Any, ceiling: Any, multiplies: Any, state: Any, adu: Any
) -> None:
    """Fill `adu` with a noisy frame; see `expose`. Offset, gain and read noise are maps or 1x1 arrays."""
    height, width = mean.shape
    # One number for all pixels arrives as a 1x1 array: its index stays 0.
    oy, ox = int(offset.shape[0] > 1), int(offset.shape[1] > 1)
    gy, gx = int(gain.shape[0] > 1), int(gain.shape[1] > 1)
    ry, rx = int(read_noise.shape[0] > 1), int(read_noise.shape[1] > 1)
    spare = 0.0
    for y in range(height):
        for x in range(width):
            state, electrons = poisson(state, np.float64(mean[y, x]))
            if multiplies:
                state, electrons = gamma(state, electrons)
            if (x & 1) == 0:
                state, noise, spare = normal_pair(state)
            else:
                noise = spare
            electrons += noise * read_noise[y * ry, x * rx]
            value = offset[y * oy, x * ox] + gain[y * gy, x * gx] * electrons
            adu[y, x] = np.uint16(min(max(value + 0.5, 0.0), ceiling))


@njit(cache=True, nogil=True)
def brownian(t_s: Any, seed: Any) -> Any:
    """Return W(t), W(0) = 0, variance t: Levy's midpoints, each from its own stream; linear below 1 ms."""
    left_t, right_t = 0.0, BROWNIAN_SPAN_S
    _state, first, _ = normal_pair(stream(seed, np.uint64(0)))
    left, right = 0.0, first * math.sqrt(BROWNIAN_SPAN_S)
    node = np.uint64(1)
    while right_t - left_t > _FINEST_S:
        _state, z, _ = normal_pair(stream(seed, node))
        middle_t = 0.5 * (left_t + right_t)
        middle = 0.5 * (left + right) + z * 0.5 * math.sqrt(right_t - left_t)
        if t_s < middle_t:
            right_t, right = middle_t, middle
            node = node * np.uint64(2)
        else:
            left_t, left = middle_t, middle
            node = node * np.uint64(2) + np.uint64(1)
    return left + (right - left) * (t_s - left_t) / (right_t - left_t)
