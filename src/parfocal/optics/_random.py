"""Random numbers inside compiled kernels: SplitMix64, uniforms, normals and Poisson counts.

A stream is one 64-bit state, so a frame's noise depends on its seed and number alone: not on threads, not on
which frames came before. Poisson counts are exact at every mean, no normal approximation.

References
----------
.. [1] G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA (2014).
.. [2] W. Hoermann, "The transformed rejection method for generating Poisson random variables", Insurance:
   Mathematics and Economics 12, 39 (1993).
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


@njit(cache=True, inline="always")
def mixed(value: Any) -> Any:
    """Return a well mixed 64-bit hash of a 64-bit value."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@njit(cache=True)
def stream(seed: Any, number: Any) -> Any:
    """Return the start state of stream `number` of a seed."""
    return mixed(mixed(np.uint64(seed) + _STEP) ^ (np.uint64(number) * _MIX_2 + _STEP))


@njit(cache=True, inline="always")
def uniform(state: Any) -> Any:
    """Return (new state, number in the open interval 0..1)."""
    state = state + _STEP
    return state, (np.float64(mixed(state) >> _S11) + 0.5) * _TO_UNIT


@njit(cache=True)
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


@njit(cache=True)
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
