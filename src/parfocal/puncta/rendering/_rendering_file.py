"""A rendered image on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr


def write_rendering(
    path: str | os.PathLike[str],
    image: NDArray[np.float32],
    pixel_size_um: tuple[float, float],
    zoom: int,
    attributes: dict[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a rendered image as OME-Zarr: one plane, or the three colours as planes.

    Parameters
    ----------
    path : path
        The folder to make.
    image : float32[y, x] or float32[3, y, x]
        As `Renderer.image` gives it.
    pixel_size_um : (float, float)
        The camera's, in the sample, (y, x).
    zoom : int
        Of the image.
    attributes : dict, optional
        More for the group, under `parfocal`.

    Raises
    ------
    BadInputError
        The image has another shape, or `path` exists and `overwrite` was not told.
    """
    planes = image[None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[0] not in (1, 3):
        raise BadInputError(f"rendering: an image of shape {image.shape}, [y, x] or [3, y, x] was expected")
    voxel_um = (1.0, pixel_size_um[0] / zoom, pixel_size_um[1] / zoom)
    planes_are = "density" if planes.shape[0] == 1 else "red, green, blue"
    about = {"rendering": True, "zoom": zoom, "planes": planes_are, **(attributes or {})}
    return write_ome_zarr(Path(path), planes, voxel_um, attributes={"parfocal": about}, overwrite=overwrite)
