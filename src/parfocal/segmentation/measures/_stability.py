"""Whether a segmentation stays what it is when the image changes in ways that should not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.segmentation.measures._compare import compare

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Stability:
    """What changed over the perturbations, the image as it is being one of them.

    Parameters
    ----------
    count_cv, volume_cv, foreground_cv : float
        Coefficient of variation (standard deviation over mean) of the number of objects, of their median volume,
        and of the voxels in any object.
    mean_ap50 : float
        Mean AP at an IoU of 0.5 of each against the one of the image as it is, after undoing flips.
    kinds : tuple of str
        What was done, in order.
    ap50 : tuple of float
        By kind.
    """

    count_cv: float
    volume_cv: float
    foreground_cv: float
    mean_ap50: float
    kinds: tuple[str, ...]
    ap50: tuple[float, ...]


def stability(
    segment: Callable[[Image], ArrayLike],
    image: ArrayLike,
    *,
    n: int = 6,
    noise_sd: float | None = None,
    shift_px: float = 0.5,
    seed: int = 0,
) -> Stability:
    """Segment an image again after changes that should not matter: noise, flips, shifts below a pixel.

    Repeating a deterministic method on one image says nothing: its variation is 0 by construction.

    Parameters
    ----------
    segment : callable
        Image in, labels out.
    image : array_like of shape (y, x) or (z, y, x)
    n : int
        How many perturbations; they alternate between noise, flip and shift.
    noise_sd : float, optional
        Of the noise that is added; half of what the image has by its finest diagonal detail where not given.
    shift_px : float
        The longest shift along y and x.
    seed : int

    Raises
    ------
    BadInputError
        Not an image or a volume, or `n` is below 1.
    """
    pixels = np.asarray(image, np.float32)
    if pixels.ndim not in (2, 3) or n < 1:
        raise BadInputError(f"stability: image of shape {pixels.shape}, n = {n}; expected 2 or 3 axes, 1 or more")
    rng = np.random.default_rng(seed)
    sd = 0.5 * _noise_sd(pixels) if noise_sd is None else noise_sd
    as_it_is = np.asarray(segment(pixels))
    facts, kinds, ap50 = [_facts(as_it_is)], list[str](), list[float]()
    for k in range(n):
        kind = ("noise", "flip", "shift")[k % 3]
        reference = as_it_is
        if kind == "noise":
            found = np.asarray(segment(pixels + rng.normal(0, sd, pixels.shape).astype(np.float32)))
        elif kind == "flip":
            axis = pixels.ndim - 1 - (k // 3) % pixels.ndim
            found = np.flip(np.asarray(segment(np.ascontiguousarray(np.flip(pixels, axis)))), axis)
        else:
            shift = np.zeros(pixels.ndim)
            shift[-2:] = rng.uniform(-shift_px, shift_px, 2)
            moved = ndimage.shift(pixels, shift, order=3, mode="nearest")
            found = np.asarray(segment(moved.astype(np.float32)))
        facts.append(_facts(found))
        kinds.append(kind)
        ap50.append(compare(reference, found).ap(0.5))
    count, volume, foreground = (_cv(np.array(one)) for one in zip(*facts, strict=True))
    return Stability(count, volume, foreground, float(np.mean(ap50)), tuple(kinds), tuple(ap50))


def _facts(labels: NDArray[Any]) -> tuple[float, float, float]:
    _, volumes = np.unique(labels[labels > 0], return_counts=True)
    return float(volumes.size), float(np.median(volumes)) if volumes.size else 0.0, float(volumes.sum())


def _cv(values: NDArray[np.float64]) -> float:
    return float(values.std() / values.mean()) if values.mean() else 0.0


def _noise_sd(pixels: Image) -> float:
    height, width = (2 * (side // 2) for side in pixels.shape[-2:])
    even = pixels[..., :height, :width]
    detail = even[..., ::2, ::2] - even[..., 1::2, ::2] - even[..., ::2, 1::2] + even[..., 1::2, 1::2]
    return float(np.median(np.abs(detail))) / 2 / 0.6745 if detail.size else 0.0
