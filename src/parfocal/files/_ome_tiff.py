"""A volume as OME-TIFF, for programs that read no OME-Zarr."""

from __future__ import annotations

import os

import numpy as np
import tifffile
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files._safe_write import write_atomically


def write_ome_tiff(
    path: str | os.PathLike[str],
    volume: NDArray[np.generic],
    voxel_size_um: tuple[float, float, float],
    *,
    name: str = "labels",
) -> None:
    """Write a volume, such as labels, with its voxel size; deflated, BigTIFF where it is large.

    Parameters
    ----------
    path : path
        Such as `labels.ome.tif`; what is there is replaced, once the new one is whole.
    volume : ndarray (z, y, x)
        Of integers or float32.
    voxel_size_um : (float, float, float)
        z, y, x.
    name : str
        Of the image in its OME-XML.

    Raises
    ------
    BadInputError
        It has not three axes, or is of a dtype that OME-TIFF does not know.
    """
    if volume.ndim != 3 or volume.dtype.newbyteorder("=").str[1:] not in _KNOWN:
        raise BadInputError(
            f"{os.fspath(path)}: {volume.dtype} {volume.shape}, integers of at most 32 bits or float32 (z, y, x) "
            "were expected for OME-TIFF"
        )
    sizes: dict[str, float | str] = {}
    for axis, size_um in zip("ZYX", voxel_size_um, strict=True):
        sizes |= {f"PhysicalSize{axis}": float(size_um), f"PhysicalSize{axis}Unit": "µm"}
    with write_atomically(path) as temporary:
        tifffile.imwrite(
            temporary,
            volume,
            ome=True,
            bigtiff=volume.nbytes > _MOST_CLASSIC_BYTES,
            compression="zlib",
            metadata={"axes": "ZYX", "Name": name, **sizes},
        )


_KNOWN = ("i1", "u1", "i2", "u2", "i4", "u4", "f4")
_MOST_CLASSIC_BYTES = 2**32 - 2**25
