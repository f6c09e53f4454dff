"""Volumes as OME-Zarr: 0.4 (Zarr v2) and 0.5 (Zarr v3) read, 0.5 written, block by block."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import tensorstore as ts
from numpy.typing import DTypeLike, NDArray

from parfocal.errors import BadInputError
from parfocal.files._stack import one_line, pixels_or_refuse

_UM = {
    "meter": 1e6,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "nanometer": 1e-3,
    "angstrom": 1e-4,
    "m": 1e6,
    "mm": 1e3,
    "um": 1.0,
    "µm": 1.0,
    "nm": 1e-3,
}
VolumeAxes = Literal["zyx", "tyx"]
"""What the three axes of a volume are; along t the first number of `voxel_size_um` is seconds."""

_CHUNK = (16, 512, 512)
_CODECS: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}},
]


@dataclass(frozen=True)
class ZarrVolume:
    """A `[z, y, x]` volume of an OME-Zarr, read block by block when asked for.

    Attributes
    ----------
    path : Path
        The group.
    shape : tuple of int
        (z, y, x).
    dtype : dtype
        As stored, in native byte order.
    voxel_size_um : tuple of float
        (z, y, x), um; 1 where the file does not say (`has_voxel_size` tells).
    version : str
        Of the OME-Zarr: "0.4", "0.5".
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    voxel_size_um: tuple[float, float, float]
    has_voxel_size: bool
    version: str
    _store: Any = field(repr=False, compare=False)

    @property
    def chunk_shape(self) -> tuple[int, int, int]:
        """How the array is cut along z, y, x."""
        z, y, x = self._store.chunk_layout.read_chunk.shape
        return int(z), int(y), int(x)

    def read(self, z: slice = slice(None), y: slice = slice(None), x: slice = slice(None)) -> NDArray[Any]:
        """Return a block of the volume as an array of its own; slices of step 1, as NumPy cuts them.

        Raises
        ------
        BadInputError
            A chunk cannot be read.
        """
        ranges = [where.indices(n) for where, n in zip((z, y, x), self.shape)]
        if any(step != 1 for _, _, step in ranges):
            raise BadInputError(f"{self.path}: blocks are read with a step of 1")
        block = tuple(slice(start, max(start, stop)) for start, stop, _ in ranges)
        try:
            return np.asarray(self._store[block].read().result())
        except (ValueError, OSError) as error:
            raise BadInputError(f"{self.path}: a damaged Zarr array: {one_line(error)[:200]}") from error


def open_ome_zarr(path: str | os.PathLike[str], level: int = 0, axes: VolumeAxes = "zyx") -> ZarrVolume:
    """Open one resolution level of an OME-Zarr image without reading its pixels.

    Axes other than z, y, x (time, channel) must have length 1; a plane `[y, x]` is a volume one plane deep. The
    voxel size is the scale of the level times that of the whole, in the unit that the axes name.

    Parameters
    ----------
    path : str or path
        The group: a folder with `zarr.json` (v3) or `.zattrs` (v2).
    level : int
        0 is full resolution.
    axes : {"zyx", "tyx"}
        "tyx" opens a movie: t stands in the place of z, and z must have length 1.

    Raises
    ------
    BadInputError
        There is no such folder, it is no OME-Zarr image, its axes are no volume's, or there is no such level.
    """
    group = Path(path)
    ome, version, driver = _metadata(group)
    multiscale = _first(group, ome.get("multiscales"), "multiscales")
    datasets: Any = multiscale.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise BadInputError(f"{group}: no OME-Zarr image: its multiscales name no datasets")
    if not 0 <= level < len(cast(list[Any], datasets)):
        raise BadInputError(f"{group}: no level {level}; there are {len(cast(list[Any], datasets))}, from 0")
    dataset = cast(list[Any], datasets)[level]
    name = dataset.get("path") if isinstance(dataset, dict) else None
    if not isinstance(name, str) or not (group / name).resolve().is_relative_to(group.resolve()):
        raise BadInputError(f"{group}: dataset {level} names no array of this folder")
    try:
        kvstore = {"driver": "file", "path": str(group / name)}
        store = ts.open({"driver": driver, "kvstore": kvstore}, open=True, read=True).result()
    except (ValueError, OSError) as error:
        raise BadInputError(f"{group / name}: not a Zarr array: {one_line(error)[:200]}") from error
    names, units = _axes(group, multiscale, len(store.shape))
    kept = [axis in axes for axis in names]
    if any(n != 1 for n, keep in zip(store.shape, kept) if not keep):
        raise BadInputError(
            f"{group}: axes {names} of {tuple(store.shape)}, expected one volume {', '.join(axes)}"
        )
    if "".join(axis for axis in names if axis in axes) not in (axes, "yx"):
        raise BadInputError(f"{group}: axes {names}, expected {', '.join(axes)} in this order")
    scale = _scale(multiscale, len(names)) * _scale(cast(dict[str, Any], dataset), len(names))
    told = _has_scale(cast(dict[str, Any], dataset)) or _has_scale(multiscale)
    voxel = [s * u for s, u, keep in zip(scale, units, kept) if keep]
    if not all(math.isfinite(v) and v > 0 for v in voxel):
        raise BadInputError(f"{group}: voxel size {voxel} um, expected positive numbers")
    store = store[tuple(slice(None) if keep else 0 for keep in kept)]
    if len(voxel) == 2:
        store, voxel = store[ts.newaxis, ...], [1.0, *voxel]
    return ZarrVolume(
        path=group,
        shape=(int(store.shape[0]), int(store.shape[1]), int(store.shape[2])),
        dtype=pixels_or_refuse(str(group), store.dtype.numpy_dtype),
        voxel_size_um=(float(voxel[0]), float(voxel[1]), float(voxel[2])),
        has_voxel_size=told,
        version=version,
        _store=store,
    )


def read_ome_zarr(
    path: str | os.PathLike[str], level: int = 0, axes: VolumeAxes = "zyx"
) -> tuple[NDArray[Any], tuple[float, float, float]]:
    """Return the pixels `[z, y, x]` of an OME-Zarr image and its voxel size (z, y, x), um; see `open_ome_zarr`."""
    volume = open_ome_zarr(path, level, axes)
    return volume.read(), volume.voxel_size_um


class ZarrVolumeWriter:
    """Takes blocks of planes of a volume that is being written; made by `writing_ome_zarr`."""

    def __init__(self, store: Any, shape: tuple[int, int, int], dtype: np.dtype[Any], path: Path) -> None:
        self._store = store
        self._path = path
        self.shape = shape
        self.dtype = dtype
        self.chunk_planes: int = int(store.chunk_layout.write_chunk.shape[0])

    def write(self, z: int, planes: NDArray[Any], y: int | None = None, x: int | None = None) -> None:
        """Write planes `[n, y, x]` from plane `z` on, and return when they are in the file.

        Where `y` and `x` are told, they are parts of planes, which begin there.

        Raises
        ------
        BadInputError
            They do not fit, have another dtype, or cannot be written.
        """
        if y is not None and x is not None:
            at = (z, y, x)
            fits = all(a >= 0 and a + n <= m for a, n, m in zip(at, planes.shape, self.shape))
        else:
            at, fits = (z, 0, 0), planes.shape[1:] == self.shape[1:] and z + planes.shape[0] <= self.shape[0]
        if planes.dtype != self.dtype or planes.ndim != 3 or not fits:
            raise BadInputError(
                f"{self._path}: planes {z} to {z + planes.shape[0] - 1} are {planes.dtype} {planes.shape[1:]}, "
                f"expected {self.dtype} within {self.shape}"
            )
        try:
            self._store[tuple(slice(a, a + n) for a, n in zip(at, planes.shape))].write(planes).result()
        except (ValueError, OSError) as error:
            raise BadInputError(f"{self._path}: cannot be written: {one_line(error)[:200]}") from error


@contextmanager
def writing_ome_zarr(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    dtype: DTypeLike,
    voxel_size_um: tuple[float, float, float],
    *,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    axes: VolumeAxes = "zyx",
) -> Generator[ZarrVolumeWriter, None, None]:
    """Give a writer of planes; when the block ends well, the folder takes its name. What is not written is 0.

    It is written into a temporary folder beside `path`, which is removed if the block raises, so that whoever
    finds `path` finds a whole volume.

    Parameters
    ----------
    path : str or path
        The group to make, such as `aligned.ome.zarr`; its parent must exist.
    shape : tuple of int
        (z, y, x).
    dtype : dtype
        Of the pixels: integers or real numbers.
    voxel_size_um : tuple of float
        (z, y, x), um.
    overwrite : bool
        Replace what is there; refused otherwise.
    attributes : mapping, optional
        More attributes of the group, beside `ome`: where the volume comes from. An `ome` of its own is
        added to ours: `image-label` makes the volume an image of labels.
    axes : {"zyx", "tyx"}
        "tyx" is a movie: shape and voxel size begin with time, in frames and seconds.

    Raises
    ------
    BadInputError
        The folder does not exist, `path` does and is not to be replaced, or the disk refused.
    """
    target = Path(path)
    kind = np.dtype(dtype)
    if kind.kind not in "buif" or any(n < 1 for n in shape):
        raise BadInputError(f"{target}: cannot hold {kind} {shape}; expected a volume of numbers")
    if not all(math.isfinite(v) and v > 0 for v in voxel_size_um):
        raise BadInputError(f"{target}: voxel size {voxel_size_um} um, expected three positive numbers (z, y, x)")
    if not target.parent.is_dir():
        raise BadInputError(f"{target}: cannot be written, there is no folder {target.parent}")
    if target.exists() and not overwrite:
        raise BadInputError(f"{target}: exists already; name a new folder")
    stem = target.name.removesuffix(".zarr").removesuffix(".ome")
    mark = secrets.token_hex(6)
    temporary = target.parent / f".{stem[:80]}.{mark}.ome.zarr"
    try:
        store = _create(temporary, stem, shape, kind, voxel_size_um, attributes or {}, axes)
        yield ZarrVolumeWriter(store, shape, kind, target)
        # The old volume is moved aside first: a folder that is not empty cannot be replaced in one step.
        old = target.parent / f".{stem[:80]}.{mark}.old"
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_ome_zarr(
    path: str | os.PathLike[str],
    pixels: NDArray[Any],
    voxel_size_um: tuple[float, float, float],
    *,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    axes: VolumeAxes = "zyx",
) -> Path:
    """Write a volume `[z, y, x]` as an OME-Zarr image 0.5; see `writing_ome_zarr`.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "slice_z03.ome.zarr"
    >>> _ = write_ome_zarr(target, np.ones((2, 4, 5), np.uint16), (5.0, 2.0, 2.0))
    >>> pixels, voxel_size_um = read_ome_zarr(target)
    >>> pixels.shape, voxel_size_um
    ((2, 4, 5), (5.0, 2.0, 2.0))
    """
    if pixels.ndim != 3:
        raise BadInputError(f"{os.fspath(path)}: pixels of shape {pixels.shape}, expected a volume (z, y, x)")
    shape = (pixels.shape[0], pixels.shape[1], pixels.shape[2])
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    with writing_ome_zarr(
        path, shape, native.dtype, voxel_size_um, overwrite=overwrite, attributes=attributes, axes=axes
    ) as writer:
        writer.write(0, native)
    return Path(path)


def _create(
    path: Path,
    name: str,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    voxel_size_um: tuple[float, float, float],
    attributes: Mapping[str, Any],
    names: VolumeAxes,
) -> Any:
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in names]
    if names == "tyx":
        axes[0] = {"name": "t", "type": "time", "unit": "second"}
    transform = {"type": "scale", "scale": [float(v) for v in voxel_size_um]}
    multiscale = {
        "name": name,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
    }
    told = {**attributes, "ome": {**attributes.get("ome", {}), "version": "0.5", "multiscales": [multiscale]}}
    metadata = {
        "shape": list(shape),
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [min(c, n) for c, n in zip(_CHUNK, shape)]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "data_type": dtype.name,
        "codecs": _CODECS,
        "dimension_names": list(names),
        "fill_value": False if dtype.kind == "b" else 0,
    }
    try:
        path.mkdir()
        group = {"zarr_format": 3, "node_type": "group", "attributes": told}
        (path / "zarr.json").write_text(json.dumps(group, indent=1), encoding="utf-8")
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "0")}, "metadata": metadata}
        return ts.open(spec, create=True, open=False).result()
    except (ValueError, OSError) as error:
        raise BadInputError(f"{path}: cannot be made: {one_line(error)[:200]}") from error


def _metadata(group: Path) -> tuple[dict[str, Any], str, str]:
    """Return the OME attributes, their version, and the tensorstore driver that reads its arrays."""
    if not group.is_dir():
        raise BadInputError(f"{group}: no such folder, expected an OME-Zarr image")
    if (group / "zarr.json").is_file():
        attributes = _mapping(group, _json(group / "zarr.json").get("attributes"), "attributes")
        ome = attributes.get("ome")
        if ome is not None:
            told = _mapping(group, ome, "attributes of OME")
            return told, str(told.get("version", "0.5")), "zarr3"
        return attributes, "0.4", "zarr3"
    if (group / ".zattrs").is_file():
        attributes = _json(group / ".zattrs")
        multiscale = _first(group, attributes.get("multiscales"), "multiscales")
        return attributes, str(multiscale.get("version", "0.4")), "zarr"
    raise BadInputError(f"{group}: no OME-Zarr image: it holds neither zarr.json nor .zattrs")


def _json(path: Path) -> dict[str, Any]:
    try:
        return _mapping(path, json.loads(path.read_text(encoding="utf-8")), "JSON object")
    except (ValueError, OSError) as error:
        raise BadInputError(f"{path}: not readable as JSON: {one_line(error)[:200]}") from error


def _mapping(path: Path, value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInputError(f"{path}: no OME-Zarr image: it has no {what}")
    return cast(dict[str, Any], value)


def _first(group: Path, value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, list) or not value:
        raise BadInputError(f"{group}: no OME-Zarr image: it has no {what}")
    return _mapping(group, cast(list[Any], value)[0], what)


def _axes(group: Path, multiscale: Mapping[str, Any], n_axes: int) -> tuple[list[str], list[float]]:
    """Return the names of the axes and how many um their unit is."""
    axes: Any = multiscale.get("axes")
    if axes is None:  # before 0.3 there were none to name
        return list("tczyx")[-n_axes:], [1.0] * n_axes
    names: list[str] = []
    units: list[float] = []
    for axis in cast(list[Any], axes) if isinstance(axes, list) else []:
        told: dict[str, Any] = cast(dict[str, Any], axis) if isinstance(axis, dict) else {"name": axis}
        unit = str(told.get("unit", "micrometer"))
        names.append(str(told.get("name", "")).lower())
        if names[-1] in ("z", "y", "x") and unit not in _UM:
            raise BadInputError(f"{group}: axis {names[-1]} in {unit}; expected one of {', '.join(list(_UM)[:5])}")
        units.append(_UM.get(unit, 1.0))
    if len(names) != n_axes or len(set(names)) != n_axes:
        raise BadInputError(f"{group}: axes {names} for an array of {n_axes} dimensions")
    return names, units


def _has_scale(of: Mapping[str, Any]) -> bool:
    told: Any = of.get("coordinateTransformations")
    return isinstance(told, list) and any(
        isinstance(one, dict) and "scale" in one for one in cast(list[Any], told)
    )


def _scale(of: Mapping[str, Any], n_axes: int) -> NDArray[np.float64]:
    """Return the product of the scales of a level or of the whole; 1 where there is none."""
    product = np.ones(n_axes)
    if _has_scale(of):
        for one in of["coordinateTransformations"]:
            if "scale" not in one:
                continue
            try:
                scale = np.array(one["scale"], dtype=np.float64)
            except (TypeError, ValueError):
                scale = np.empty(0)
            if scale.shape != (n_axes,):
                raise BadInputError(f"OME-Zarr scale {one['scale']}, expected {n_axes} numbers")
            product = product * scale
    return product
