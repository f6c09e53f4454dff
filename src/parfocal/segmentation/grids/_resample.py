"""Pixels by linear interpolation, labels by the voxel that is there, flows as the arrows that they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.grids._grid import Grid, Region, isotropic_um, whole

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Read = Callable[[Region], NDArray[Any]]

_TRUNCATE = 3.0


@dataclass(frozen=True)
class Resampled:
    """A volume on another grid.

    Parameters
    ----------
    image : float32[...]
    voxel_size_um : tuple of float
        Of the image.
    grid : Grid
        Where it lies on the source.
    """

    image: Floats
    voxel_size_um: tuple[float, ...]
    grid: Grid


def to_isotropic(volume: NDArray[Any], voxel_size_um: Sequence[float], target: float | None = None) -> Resampled:
    """Return a volume (or plane) with equal voxel sides.

    Parameters
    ----------
    volume : real array `(z, y, x)` or `(y, x)`
    voxel_size_um : sequence of float
        Of each axis.
    target : float, optional
        Side wanted, in um; `isotropic_um(voxel_size_um)` by default.

    Raises
    ------
    BadInputError
        Sizes that are not above 0, or not one for each axis.
    """
    side = isotropic_um(voxel_size_um) if target is None else float(target)
    if len(voxel_size_um) != volume.ndim or not 0 < side < math.inf:
        raise BadInputError(
            f"resampling: target {side} um, voxel_size_um {tuple(voxel_size_um)}, expected sizes above 0 for "
            f"{volume.ndim} axes"
        )
    grid = Grid(volume.shape, tuple(float(v) / side for v in voxel_size_um))
    return Resampled(resample(volume, grid), (side,) * volume.ndim, grid)


def resample(image: NDArray[Any], grid: Grid) -> Floats:
    """Return an image at the voxel centres of a grid, by linear interpolation.

    Where the grid is coarser, the image is smoothed first by a Gaussian of (1 / zoom - 1) / 2, so that what the
    coarser grid cannot hold does not come back as something else.
    """
    return resampled_region(lambda region: image[tuple(slice(*r) for r in region)], grid, whole(grid.shape))


def resampled_region(read: Read, grid: Grid, region: Region) -> Floats:
    """Return a region of a resampled image, reading no more of the source than it takes.

    Each voxel has the value that it has in `resample` of the whole.

    Parameters
    ----------
    read : callable
        Returns a region of the source.
    region : of the new grid.
    """
    ask: list[tuple[int, int]] = []
    for axis, (first, stop) in enumerate(region):
        at = grid.source_positions(axis, first, stop)
        margin = math.ceil(_TRUNCATE * _sigma(grid.zoom[axis])) + 1
        ask.append((max(0, int(at[0]) - margin), min(grid.source_shape[axis], int(at[-1]) + 2 + margin)))
    out: Floats = np.asarray(read(tuple(ask)), np.float32)
    for axis, (first, stop) in enumerate(region):
        sigma = _sigma(grid.zoom[axis])
        if sigma > 0:
            smoothed: Any = ndimage.gaussian_filter1d(out, sigma, axis, mode="nearest", truncate=_TRUNCATE)
            out = smoothed
        if grid.zoom[axis] == 1:
            begin = first - ask[axis][0]
            out = out[(slice(None),) * axis + (slice(begin, begin + stop - first),)]
            continue
        at = grid.source_positions(axis, first, stop)
        below = np.minimum(at.astype(np.int64), grid.source_shape[axis] - 1)
        above = np.minimum(below + 1, grid.source_shape[axis] - 1)
        share = (at - below).astype(np.float32).reshape((-1,) + (1,) * (out.ndim - 1 - axis))
        low, high = np.take(out, below - ask[axis][0], axis), np.take(out, above - ask[axis][0], axis)
        high -= low
        high *= share
        high += low
        out = high
    return np.ascontiguousarray(out)


def resample_labels(labels: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Return the label that lies at each voxel centre of a grid; no new ids, no mixtures."""
    picks = [np.rint(grid.source_positions(a, 0, n)).astype(np.intp) for a, n in enumerate(grid.shape)]
    return labels[np.ix_(*picks)]


def labels_back(
    labels: NDArray[Any], shape: Sequence[int], zoom: Sequence[float] | None = None, region: Region | None = None
) -> NDArray[Any]:
    """Return labels of a resampled volume at the voxels of its source.

    Each voxel takes the label at its own centre. Where the grid is nowhere coarser than the source,
    `labels_back(resample_labels(labels, grid), labels.shape, grid.zoom)` is `labels`, voxel by voxel.

    Parameters
    ----------
    labels : int array
    shape : sequence of int
        Of the source.
    zoom : sequence of float, optional
        New voxels per voxel of the source; by default what the two shapes say, which is exact to a voxel only.
    region : optional
        Part of the source to return; `labels` is the whole all the same.

    Raises
    ------
    BadInputError
        Labels of a shape that `zoom` does not make of `shape`.
    """
    given = tuple(int(n) for n in shape)
    if len(given) != labels.ndim:
        raise BadInputError(f"labels back: labels are {labels.shape}, expected {len(given)} axes as {given}")
    grid = Grid(given, tuple(zoom) if zoom is not None else tuple(m / n for m, n in zip(labels.shape, given)))
    if grid.shape != labels.shape:
        raise BadInputError(f"labels back: labels are {labels.shape}, expected {grid.shape} of {given} by {zoom}")
    # Half a voxel off is a tie: the one with the larger index has it, on either side.
    picks = [
        np.minimum(np.floor(grid.positions_of_source(a, first, stop) + 0.5).astype(np.intp), labels.shape[a] - 1)
        for a, (first, stop) in enumerate(region or whole(given))
    ]
    return labels[np.ix_(*picks)]


def output_back(output: NetOutput, grid: Grid) -> NetOutput:
    """Return a network's output at the voxels of the source of the grid that it was made on.

    A flow is an arrow in voxels: along each axis it is divided by the zoom, then given its former length, so that
    it still says how sure the network is and where to go, in the source's voxels.
    """
    if grid.is_same:
        return output
    back = Grid(grid.shape, tuple(1 / z for z in grid.zoom))
    region = whole(grid.source_shape)

    def at_source(channel: Floats) -> Floats:
        return resampled_region(lambda r: channel[tuple(slice(*s) for s in r)], back, region)

    flow = np.stack([at_source(component) for component in output.flow])
    length = np.sqrt((flow * flow).sum(0))
    flow /= np.asarray(grid.zoom, np.float32).reshape((-1,) + (1,) * length.ndim)
    scaled = np.sqrt((flow * flow).sum(0))
    flow *= length / np.maximum(scaled, np.float32(1e-12))
    return NetOutput(flow, at_source(output.foreground), at_source(output.boundary))


def _sigma(zoom: float) -> float:
    return max(0.0, (1 / zoom - 1) / 2)
