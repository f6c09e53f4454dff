"""Where the voxels of a finer or coarser grid lie on another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError

Region = tuple[tuple[int, int], ...]
"""First and end index along each axis."""

MOST_PLANES_ADDED = 4.0
"""Planes further apart than this many pixels have their pixels made larger instead of that many planes put in."""


@dataclass(frozen=True)
class Grid:
    """A grid laid over the same space as another, from the same corner.

    The centre of its voxel i is at `(i + 0.5) / zoom - 0.5` of the source's indices: corners coincide, centres do
    not.

    Parameters
    ----------
    source_shape : tuple of int
        Of the other.
    zoom : tuple of float
        New voxels per voxel of the source, along each axis.
    """

    source_shape: tuple[int, ...]
    zoom: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a zoom of nothing."""
        if len(self.zoom) != len(self.source_shape) or not all(0 < z < math.inf for z in self.zoom):
            raise BadInputError(
                f"resampling: zoom is {self.zoom}, expected {len(self.source_shape)} numbers above 0"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Whole voxels that the source reaches into."""
        return tuple(max(1, math.ceil(n * z - 1e-6)) for n, z in zip(self.source_shape, self.zoom))

    @property
    def is_same(self) -> bool:
        """Both grids are one."""
        return all(z == 1 for z in self.zoom)

    def source_positions(self, axis: int, first: int, stop: int) -> NDArray[np.float64]:
        """Return where voxels `first` to `stop - 1` lie on the source, kept within its first and last centre."""
        at = (np.arange(first, stop) + 0.5) / self.zoom[axis] - 0.5
        return np.clip(at, 0, self.source_shape[axis] - 1)

    def positions_of_source(self, axis: int, first: int, stop: int) -> NDArray[np.float64]:
        """Return where the source's voxels lie on this grid, kept within it."""
        at = (np.arange(first, stop) + 0.5) * self.zoom[axis] - 0.5
        return np.clip(at, 0, self.shape[axis] - 1)


def whole(shape: Sequence[int]) -> Region:
    """Return the region of all of an array."""
    return tuple((0, int(n)) for n in shape)


def isotropic_um(voxel_size_um: Sequence[float]) -> float:
    """Return the voxel that a volume is made isotropic at where nothing else is asked for.

    The smallest side of the voxel; but where planes are more than 4 pixels apart, a quarter of their distance:
    pixels then become larger, as planes put in between know nothing.
    """
    sizes = [float(v) for v in voxel_size_um]
    if not sizes or not all(0 < v < math.inf for v in sizes):
        raise BadInputError(f"resampling: voxel_size_um is {tuple(sizes)}, expected numbers above 0")
    return max(min(sizes), max(sizes) / MOST_PLANES_ADDED)
