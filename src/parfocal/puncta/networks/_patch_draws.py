"""What patches of both channels are drawn with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta.networks._normalise import Floats
from parfocal.puncta.networks._recipe import Range

Generator = np.random.Generator
Doubles = NDArray[np.float64]


def log_uniform(rng: Generator, between: Range, size: int | None = None) -> Doubles:
    """Return numbers drawn evenly in their logarithm."""
    return np.exp(rng.uniform(math.log(between[0]), math.log(between[1]), size))


def recorded_counts(rng: Generator, expected_e: Doubles, excess_noise: float, variance: Floats) -> Floats:
    """Return what a camera makes of expected photoelectrons, in counts (electrons over excess noise)."""
    electrons = rng.poisson(np.maximum(expected_e, 0.0)).astype(np.float32)
    if excess_noise > 1.0:  # an EM register of many stages: the sum of n exponentials
        electrons = rng.standard_gamma(np.maximum(electrons, 1e-12)).astype(np.float32)
    counts = electrons / np.float32(excess_noise)
    return counts + rng.standard_normal(counts.shape, np.float32) * np.sqrt(variance)


def uneven_field(rng: Generator, side_px: int, share: float) -> Doubles:
    """Return how light is spread, mean about 1: a slope and broad blobs in such a share of draws, else even."""
    if rng.random() >= share:
        return np.ones((side_px, side_px))
    at = (np.arange(side_px) - (side_px - 1) / 2) / side_px
    slope = rng.uniform(-0.6, 0.6, 2)
    field = 1.0 + slope[0] * at[:, None] + slope[1] * at
    for _ in range(rng.integers(0, 5)):
        centre, width = rng.uniform(-0.6, 0.6, 2), rng.uniform(5.0, 20.0) / side_px
        blob = np.exp(-0.5 * ((at - centre[0]) / width) ** 2)[:, None] * np.exp(
            -0.5 * ((at - centre[1]) / width) ** 2
        )
        field += rng.uniform(-0.4, 1.0) * blob
    return np.maximum(field, 0.1)
