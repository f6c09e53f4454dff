"""What every backend asks of its input."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import Labels, Segmentation

Progress = Callable[[int, int], object]
"""Told how many parts of how many are done."""


def as_volume(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return pixels as `(z, y, x)`, a plane as a volume of one.

    Raises
    ------
    BadInputError
        They are no plane or volume of real, finite numbers.
    """
    array = np.asarray(pixels)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise BadInputError(f"pixels of shape {np.shape(pixels)}, expected a plane (y, x) or a volume (z, y, x)")
    if array.dtype.kind not in "buif":
        raise BadInputError(f"pixels of type {array.dtype}, expected integers or real numbers")
    if array.dtype.kind == "f" and not all(bool(np.isfinite(plane).all()) for plane in array):
        raise BadInputError("pixels hold NaN or infinity, expected finite numbers")
    return array


def checked_voxel_size(voxel_size_um: Sequence[float]) -> tuple[float, float, float]:
    """Return the voxel size as three floats (z, y, x), um.

    Raises
    ------
    BadInputError
        There are not three of them, or one is not a positive number.
    """
    sizes = [float(v) for v in voxel_size_um]
    if len(sizes) != 3 or not all(math.isfinite(v) and v > 0 for v in sizes):
        raise BadInputError(f"voxel size {tuple(sizes)} um, expected three positive numbers (z, y, x)")
    return sizes[0], sizes[1], sizes[2]


def finished(
    planes: Generator[Labels, None, Segmentation], n_planes: int, on_progress: Progress | None = None
) -> Segmentation:
    """Return what a backend's planes come to; told after each is how many of how many are done."""
    n_done = 0
    while True:
        try:
            next(planes)
        except StopIteration as end:
            return end.value
        n_done += 1
        if on_progress is not None:
            on_progress(n_done, n_planes)


def renumbered(labels: NDArray[Any]) -> Labels:
    """Return labels as int32, ids 1 to n in the order of the ids given."""
    ids, at = np.unique(labels, return_inverse=True)
    new = np.arange(ids.size) + (1 if ids.size and ids[0] != 0 else 0)
    return new[at].reshape(labels.shape).astype(np.int32)


def one_line(error: BaseException) -> str:
    """Return an error's text on one line, its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
