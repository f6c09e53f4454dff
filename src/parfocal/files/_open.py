"""One door for every kind of image file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files._folder import open_folder
from parfocal.files._png import open_png
from parfocal.files._stack import Stack
from parfocal.files._tiff import open_tiff

_HDF5 = re.compile(r"^(?P<path>.+\.(?:h5|hdf5|hdf))(?::(?P<dataset>.+))?$", re.IGNORECASE)


def open_stack(path: str | os.PathLike[str], axes: str | None = None) -> Stack:
    """Open a z-stack, time-lapse or single image; planes are read when asked for.

    Parameters
    ----------
    path : str or path
        A TIFF (plain, compressed, ImageJ, OME, MetaXpress), ND2, PNG, JPEG or HDF5 file (`file.h5` or
        `file.h5:dataset`), or a folder of single-plane TIFF or PNG images. In a folder, names tell the
        grid (`ZStep_3/`, `_z03`, `_t1`, `_w2`, well and site); where they do not, files are taken in natural
        order along the one axis that `axes` names.
    axes : str, optional
        What the axes are, slowest first, letters of "TPCZYX" ending in YX ("ZYX", "TZYX"). Needed where the
        file does not say; overrules it where it does (and the stack's `warnings` say so).

    Returns
    -------
    Stack

    Raises
    ------
    AxesUnknownError
        Nothing says what the axes are, and `axes` was not given.
    BadInputError
        There is no such file, it is of another kind, empty, cut short or damaged; planes of a folder
        differ in shape or one is missing; `axes` does not fit.
    """
    as_hdf5 = _HDF5.match(os.fspath(path))
    if as_hdf5 is not None and not Path(path).is_dir():
        from parfocal.files._hdf5 import open_hdf5

        return open_hdf5(_existing(Path(as_hdf5["path"])), as_hdf5["dataset"], axes)
    found = _existing(Path(path))
    if found.is_dir():
        return open_folder(found, axes)
    suffix = found.suffix.lower()
    if suffix in (".tif", ".tiff", ".btf", ".stk", ".lsm"):
        return open_tiff(found, axes)
    if suffix in (".png", ".jpg", ".jpeg"):
        return open_png(found, axes)
    if suffix == ".nd2":
        from parfocal.files._nd2 import open_nd2

        return open_nd2(found, axes)
    raise BadInputError(
        f"{found}: files of type {suffix or '(none)'} are not read; "
        "expected TIFF, ND2, HDF5, PNG, JPEG or a folder of planes"
    )


def nd2_time_stamps_s(path: str | os.PathLike[str], positions: Sequence[int]) -> NDArray[np.float64]:
    """Return when the first plane of each time point was taken at each position of an ND2 file.

    Parameters
    ----------
    path : str or path
        The file.
    positions : sequence of int
        Numbers of positions, from 0.

    Returns
    -------
    ndarray of float64, shape (n_positions, n_times)
        s since the start of the recording; NaN where the file does not say.

    Raises
    ------
    BadInputError
        The file cannot be read, or has no such position.
    """
    from parfocal.files._nd2 import time_stamps_s

    return time_stamps_s(_existing(Path(path)), positions)


def _existing(path: Path) -> Path:
    path = path.expanduser()
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder")
    return path
