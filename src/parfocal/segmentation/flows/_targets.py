"""What a network is taught to say of labels: flow, foreground, boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import for_each_band

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

_WAYS = {"auto": 0, "straight": 1, "heat": 2}
_IDS_PER_BAND = 64


def flow_targets(
    labels: ArrayLike,
    voxel_size_um: Sequence[float] | None = None,
    way: Literal["auto", "straight", "heat"] = "auto",
    n_threads: int | None = 1,
) -> tuple[Floats, Floats, Floats]:
    """Return what a perfect network would say of labels.

    Each voxel points at the centre of its object: the centroid, or where that is outside of the object the voxel
    of it that is nearest to the centroid in um. An object that is not seen whole from its centre (more than 3 % of
    its voxels have a straight way that leaves it) is given the gradient of the heat that spreads from its centre
    instead, with surroundings held at 0 [1]_: that leads round corners.

    Parameters
    ----------
    labels : int array `(y, x)` or `(z, y, x)`
        0 is background.
    voxel_size_um : sequence of float, optional
        Of each axis of `labels`; all equal by default. Heat spreads and the nearest voxel is found in um; the
        vectors themselves are in voxels, as the straight way is the same in both.
    way : {"auto", "straight", "heat"}
        `auto` chooses for each object as said above.
    n_threads : int, optional
        1 by default, as loaders make many at once; None for all cores.

    Returns
    -------
    flow : float32[ndim, ...]
        Along each axis in the array's order, of length 1 in voxels (less within one voxel of the centre, where it
        is the way that is left); 0 in the background.
    foreground : float32[...]
        1 in objects, 0 elsewhere.
    boundary : float32[...]
        1 in voxels of an object with a face neighbour that is not of it.

    Raises
    ------
    BadInputError
        Not two or three axes of integers, or a voxel size that is not above 0 along each.

    References
    ----------
    .. [1] C. Stringer, T. Wang, M. Michaelos, M. Pachitariu, "Cellpose: a generalist algorithm for cellular
       segmentation", Nat. Methods 18, 100 (2021).
    """
    from parfocal.segmentation.flows._targets_kernel import (  # numba is slow to import
        boxes_and_centroids,
        mark_boundary,
        point_to_centres,
    )

    volume, ids = _checked(labels, "flow targets")
    given = np.ndim(labels)
    step = _steps(voxel_size_um, given)
    flow = np.zeros((3, *volume.shape), np.float32)
    boundary = np.zeros(volume.shape, np.float32)
    boxes, centres, counts = boxes_and_centroids(volume, ids)
    n_bands = -(-ids // _IDS_PER_BAND)

    def point(band: int) -> None:
        first = 1 + band * _IDS_PER_BAND
        stop = min(first + _IDS_PER_BAND, ids + 1)
        point_to_centres(volume, boxes, centres, counts, step, first, stop, _WAYS[way], flow)

    if n_bands:
        for_each_band(point, n_bands, n_threads)
    for_each_band(lambda z: mark_boundary(volume, z, z + 1, boundary), volume.shape[0], n_threads)
    foreground = (volume > 0).astype(np.float32)
    if given == 2:
        return flow[1:, 0], foreground[0], boundary[0]
    return flow, foreground, boundary


def flow_errors(
    labels: ArrayLike,
    flow: NDArray[np.floating[Any]],
    voxel_size_um: Sequence[float] | None = None,
    n_threads: int | None = None,
) -> Floats:
    """Return how much a flow disagrees with the objects that were made of it.

    The mean over an object's voxels of the squared distance between the flow and the target that its mask would
    give: 0 for a perfect agreement, 1 for no flow, 2 for a random one, at most 4. Cellpose calls it `flow_error`
    and drops objects above 0.4, in 2D only; in 3D it matters more.

    Parameters
    ----------
    labels : int array `(y, x)` or `(z, y, x)`
    flow : float array `(ndim, ...)`
    voxel_size_um, n_threads
        As of `flow_targets`.

    Returns
    -------
    float32[n]
        Of the ids 1 to n, the largest; NaN where an id has no voxel.

    Raises
    ------
    BadInputError
        As `flow_targets`, or a flow of another shape.
    """
    from parfocal.segmentation.flows._targets_kernel import sum_flow_errors

    volume, ids = _checked(labels, "flow errors")
    given = np.ndim(labels)
    if flow.shape != (given, *np.shape(labels)):
        raise BadInputError(
            f"flow errors: flow is {flow.shape}, expected {(given, *np.shape(labels))} for labels "
            f"{np.shape(labels)}"
        )
    target, _, _ = flow_targets(labels, voxel_size_um, n_threads=n_threads)
    sums = np.zeros(ids + 1, np.float64)
    shape = (given, *volume.shape)
    heard = np.ascontiguousarray(flow, np.float32).reshape(shape)
    sum_flow_errors(volume, heard, np.ascontiguousarray(target).reshape(shape), sums)
    counts = np.bincount(np.maximum(volume, 0).ravel(), minlength=ids + 1)
    with np.errstate(invalid="ignore"):
        return (sums[1:] / counts[1:]).astype(np.float32)


def _checked(labels: ArrayLike, who: str) -> tuple[Labels, int]:
    """Return labels as a contiguous int32 volume, and the largest id."""
    array = np.asarray(labels)
    if array.ndim not in (2, 3) or array.dtype.kind not in "iub" or not array.size:
        raise BadInputError(
            f"{who}: labels are {array.dtype} of shape {array.shape}, expected integers (y, x) or (z, y, x)"
        )
    top = int(array.max())
    if top > np.iinfo(np.int32).max:
        raise BadInputError(f"{who}: an id is {top}, expected at most {np.iinfo(np.int32).max}: relabel first")
    volume = np.ascontiguousarray(array, np.int32)
    return (volume[np.newaxis] if array.ndim == 2 else volume), max(top, 0)


def _steps(voxel_size_um: Sequence[float] | None, ndim: int) -> NDArray[np.float64]:
    if voxel_size_um is None:
        return np.ones(3, np.float64)
    step = np.asarray(voxel_size_um, np.float64)
    if step.shape != (ndim,) or not np.all(np.isfinite(step)) or not np.all(step > 0):
        raise BadInputError(
            f"flow targets: voxel_size_um is {tuple(voxel_size_um)}, expected {ndim} sizes above 0"
        )
    return np.concatenate([np.ones(3 - ndim), step / step.min()])
