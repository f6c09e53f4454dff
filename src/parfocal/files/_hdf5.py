"""Volumes in HDF5 files: `file.h5` or `file.h5:dataset`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files._stack import (
    Stack,
    VoxelSize,
    chosen_axes,
    one_line,
    pixels_or_refuse,
    positive_or_none,
    to_native,
)

_PREFERRED = "raw"


def open_hdf5(path: Path, dataset: str | None, axes: str | None) -> Stack:
    """Open a data set of an HDF5 file as a `Stack`; see `open_stack`.

    Without a name: the one called `raw`, else the largest that could be an image.
    """
    with _opened(path) as file:
        images = _images(file)
        listed = ", ".join(images) or "none"
        warnings: tuple[str, ...] = ()
        if dataset is None:
            if not images:
                raise BadInputError(f"{path}: no data set of two or more dimensions in this HDF5 file")
            raw = [name for name in images if name.rsplit("/", 1)[-1] == _PREFERRED]
            name = raw[0] if raw else max(images, key=lambda one: images[one].size)
            if len(images) > 1:
                warnings = (f"read data set {name} of: {listed}",)
        else:
            name = dataset.strip("/")
            if name not in images:
                raise BadInputError(f"{path}: no image data set {name!r}; there are: {listed}")
        image = images[name]
        shape = tuple(image.shape)
        source = f"{path}:{name}"
        dtype = pixels_or_refuse(source, image.dtype)
        voxel = _voxel_size(image)
        told = image.attrs.get("axes", "")
        told = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    found = {2: "YX", 3: "ZYX" if voxel[0] is not None else "?YX"}.get(len(shape), "?" * len(shape))
    if len(told) == len(shape):
        found = told.upper()
    used, axes_warnings = chosen_axes(source, found, shape, axes)

    def read_planes(indices: Sequence[tuple[int, ...]]) -> Iterator[NDArray[Any]]:
        def planes() -> Iterator[NDArray[Any]]:
            with _opened(path) as again:
                for index in indices:
                    yield np.asarray(again[name][index])

        return to_native(planes(), dtype)

    return Stack(
        axes=used,
        shape=shape,
        dtype=dtype,
        source=source,
        read_planes=read_planes,
        voxel_size_um=voxel,
        warnings=(*warnings, *axes_warnings),
    )


def _images(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2 and node.dtype.kind in "buif":
            found[name] = node

    file.visititems(visit)
    return found


def _voxel_size(image: Any) -> VoxelSize:
    size = np.atleast_1d(np.asarray(image.attrs.get("element_size_um", ())))
    if size.size != 3 or size.dtype.kind not in "uif":
        return (None, None, None)
    z, y, x = (positive_or_none(f"{value:.7g}") for value in size)  # float32 digits
    return (z, y, x)


@contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    """Open an HDF5 file; every failure inside the block becomes a one-line `BadInputError`."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (BadInputError, GeneratorExit):
        raise
    except Exception as error:
        raise BadInputError(f"{path}: an HDF5 file that cannot be read: {one_line(error)}") from error
