"""What a network says of an image, at the size that it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.grids import Grid, labels_back, output_back, resampled_region
from parfocal.segmentation.networks._net import NucleiNet, as_net
from parfocal.segmentation.networks._normalise import PixelRange, pixel_range
from parfocal.segmentation.networks._size import estimate_diameter_um, grid_for
from parfocal.segmentation.networks._tiles import TileSettings, run_tiles

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What a network says, on the grid on which nuclei are as large as it knows them.

    Parameters
    ----------
    output : NetOutput
        At the voxels of `grid`.
    grid : Grid
        Laid over the image.
    image : float32[...]
        The image at those voxels, scaled.
    diameter_um : float, optional
        Of the nuclei, as told or estimated; None where none were found.
    diameter_px : float, optional
        The same at the voxels of `grid`.
    """

    output: NetOutput
    grid: Grid
    image: Floats
    diameter_um: float | None
    diameter_px: float | None = None

    def at_image(self) -> NetOutput:
        """Return the output at the image's own voxels."""
        return output_back(self.output, self.grid)

    def labels_at_image(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return labels of the grid at the image's own voxels, ids 1 to n: one may lie between two planes."""
        back = labels_back(labels, self.grid.source_shape, self.grid.zoom)
        there = np.bincount(back.ravel(), minlength=1) > 0
        there[0] = False
        return np.where(there, np.cumsum(there), 0).astype(np.int32)[back]


def predict(
    net: NucleiNet | Any,
    image: NDArray[Any],
    voxel_size_um: Sequence[float] | None = None,
    *,
    diameter_um: float | None = None,
    told: PixelRange | None = None,
    settings: TileSettings | None = None,
    on_tile: Callable[[int, int], object] | None = None,
) -> NetOutput:
    """Ask a network of an image; the answer is at the image's voxels.

    Parameters
    ----------
    net : NucleiNet or torch.nn.Module
        A module is one of `learning.build_unet`.
    image : real array `(y, x)` for a network of planes, `(z, y, x)` for one of volumes
        Scaled by its 1st and 99.8th percentile as a whole, not tile by tile.
    voxel_size_um : sequence of float, optional
        Where told, the image is resampled so that nuclei are as large as the network knows them; where not, it is
        taken as it is.
    diameter_um : float, optional
        Of the nuclei; estimated in a first pass where not told.
    told : PixelRange, optional
        What becomes 0 and 1, where the image is part of something.
    settings : TileSettings, optional
    on_tile : callable, optional
        Told how many tiles of how many are done.

    Raises
    ------
    BadInputError
        PyTorch is missing; the image is not the network's; a size is not above 0.
    """
    if voxel_size_um is None:
        ready = net if isinstance(net, NucleiNet) else as_net(net)
        scale = told or pixel_range(image)
        return run_tiles(
            ready,
            lambda region: scale.applied(image[tuple(slice(*r) for r in region)]),
            image.shape,
            settings=settings,
            on_tile=on_tile,
        )
    return predict_on(
        net, image, voxel_size_um, diameter_um=diameter_um, told=told, settings=settings, on_tile=on_tile
    ).at_image()


def predict_on(
    net: NucleiNet | Any,
    image: NDArray[Any],
    voxel_size_um: Sequence[float],
    *,
    diameter_um: float | None = None,
    grid: Grid | None = None,
    told: PixelRange | None = None,
    settings: TileSettings | None = None,
    on_tile: Callable[[int, int], object] | None = None,
) -> Prediction:
    """Ask a network of an image as `predict` does; the answer stays at the size that the network knows.

    With a `grid` the size is decided: nothing is estimated.
    """
    ready = net if isinstance(net, NucleiNet) else as_net(net)
    scale = told or pixel_range(image)
    if grid is None:
        grid = grid_for(ready, image.shape, voxel_size_um, diameter_um)  # before the first pass: it checks
        if diameter_um is None:
            diameter_um = estimate_diameter_um(ready, image, voxel_size_um, scale, settings)
            grid = grid_for(ready, image.shape, voxel_size_um, diameter_um)
    small = scale.applied(
        resampled_region(
            lambda region: image[tuple(slice(*r) for r in region)], grid, tuple((0, n) for n in grid.shape)
        )
    )
    output = run_tiles(
        ready,
        lambda region: small[tuple(slice(*r) for r in region)],
        small.shape,
        settings=settings,
        on_tile=on_tile,
    )
    diameter_px = None if diameter_um is None else diameter_um * grid.zoom[-1] / voxel_size_um[-1]
    return Prediction(output, grid, small, diameter_um, diameter_px)
