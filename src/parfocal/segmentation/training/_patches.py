"""From a simulated patch to what one step is given: normalised, turned, with what the network should say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.flows import flow_targets

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Draw = Callable[[np.random.Generator], tuple[NDArray[Any], Labels]]
"""From a generator of random numbers to an image and its labels."""


def normalised_for_training(rng: np.random.Generator, image: NDArray[Any]) -> Floats:
    """Return an image whose 1st and 99.8th percentile are near 0 and 1, as `networks.normalised` gives whole ones.

    A whole volume's percentiles are not a tile's: an empty corner of a bright volume is all near 0, a dim nucleus
    far from 1. So patches are scaled by more or less than their own percentiles ask for; those that hold nothing
    but noise are sometimes left stretched, sometimes nearly flat.
    """
    low, high = np.percentile(image, (1.0, 99.8))
    spread = max(float(high - low), 1e-6)
    scale = float(np.exp(rng.uniform(np.log(0.35), np.log(1.25)))) if rng.random() < 0.6 else 1.0
    shift = float(rng.uniform(-0.03, 0.08)) if rng.random() < 0.5 else 0.0
    return ((image.astype(np.float32) - np.float32(low)) * np.float32(scale / spread) + np.float32(shift)).astype(
        np.float32
    )


def turned(rng: np.random.Generator, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return arrays flipped and turned by right angles in the plane, all in the same way; z is flipped too."""
    flips = [axis for axis in range(arrays[0].ndim) if rng.random() < 0.5]
    is_square = arrays[0].shape[-1] == arrays[0].shape[-2]
    quarter_turns = int(rng.integers(0, 4)) if is_square else 2 * int(rng.integers(0, 2))
    return tuple(
        np.ascontiguousarray(np.rot90(np.flip(array, flips), quarter_turns, axes=(-2, -1))) for array in arrays
    )


def nuclei_batch(draw: Draw, n: int, seed: int, step: int) -> Sequence[NDArray[np.float32]]:
    """Return one step's images `(n, 1, ...)`, flow `(n, ndim, ...)`, foreground and boundary `(n, 1, ...)`.

    The seed and the step alone decide what is in them.
    """
    images: list[Floats] = []
    flows: list[Floats] = []
    masks: list[Floats] = []
    edges: list[Floats] = []
    for k in range(n):
        rng = np.random.default_rng((seed, step, k))
        raw, labels = draw(rng)
        image, turned_labels = turned(rng, normalised_for_training(rng, raw), labels)
        flow, foreground, boundary = flow_targets(turned_labels)
        images.append(image[None])
        flows.append(flow)
        masks.append(foreground[None])
        edges.append(boundary[None])
    return [np.stack(images), np.stack(flows), np.stack(masks), np.stack(edges)]
