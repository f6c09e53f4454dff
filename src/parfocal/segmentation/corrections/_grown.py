"""The mask of a nucleus that was missed, from one point in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd
from parfocal.segmentation.corrections._kinds import Labels

_ROOM = 1.5
_DEFAULT_VOXELS = 12.0
_NOISE_OF_SMOOTH = 1 / (2 * math.sqrt(math.pi))
"""What a Gaussian of one pixel, along y and x, leaves of the noise of pixels."""
_AROUND_PX = 6


def grown_mask(
    image: NDArray[np.generic],
    labels: Labels,
    voxel_size_um: Sequence[float],
    point_px: Sequence[float],
    diameter_um: float | None = None,
) -> NDArray[np.bool_]:
    """Return the voxels about a point that are brighter than halfway between their surroundings and the point.

    Parameters
    ----------
    image, labels : ndarray of shape (z, y, x)
        Raw pixels, and labels: those of other objects are never taken.
    voxel_size_um, point_px : (z, y, x)
    diameter_um : float, optional
        No voxel is further from the point than half of it; where not told, 1.5 times the median of the labels'.

    Returns
    -------
    bool[z, y, x]

    Raises
    ------
    BadInputError
        The point lies outside, in an object, or is no brighter than what is about it.
    """
    at = tuple(round(float(p)) for p in point_px)
    if len(at) != labels.ndim or not all(0 <= p < n for p, n in zip(at, labels.shape, strict=False)):
        raise BadInputError(f"add at {tuple(point_px)}: outside the volume of shape {labels.shape} (z, y, x)")
    if labels[at]:
        raise BadInputError(f"add at {at}: object {int(labels[at])} is there; split or redraw it")
    if diameter_um is not None and not 0 < diameter_um < math.inf:
        raise BadInputError(f"add at {at}: diameter {diameter_um} um, expected a number above 0")
    reach_um = 0.5 * (diameter_um or _ROOM * _median_diameter_um(labels, voxel_size_um))
    box = tuple(
        slice(max(0, p - math.ceil(reach_um / size)), min(n, p + math.ceil(reach_um / size) + 1))
        for p, size, n in zip(at, voxel_size_um, labels.shape, strict=True)
    )
    grid = np.ogrid[box]
    squared = np.zeros(labels[box].shape)
    for g, p, size in zip(grid, at, voxel_size_um, strict=True):
        squared += ((g - p) * size) ** 2
    near = (squared <= reach_um**2) & (labels[box] == 0)
    smooth = ndimage.gaussian_filter(image[box].astype(np.float32), [0.0, 1.0, 1.0])
    here = tuple(p - s.start for p, s in zip(at, box, strict=True))
    low, high = float(np.percentile(smooth[labels[box] == 0], 10)), float(smooth[here])
    found: Any = ndimage.label(near & (smooth > 0.5 * (low + high)))
    parts: NDArray[np.int32] = np.asarray(found[0])
    if not high > low or not parts[here]:
        raise BadInputError(f"add at {at}: no brighter than what is about it")
    mask = np.zeros(labels.shape, dtype=bool)
    mask[box] = parts == parts[here]
    return mask


def stands_out_by(image: NDArray[np.generic], labels: Labels, mask: NDArray[np.bool_]) -> float:
    """Return how much brighter a mask is than the background about it, in standard deviations of smoothed noise.

    What is grown from a point of plain noise takes its brighter half and comes to 1.5 at most.

    Parameters
    ----------
    image, labels, mask : ndarray of shape (z, y, x)
        Of raw pixels; of the other objects; of at least one voxel.
    """
    there = [np.flatnonzero(mask.any(axis=tuple(b for b in range(mask.ndim) if b != a))) for a in range(mask.ndim)]
    box = tuple(
        slice(max(0, int(at[0]) - _AROUND_PX * (axis > 0)), int(at[-1]) + 1 + _AROUND_PX * (axis > 0))
        for axis, at in enumerate(there)
    )
    pixels, inside = image[box].astype(np.float32), mask[box]
    smooth = ndimage.gaussian_filter(pixels, [0.0, 1.0, 1.0])
    around = ~inside & (labels[box] == 0)
    if not around.any():
        return math.inf
    noise = robust_sd(np.diff(pixels, axis=-1)) / math.sqrt(2) * _NOISE_OF_SMOOTH
    above = float(smooth[inside].mean() - np.median(smooth[around]))
    return above / noise if noise > 0 else math.inf


def _median_diameter_um(labels: Labels, voxel_size_um: Sequence[float]) -> float:
    sizes = np.bincount(labels.ravel())[1:]
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return _DEFAULT_VOXELS * float(min(voxel_size_um))
    volume_um3 = float(np.median(sizes)) * math.prod(voxel_size_um)
    if labels.shape[0] == 1:
        return 2 * math.sqrt(volume_um3 / voxel_size_um[0] / math.pi)
    return (6 * volume_um3 / math.pi) ** (1 / 3)
