"""Pixels scaled to what networks were taught on: the 1st percentile at 0, the 99.8th at 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError

Floats = NDArray[np.float32]

LOW_PERCENT, HIGH_PERCENT = 1.0, 99.8
_MOST_SAMPLES = 1_000_000
_SAMPLES_A_PLANE = 20_000


@dataclass(frozen=True)
class PixelRange:
    """What becomes 0 and what becomes 1."""

    low: float
    high: float

    def applied(self, image: NDArray[Any]) -> Floats:
        """Return pixels scaled; those of a range of nothing become 0."""
        span = self.high - self.low
        if not span > 0:
            return np.zeros(image.shape, np.float32)
        scaled = image.astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(1 / span)
        return scaled


def pixel_range(image: NDArray[Any], low: float = LOW_PERCENT, high: float = HIGH_PERCENT) -> PixelRange:
    """Return the percentiles of an image, or of all planes of a volume together.

    Planes of one single value (a shutter that stayed shut, a plane that was never taken) are left out: many of
    them would be most of the volume. Of more than a million pixels every n-th is asked.

    Raises
    ------
    BadInputError
        Not real numbers, or percentiles that are not in order.
    """
    if image.dtype.kind not in "fiub" or not image.size:
        raise BadInputError(f"normalising: image is {image.dtype} of shape {image.shape}, expected real numbers")
    if not 0 <= low < high <= 100:
        raise BadInputError(f"normalising: percentiles {low} to {high}, expected 0 to 100 in this order")
    planes = image if image.ndim == 3 else image[np.newaxis]
    per_plane = max(1, _MOST_SAMPLES // planes.shape[0])
    samples = [s for plane in planes if (s := _samples(plane, per_plane)) is not None]
    return _range_of(samples, low, high)


def normalised(image: NDArray[Any], told: PixelRange | None = None) -> Floats:
    """Return an image scaled by its own range, or by one that it is a part of."""
    return (told or pixel_range(image)).applied(image)


class RunningRange:
    """The range of the planes that have come so far: an empty one is not stretched until it shows noise."""

    def __init__(self) -> None:
        self._samples: list[NDArray[Any]] = []

    def add(self, plane: NDArray[Any]) -> PixelRange:
        """Take in a plane; return the range of all so far."""
        if (samples := _samples(plane, _SAMPLES_A_PLANE)) is not None:
            self._samples.append(samples)
        return _range_of(self._samples, LOW_PERCENT, HIGH_PERCENT)


def _samples(plane: NDArray[Any], most: int) -> NDArray[Any] | None:
    # A step that shares no factor with the row does not run down columns.
    step = max(1, plane.size // most)
    while step > 1 and math.gcd(step, plane.shape[-1]) > 1:
        step -= 1
    samples = plane.ravel()[::step]
    if samples.dtype.kind == "f":
        samples = samples[np.isfinite(samples)]
    return samples if samples.size and samples.min() < samples.max() else None


def _range_of(samples: list[NDArray[Any]], low: float, high: float) -> PixelRange:
    if not samples:
        return PixelRange(0.0, 0.0)
    bottom, top = np.percentile(np.concatenate(samples), (low, high))
    return PixelRange(float(bottom), float(top))
