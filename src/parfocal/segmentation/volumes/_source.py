"""A volume that is read part by part, wherever it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import open_ome_zarr
from parfocal.segmentation.grids import Region

_PLANES_SEEN, _WINDOWS_SEEN, _WINDOW_PX = 24, 4, 256


@dataclass(frozen=True)
class Source:
    """A volume `(z, y, x)` read part by part.

    Parameters
    ----------
    array : array-like
        With `shape`, `dtype` and slicing: NumPy, zarr, h5py, dask, a memory map, or a `ZarrVolume`.
    path : str, optional
        Where it is, if others can open it too.
    voxel_size_um : tuple of float, optional
        As the file says.
    """

    array: Any
    path: str | None = None
    voxel_size_um: tuple[float, float, float] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the volume."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def ndim(self) -> int:
        """3."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its pixels."""
        kind: Any = self.array.dtype
        return np.dtype(getattr(kind, "numpy_dtype", kind))  # TensorStore has types of its own

    @property
    def size(self) -> int:
        """How many voxels there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[Any]:
        """Return a part of it."""
        if hasattr(self.array, "read") and not hasattr(self.array, "__getitem__"):
            steps = tuple(s.step or 1 for s in where)
            block = self.array.read(*[slice(s.start, s.stop) for s in where])
            return block[tuple(slice(None, None, step) for step in steps)]
        part: Any = self.array[where]
        return np.asarray(part.read().result() if hasattr(part, "read") else part)

    def read(self, region: Region) -> NDArray[Any]:
        """Return a region of it."""
        return self[tuple(slice(*r) for r in region)]

    def sampled(self) -> NDArray[Any]:
        """Return parts of planes all over the volume, the same ones every time, as planes of one volume."""
        depth, height, width = self.shape
        planes = np.unique(np.linspace(0, depth - 1, min(depth, _PLANES_SEEN)).astype(int))
        ys, xs = (
            np.unique(np.linspace(0, max(0, n - _WINDOW_PX), _WINDOWS_SEEN).astype(int)) for n in (height, width)
        )
        seen: list[NDArray[Any]] = []
        for z in planes:
            parts = [
                self.read(((int(z), int(z) + 1), (int(y), min(height, int(y) + _WINDOW_PX)),
                           (int(x), min(width, int(x) + _WINDOW_PX)))).ravel()
                for y in ys for x in xs
            ]  # fmt: skip
            seen.append(np.concatenate(parts))
        return np.stack(seen)[:, np.newaxis]


def open_source(volume: str | os.PathLike[str] | Any) -> Source:
    """Return a volume to be read part by part.

    Parameters
    ----------
    volume : path or array-like
        The path of an OME-Zarr, of a Zarr array, or of a `.npy` (mapped into memory), or anything with `shape`,
        `dtype` and slicing.

    Raises
    ------
    BadInputError
        It is no volume `(z, y, x)` of real numbers.
    """
    if isinstance(volume, Source):
        return volume
    if isinstance(volume, (str, os.PathLike)):
        source = _from_path(Path(cast(Any, volume)))
    else:
        source = Source(volume)
    if not all(hasattr(source.array, name) for name in ("shape", "dtype")):
        raise BadInputError(f"{type(volume).__name__}: expected a path, or an array with shape, dtype and slicing")
    where = source.path or "volume"
    if source.ndim != 3 or 0 in source.shape or source.dtype.kind not in "buif":
        raise BadInputError(
            f"{where}: {source.dtype} of shape {source.shape}, expected real numbers (z, y, x), none of them empty"
        )
    return source


def _from_path(path: Path) -> Source:
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder")
    if path.suffix == ".npy":
        try:
            return Source(np.load(path, mmap_mode="r", allow_pickle=False), str(path.resolve()))
        except (ValueError, OSError) as error:
            raise BadInputError(f"{path}: not a file of one array: {error}") from error
    if _is_array(path):
        import tensorstore as ts

        driver = "zarr3" if (path / "zarr.json").is_file() else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}
        try:
            return Source(ts.open(spec, open=True, read=True).result(), str(path.resolve()))
        except (ValueError, OSError) as error:
            raise BadInputError(f"{path}: not a Zarr array: {str(error).splitlines()[0][:200]}") from error
    volume = open_ome_zarr(path)
    return Source(volume, str(path.resolve()), volume.voxel_size_um if volume.has_voxel_size else None)


def _is_array(path: Path) -> bool:
    if (path / ".zarray").is_file():
        return True
    told = path / "zarr.json"
    return told.is_file() and '"node_type": "array"' in told.read_text().replace('"node_type":"', '"node_type": "')
