"""Labels from a network's output: voxels follow the flow, and those that meet are one object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import for_each_band
from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.flows._filters import FoundMasks, filtered
from parfocal.segmentation.flows._settings import MaskSettings

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

_VOXELS_PER_BAND = 8192
_REACH_PX = 2
_SMALLER_PIECE = 0.2


def masks_from_output(
    output: NetOutput,
    settings: MaskSettings | None = None,
    image: NDArray[np.generic] | None = None,
    n_threads: int | None = None,
) -> Labels:
    """Return the labels of `find_masks`."""
    return find_masks(output, settings, image, n_threads).labels


def find_masks(
    output: NetOutput,
    settings: MaskSettings | None = None,
    image: NDArray[np.generic] | None = None,
    n_threads: int | None = None,
) -> FoundMasks:
    """Make objects of what a network says of a plane or a volume.

    Every foreground voxel is moved by the flow until it rests. Where many come to rest there is a seed: a
    connected place where their density, smoothed, is above `seed_density`. A voxel belongs to the seed that it
    ends at. Holes are filled, all but the largest piece of an object are cleared, and each object is held against
    the filters of `settings`. An object is never dropped for filling much of the volume.

    Parameters
    ----------
    output : NetOutput
        Of `(y, x)` or `(z, y, x)`.
    settings : MaskSettings, optional
        `MaskSettings()` by default.
    image : array of the output's shape, optional
        For the contrast filter; any real dtype.
    n_threads : int, optional
        All cores by default; the labels do not depend on it.

    Returns
    -------
    FoundMasks
        Labels (ids 1 to n in the order of each object's first voxel), what each object scored, and what was
        dropped and why.

    Raises
    ------
    BadInputError
        Channels whose shapes do not belong together, or an image of another shape.
    """
    settings = settings or MaskSettings()
    labels = group_voxels(output, settings, n_threads)
    if image is not None and image.shape != output.foreground.shape:
        raise BadInputError(
            f"masks: image is {image.shape}, expected the network's output's {output.foreground.shape}"
        )
    return filtered(labels, output, image, settings, n_threads)


def group_voxels(output: NetOutput, settings: MaskSettings, n_threads: int | None = None) -> Labels:
    """Return the objects of `find_masks` before any filter: consecutive ids in the order of the first voxel."""
    from parfocal.segmentation.flows._euler_kernel import (  # numba is slow to import
        add_ends,
        count_foreground,
        follow_2d,
        follow_3d,
        gather,
        inherit,
    )

    shape = _checked_shape(output)
    foreground = np.ascontiguousarray(output.foreground, np.float32).ravel()
    n = count_foreground(foreground, settings.foreground_logit)
    labels = np.zeros(shape, np.int32)
    if n == 0:
        return labels
    # An axis of one voxel has nowhere to flow to, and no second voxel to interpolate with.
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    planar = len(axes) < 3
    if len(axes) < 2:
        axes = list(range(len(shape)))[-2:]
    flow = np.ascontiguousarray(output.flow[axes], np.float32).reshape(len(axes), -1)
    packed = np.empty((foreground.size, len(axes)), np.float32)
    voxels = np.empty(n, np.int64)
    gather(flow, foreground, settings.foreground_logit, 0, foreground.size, voxels, packed)
    del flow
    ends = np.empty(n, np.int64)
    room = packed.reshape(*[max(shape[a], 1) for a in axes], len(axes))
    if min(room.shape[:-1]) < 2:  # a line: nothing to gather in
        return labels
    follow = follow_2d if planar else follow_3d

    def carry(band: int) -> None:
        first = band * _VOXELS_PER_BAND
        stop = min(first + _VOXELS_PER_BAND, n)
        follow(room, voxels, first, stop, settings.max_steps, settings.rest_px, ends)

    for_each_band(carry, -(-n // _VOXELS_PER_BAND), n_threads)
    del packed
    density = np.zeros(foreground.size, np.float32)
    add_ends(ends, density)
    seeds = _seeds(density.reshape(shape), output.boundary, settings)
    as_volume = (1, *shape) if len(shape) == 2 else shape
    inherit(seeds.reshape(as_volume), voxels, ends, _REACH_PX, labels.reshape(as_volume))
    return tidied(labels)


def tidied(labels: Labels) -> Labels:
    """Fill holes, clear all but the largest piece of each object, number them by their first voxel; in place."""
    from parfocal.segmentation.flows._regions_kernel import mend, regions_of

    volume = labels[np.newaxis] if labels.ndim == 2 else labels
    regions = np.empty(volume.shape, np.int32)
    n_regions = regions_of(volume, regions)
    mend(volume, regions, n_regions, int(volume.max()))
    numbered(volume)
    return labels


def numbered(labels: Labels) -> None:
    """Change ids to 1 to n, by each object's first voxel, in place."""
    from parfocal.segmentation.flows._regions_kernel import first_voxels, renumber

    n = int(labels.max())
    first = first_voxels(labels, n)
    old = 1 + np.flatnonzero(first[1:] >= 0)
    old = old[np.argsort(first[old])]
    new_ids = np.zeros(n + 1, np.int32)
    new_ids[old] = np.arange(1, old.size + 1)
    renumber(labels, new_ids)


def _seeds(density: Floats, boundary: Floats, settings: MaskSettings) -> Labels:
    """Return the places where voxels gather, those parted that the boundary channel shows to be two."""
    least = 0.5 * settings.smallest_px(density.ndim)
    smooth = ndimage.gaussian_filter(density, settings.seed_sigma_px, mode="constant", truncate=3.0)
    seeds, mass = _gathered(smooth > settings.seed_density, density)
    seeds_flat = seeds.ravel()
    heavy = mass >= least
    heavy[0] = False
    if settings.split_at_boundaries:
        inner = smooth / (1 + np.exp(np.clip(boundary, -30, 30)))
        pieces, piece_mass = _gathered(inner > settings.seed_density, density)
        at = np.flatnonzero(pieces)
        piece = pieces.ravel()[at]
        whole_of = np.zeros(piece_mass.size, np.int64)
        whole_of[piece] = seeds_flat[at]  # a piece lies within one seed: any of its voxels tells which
        large = heavy[whole_of] & (piece_mass >= np.maximum(least, _SMALLER_PIECE * mass[whole_of]))
        in_two = np.bincount(whole_of[large], minlength=mass.size) >= 2
        large &= in_two[whole_of]
        if large.any():
            new_ids = np.zeros(piece_mass.size, np.int32)
            new_ids[large] = mass.size + np.arange(large.sum())
            heavy = np.concatenate([heavy & ~in_two, np.ones(large.sum(), np.bool_)])
            inside = large[piece]
            seeds_flat[at[inside]] = new_ids[piece[inside]]
    at = np.flatnonzero(seeds_flat)
    seeds_flat[at] = np.where(heavy, np.arange(heavy.size), 0)[seeds_flat[at]]
    return seeds


def _gathered(where: NDArray[np.bool_], density: Floats) -> tuple[Labels, NDArray[np.float64]]:
    """Give each connected place (diagonals too) a number; return how many voxels rest in it; 0 is elsewhere."""
    found: Any = ndimage.label(where, np.ones((3,) * where.ndim))
    places: Labels = found[0]
    at = np.flatnonzero(where)
    mass = np.bincount(places.ravel()[at], density.ravel()[at], minlength=found[1] + 1)
    return places, mass.astype(np.float64)


def _checked_shape(output: NetOutput) -> tuple[int, ...]:
    shape = output.foreground.shape
    if len(shape) not in (2, 3) or 0 in shape:
        raise BadInputError(f"masks: foreground is {shape}, expected (y, x) or (z, y, x)")
    if output.flow.shape != (len(shape), *shape) or output.boundary.shape != shape:
        raise BadInputError(
            f"masks: flow is {output.flow.shape} and boundary {output.boundary.shape}, "
            f"expected {(len(shape), *shape)} and {shape}"
        )
    return shape
