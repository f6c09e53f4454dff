"""Values spread from where they are known to everywhere else, smoothly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def filled(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `values` where `weight` is 1 and a smooth continuation of them where it is 0 (push and pull).

    Halving the image again and again averages what is known; on the way back each level fills what the next finer
    one does not know. The cost is that of a few passes over the image whatever the size of the gaps.

    Parameters
    ----------
    values, weight : ndarray of float32, shape (height, width)
        Weights 0 to 1; values where the weight is 0 do not matter.
    """
    if min(values.shape) < 2 or float(weight.min()) > 0.999:
        return values
    coarse, coarse_weight = _halved(values * weight), _halved(weight)
    known = coarse_weight > 1e-6
    mean = np.where(known, coarse / np.maximum(coarse_weight, 1e-6), 0).astype(np.float32)
    below = filled(mean, np.where(known, np.minimum(1.0, 4 * coarse_weight), 0).astype(np.float32))
    wide = _doubled(below, values.shape)
    return (weight * values + (1 - weight) * wide).astype(np.float32)


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    odd = [(0, size % 2) for size in image.shape]
    even = np.pad(image, odd, mode="edge")
    height, width = even.shape[0] // 2, even.shape[1] // 2
    return even.reshape(height, 2, width, 2).mean(axis=(1, 3))


def _doubled(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the image at twice its size, linearly interpolated between the centres of its pixels."""
    for axis in (0, 1):
        n = shape[axis]
        at = np.clip((np.arange(n) - 0.5) / 2, 0, image.shape[axis] - 1)
        low = np.minimum(at.astype(np.int64), max(0, image.shape[axis] - 2))
        part = (at - low).astype(np.float32)
        part = part[:, np.newaxis] if axis == 0 else part
        high = np.minimum(low + 1, image.shape[axis] - 1)
        image = np.take(image, low, axis) * (1 - part) + np.take(image, high, axis) * part
    return image
