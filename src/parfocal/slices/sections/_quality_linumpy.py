"""linumpy's quality of a section, number for number: for comparison only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import sobel

from parfocal.imaging import ncc, ssim
from parfocal.slices.sections._pair_quality import WEIGHTS, centre_crop, sampled_planes


def linumpy_quality(
    volume: NDArray[Any],
    before: NDArray[Any] | None,
    after: NDArray[Any] | None,
    sample_depth: int = 5,
    roi_size: int = 0,
) -> dict[str, float | bool | int]:
    """Return its numbers for one section: planes stretched from minimum to maximum, nothing registered.

    The mean over both neighbours counts; edges are compared with the mean of both neighbours' middle planes; the
    variance is compared with that of a constant, so that this part is near 0 for perfect data.
    """
    told: dict[str, float | bool | int] = {
        "ssim_before": 0.0,
        "ssim_after": 0.0,
        "ssim_mean": 0.0,
        "edge_score": 0.0,
        "variance_score": 0.0,
        "depth": int(volume.shape[0]),
        "has_data": True,
        "overall": 0.0,
    }
    depth = volume.shape[0]
    # a view, not a copy: the variance of a constant is rounding, which depends on the order in memory
    sample = np.moveaxis(centre_crop(np.moveaxis(volume[:: max(1, depth // 8)], 0, -1), roi_size), -1, 0)
    if sample.max() == sample.min() or float(np.std(sample)) < 1e-6:
        return told | {"has_data": False}
    neighbours = [one for one in (before, after) if one is not None]
    scores: list[float] = []
    for name, other in (("ssim_before", before), ("ssim_after", after)):
        if other is not None:
            told[name] = _volume_ssim(volume, other, sample_depth, roi_size)
            scores.append(float(told[name]))
    if not neighbours:
        return told
    told["ssim_mean"] = float(np.mean(scores))
    middle = depth // 2
    planes = [_to_the(centre_crop(np.asarray(n[min(middle, n.shape[0] - 1)]), roi_size)) for n in neighbours]
    height, width = (min(p.shape[axis] for p in planes) for axis in (0, 1))
    reference = np.sum([p[:height, :width] for p in planes], axis=0) / np.float32(len(planes))
    own = centre_crop(np.asarray(volume[middle]), roi_size)
    told["edge_score"] = _edges(own, reference)
    told["variance_score"] = _variance(sample, sample * 0 + reference.mean())
    told["overall"] = float(
        sum(w * told[name] for w, name in zip(WEIGHTS, ("ssim_mean", "edge_score", "variance_score")))
    )
    return told


def _to_the(plane: NDArray[Any]) -> NDArray[np.float32]:
    return plane.astype(np.float32)


def _stretched(plane: NDArray[Any]) -> NDArray[np.float32]:
    unit = plane.astype(np.float32)
    low, high = unit.min(), unit.max()
    return (unit - low) / (high - low) if high > low else unit


def _common(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    return a[:height, :width], b[:height, :width]


def _volume_ssim(first: NDArray[Any], second: NDArray[Any], sample_depth: int, roi_size: int) -> float:
    height, width = (min(first.shape[axis], second.shape[axis]) for axis in (1, 2))
    values: list[float] = []
    for z in sampled_planes(min(first.shape[0], second.shape[0]), sample_depth):
        a, b = (centre_crop(np.asarray(v[z])[:height, :width], roi_size) for v in (first, second))
        values.append(ssim(_stretched(a), _stretched(b), data_range=1.0))
    return float(np.mean(values))


def _edges(plane: NDArray[Any], reference: NDArray[Any]) -> float:
    a, b = _common(_stretched(plane), _stretched(reference))
    value = ncc(*(np.sqrt(sobel(p, axis=0) ** 2 + sobel(p, axis=1) ** 2) for p in (a, b)))
    return max(0.0, float(value)) if np.isfinite(value) else 0.0


def _variance(sample: NDArray[Any], reference: NDArray[Any]) -> float:
    spread = float(np.var(reference))
    if spread == 0.0:
        return 0.0
    return float(np.clip(2.0 / (1.0 + abs(np.log(float(np.var(sample)) / spread + 1e-10))), 0.0, 1.0))
