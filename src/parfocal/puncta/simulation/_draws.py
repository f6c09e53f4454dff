"""Generators of random numbers: one a part, so that a part asked for or left out changes no other."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Part(IntEnum):
    """What is drawn; the numbers are part of every stored seed's meaning."""

    PLACES = 1
    MOTION = 2
    STEPS = 3
    LIGHT = 4
    BLINKING = 5
    BACKGROUND = 6
    FAMILIES = 7
    EVENTS = 8
    STRAY = 9
    WAVES = 10
    CAMERA = 11
    CALCIUM_CAMERA = 12


def generator(seed: int, part: Part) -> np.random.Generator:
    """Return the generator of one part of a scene."""
    return np.random.default_rng([seed, 0x9A7C, part])


def number(seed: int, part: Part) -> int:
    """Return a 62-bit seed of one part, for kernels that take one."""
    return int(generator(seed, part).integers(2**62))


def log_uniform(rng: np.random.Generator, low_high: tuple[float, float], n: int) -> NDArray[np.float64]:
    """Return numbers whose logarithm is uniform."""
    low, high = np.log(low_high)
    return np.exp(rng.uniform(low, high, n))
