"""From a correction to what a network is shown: pixels at the size that it knows, labels, and what counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.segmentation.corrections._edits import Box, box_slices
from parfocal.segmentation.corrections._kinds import Labels
from parfocal.segmentation.corrections._record import Correction, Crop
from parfocal.segmentation.grids import Grid, resample, resample_labels
from parfocal.segmentation.networks import PixelRange, pixel_range

Floats = NDArray[np.float32]
_HALO_PX = 3
_LEAST_DIAMETER_PX = 2.0


@dataclass(frozen=True)
class LearningCrop:
    """A correction at the size that a network knows.

    Parameters
    ----------
    correction_id : str
        Which.
    image : float32[...]
        The volume's 1st and 99.8th percentile are 0 and 1.
    labels : int32[...]
        After the correction.
    weight : float32[...]
        1 in and about what was corrected, less where the model's own labels stand.
    """

    correction_id: str
    image: Floats
    labels: Labels
    weight: Floats


def learning_crop(
    correction: Correction,
    crop: Crop,
    *,
    diameter_px: float,
    dims: int,
    outside_weight: float,
    kept_out: Sequence[Box] = (),
    truth: Labels | None = None,
) -> LearningCrop | None:
    """Bring a correction to the size that a network knows.

    Parameters
    ----------
    correction, crop : Correction, Crop
        What was done, and its pixels.
    diameter_px : float
        Of the nuclei that the network knows.
    dims : {2, 3}
        A network of planes is shown the planes as they are, resampled in y and x alone.
    outside_weight : float
        Of voxels that nobody has corrected.
    kept_out : sequence of boxes
        Of the volume: voxels there count nothing, since the gate judges by them.
    truth : int32[...], optional
        Labels of the crop as later corrections left them; as this one did where not told.

    Returns
    -------
    LearningCrop or None
        `(z, y, x)` in both cases; None where nothing that was corrected is left.
    """
    weight = changed_weight(crop, correction, outside_weight)
    for box in kept_out:
        here = [(max(a - low, 0), max(b - low, 0)) for (a, b), (low, _) in zip(box, correction.box, strict=True)]
        weight[box_slices(tuple(here))] = 0.0
    if not (weight >= correction.weight).any():
        return None
    side_um = typical_diameter_um(crop, correction.voxel_size_um) / diameter_px
    zoom = [size / side_um for size in correction.voxel_size_um]
    if dims == 2:
        zoom[0] = 1.0
    grid = Grid(crop.image.shape, tuple(zoom))
    scale = PixelRange(*correction.image_range) if correction.image_range else pixel_range(crop.image)
    weight = resample_labels(weight, grid)
    if not (weight >= correction.weight).any():  # thinner than a voxel of the grid
        return None
    return LearningCrop(
        correction.id,
        scale.applied(resample(crop.image, grid)),
        resample_labels(crop.after if truth is None else truth, grid).astype(np.int32),
        weight,
    )


def core_box(correction: Correction, crop: Crop) -> Box:
    """Return the box, in the volume, of what counts fully in a correction."""
    core = changed_weight(crop, correction, 0.0) > 0
    low = [start for start, _ in correction.box]
    return tuple(
        (int(at.min()) + start, int(at.max()) + start + 1) for at, start in zip(np.nonzero(core), low, strict=True)
    )


def touched_voxels(crop: Crop, correction: Correction) -> NDArray[np.bool_]:
    """Return where the objects of a correction are or were."""
    touched = crop.before != crop.after
    touched |= np.isin(crop.before, correction.ids_before) | np.isin(crop.after, correction.ids_after)
    return touched & ((crop.before > 0) | (crop.after > 0))


def changed_weight(crop: Crop, correction: Correction, outside_weight: float) -> Floats:
    """Return what each voxel of a crop counts: `weight` in and within 3 voxels of what was corrected."""
    touched = touched_voxels(crop, correction)
    # In a plane: planes far apart would else count what lies above and below a nucleus as corrected.
    around = np.zeros((3,) * touched.ndim, dtype=bool)
    around[(1,) * (touched.ndim - 2)] = ndimage.generate_binary_structure(2, 1)
    near = ndimage.binary_dilation(touched, around, iterations=_HALO_PX)
    return np.where(near, correction.weight, outside_weight * correction.weight).astype(np.float32)


def typical_diameter_um(crop: Crop, voxel_size_um: Sequence[float]) -> float:
    """Return the median diameter of a crop's objects, um: of a ball (disc) of their volume (area)."""
    labels = crop.after if crop.after.any() else crop.before
    sizes = np.bincount(labels.ravel())[1:]
    sizes = sizes[sizes > 0]
    voxel = math.prod(voxel_size_um)
    if not sizes.size:
        return 10.0 * min(voxel_size_um)
    volume = float(np.median(sizes)) * voxel
    flat = labels.shape[0] == 1
    diameter = 2 * math.sqrt(volume / voxel_size_um[0] / math.pi) if flat else (6 * volume / math.pi) ** (1 / 3)
    return max(diameter, _LEAST_DIAMETER_PX * min(voxel_size_um))


def cut_patch(rng: np.random.Generator, crop: LearningCrop, shape: Sequence[int]) -> tuple[Floats, Labels, Floats]:
    """Return a patch about a corrected voxel, `(z, y, x)` or `(y, x)`; what is outside the crop counts nothing."""
    counts = np.argwhere(crop.weight >= crop.weight.max())
    centre = counts[int(rng.integers(len(counts)))]
    flat = len(shape) == 2
    wanted = (1, *shape) if flat else tuple(shape)
    start = [int(c) - n // 2 for c, n in zip(centre, wanted, strict=True)]
    image = _padded(crop.image, start, wanted, float(np.median(crop.image)))
    labels = _padded(crop.labels, start, wanted, 0)
    weight = _padded(crop.weight, start, wanted, 0.0)
    return (image[0], labels[0], weight[0]) if flat else (image, labels, weight)


def _padded(array: NDArray[Any], start: Sequence[int], shape: Sequence[int], outside: float) -> NDArray[Any]:
    out = np.full(tuple(shape), outside, dtype=array.dtype)
    source: list[slice] = []
    target: list[slice] = []
    for first, size, length in zip(start, shape, array.shape, strict=True):
        low, high = max(first, 0), min(first + size, length)
        source.append(slice(low, max(low, high)))
        target.append(slice(low - first, max(low, high) - first))
    out[tuple(target)] = array[tuple(source)]
    return out
