"""How large nuclei are, and the grid on which they are as large as a network knows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.segmentation.flows import MaskSettings, find_masks
from parfocal.segmentation.grids import Grid, isotropic_um, resample
from parfocal.segmentation.networks._net import NucleiNet
from parfocal.segmentation.networks._normalise import PixelRange, pixel_range
from parfocal.segmentation.networks._tiles import TileSettings, run_tiles

_SIZES_TRIED = (1.0, 2.0, 4.0)
_FINER_SHARE, _LARGE_SHARE, _OCTAVES = 0.2, 0.1, 0.7
_LOOK_VOXELS = {2: 512 * 512, 3: 48 * 192 * 192}


def grid_for(
    net: NucleiNet, shape: Sequence[int], voxel_size_um: Sequence[float], diameter_um: float | None
) -> Grid:
    """Return the isotropic grid on which nuclei of a diameter are of a size that the network knows.

    That of `isotropic_um`, where no diameter is told or the network knows it there: what was interpolated less is
    seen better. Else the one on which nuclei are as large as it knows them best.

    Raises
    ------
    BadInputError
        A diameter or a voxel that is not above 0, or axes that are not the network's.
    """
    if len(shape) != net.dims or len(voxel_size_um) != net.dims:
        raise BadInputError(
            f"network: image is {tuple(shape)} with voxels of {tuple(voxel_size_um)} um, expected {net.dims} axes"
        )
    side = isotropic_um(voxel_size_um)
    if diameter_um is not None:
        if not 0 < diameter_um < math.inf:
            raise BadInputError(f"network: diameter_um is {diameter_um}, expected a number above 0")
        low, high = net.known_px
        if not low <= diameter_um / side <= high:
            side = diameter_um / net.diameter_px
    zoom = tuple(_near_one(float(v) / side) for v in voxel_size_um)
    return Grid(tuple(int(n) for n in shape), zoom)


def estimate_diameter_um(
    net: NucleiNet,
    image: NDArray[Any],
    voxel_size_um: Sequence[float],
    told: PixelRange | None = None,
    settings: TileSettings | None = None,
) -> float | None:
    """Return the diameter of nuclei as a first pass of the network finds it; None where it finds none.

    The image (the part of it that has most in it, where it is large) is asked at three sizes, each half of the one
    before. How much of it is in objects that the network is sure of, and that are about as large as it knows
    nuclei, is what a size explains. The finest size that explains at least a fifth of what the best does is
    measured: the median equivalent diameter, by volume. Made small enough, an embryo looks like a nucleus: what
    fills more than a tenth of the image counts where there is nothing else alone.
    """
    scale = told or pixel_range(image)
    side = isotropic_um(voxel_size_um)
    explained: list[tuple[float, float]] = []
    in_large: list[tuple[float, float]] = []
    for size in _SIZES_TRIED:
        grid = Grid(image.shape, tuple(_near_one(float(v) / (side * size)) for v in voxel_size_um))
        small = scale.applied(resample(_fullest(image, grid, scale), _cut_grid(image, grid)))
        if min(small.shape[-2:]) < 2 * net.diameter_px and size > 1:
            break
        output = run_tiles(net, lambda r, a=small: a[tuple(slice(*s) for s in r)], small.shape, settings=settings)
        masks = find_masks(output, MaskSettings(min_relative_contrast=None), small)
        volumes = np.bincount(masks.labels.ravel())[1:].astype(np.float64)
        large = volumes > _LARGE_SHARE * small.size
        for some, told_by in ((~large, explained), (large, in_large)):
            if some.any():
                diameter_px = _diameter(_median_by_volume(volumes[some]), net.dims)
                sure = float((volumes * (1 - masks.flow_error / 0.4))[some].sum()) / small.size
                off = math.log2(diameter_px / net.diameter_px)
                told_by.append((sure * math.exp(-0.5 * (off / _OCTAVES) ** 2), diameter_px * side * size))
    explained = explained or in_large
    most = max((score for score, _ in explained), default=0.0)
    return next((diameter_um for score, diameter_um in explained if score >= _FINER_SHARE * most), None)


def _fullest(image: NDArray[Any], grid: Grid, scale: PixelRange) -> NDArray[Any]:
    return image[_look(image, grid, scale)]


def _cut_grid(image: NDArray[Any], grid: Grid) -> Grid:
    window = _look_shape(image.shape, grid)
    return Grid(window, grid.zoom)


def _look_shape(shape: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """Return a part of the image that is at most `_LOOK_VOXELS` on the grid, of the image's proportions."""
    most = _LOOK_VOXELS[len(shape)]
    there = math.prod(grid.shape)
    if there <= most:
        return shape
    share = (most / there) ** (1 / len(shape))
    return tuple(max(1, math.ceil(n * share)) for n in shape)


def _look(image: NDArray[Any], grid: Grid, scale: PixelRange) -> tuple[slice, ...]:
    """Return where, of a few places on a lattice, the image is brightest on the whole."""
    window = _look_shape(image.shape, grid)
    if window == image.shape:
        return tuple(slice(0, n) for n in image.shape)
    starts = [np.unique(np.linspace(0, n - w, 3).astype(int)) for n, w in zip(image.shape, window)]
    places = [tuple(slice(a, a + w) for a, w in zip(at, window)) for at in np.stack(
        np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, image.ndim)]  # fmt: skip
    thin = tuple(slice(None, None, max(1, w // 32)) for w in window)
    return max(places, key=lambda p: float(np.clip(scale.applied(image[p][thin]), 0, 1).mean()))


def _near_one(zoom: float) -> float:
    # Within 2 % interpolation blurs more than the size gains.
    return 1.0 if abs(zoom - 1) < 0.02 else zoom


def _diameter(volume: float, ndim: int) -> float:
    return (6 * volume / math.pi) ** (1 / 3) if ndim == 3 else 2 * math.sqrt(volume / math.pi)


def _median_by_volume(volumes: NDArray[np.float64]) -> float:
    ordered = np.sort(volumes)
    reached = np.cumsum(ordered)
    return float(ordered[np.searchsorted(reached, reached[-1] / 2)])
