"""TIFF in its dialects: plain, ImageJ, OME, tifffile's own JSON, MetaXpress."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import _facts
from parfocal.files._facts import Facts
from parfocal.files._grey import grey_of
from parfocal.files._stack import Stack, chosen_axes, one_line, pixels_or_refuse, to_native

# A damaged file makes tifffile log: what matters reaches the user as our error or as a warning of the stack.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class _Layout:
    """How planes lie in a file: `axes`/`shape` without colour, and the number of series stacked as P."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    n_series: int
    samples: int
    facts: Facts
    warnings: tuple[str, ...]


def open_tiff(path: Path, axes: str | None) -> Stack:
    """Open a TIFF file as a `Stack`; see `open_stack`."""
    source = str(path)
    layout = read_layout(path)
    dtype = pixels_or_refuse(source, layout.dtype)
    used_axes, axes_warnings = chosen_axes(source, layout.axes, layout.shape, axes)
    facts, name_warnings = _facts.merged(layout.facts, _facts.from_name(path.name))
    n_times = layout.shape[used_axes.index("T")] if "T" in used_axes else 1
    times = facts.time_s
    if times is None and facts.time_step_s is not None and "T" in used_axes:
        times = tuple(i * facts.time_step_s for i in range(n_times))
    leading = layout.shape[:-2]

    def read_planes(indices: Sequence[tuple[int, ...]]) -> Iterator[NDArray[Any]]:
        wanted = [int(np.ravel_multi_index(index, leading)) if leading else 0 for index in indices]
        return to_native(_planes(path, wanted, layout), dtype)

    return Stack(
        axes=used_axes,
        shape=layout.shape,
        dtype=dtype,
        source=source,
        read_planes=read_planes,
        voxel_size_um=facts.voxel_size_um,
        time_s=times,
        z_um=None if facts.z_um is None else ((facts.z_um,),),
        xy_um=None if facts.xy_um is None else (facts.xy_um,),
        na=facts.na,
        wavelength_um=facts.wavelength_um,
        channels=facts.channels,
        warnings=(*layout.warnings, *axes_warnings, *name_warnings),
    )


def read_layout(path: Path) -> _Layout:
    """Return the shape, axes, dtype and metadata of a TIFF, having checked that all its pixels are there."""
    with _opened(path) as tif:
        all_series = tif.series
        if not all_series:
            raise BadInputError(f"{path}: a TIFF file without an image")
        first = all_series[0]
        warnings: list[str] = []
        same = [s for s in all_series if (s.shape, s.axes, s.dtype) == (first.shape, first.axes, first.dtype)]
        n_series = len(same) if len(same) == len(all_series) and (tif.is_ome or tif.is_micromanager) else 1
        if len(all_series) > n_series:
            warnings.append(f"holds {len(all_series)} image series; the first is read")
        axes, shape = first.axes, tuple(first.shape)
        samples = 1
        if "S" in axes:
            where = axes.index("S")
            samples = shape[where]
            axes, shape = axes.replace("S", "", 1), shape[:where] + shape[where + 1 :]
            if samples not in (1, 3, 4):
                raise BadInputError(f"{path}: {samples} samples a pixel; expected grey, RGB or RGBA")
            if samples > 1:
                warnings.append("colour (RGB) was made grey, by ITU-R 601 weights")
        if not axes.endswith("YX"):
            raise BadInputError(f"{path}: axes {first.axes} of shape {first.shape}; expected planes ending in YX")
        if n_series > 1:
            axes, shape = "P" + axes, (n_series, *shape)
        _check_complete(path, tif, same[:n_series], math.prod(shape[:-2]) // n_series)
        return _Layout(axes, shape, np.dtype(first.dtype), n_series, samples, _facts_of(tif), tuple(warnings))


def _facts_of(tif: tifffile.TiffFile) -> Facts:
    page: Any = tif.pages[0]
    if tif.is_ome and tif.ome_metadata:
        return _facts.from_ome(tifffile.xml2dict(tif.ome_metadata))
    if tif.is_imagej:
        per_unit = tuple(_pixels_per_unit(page, f"{axis}Resolution") for axis in "YX")
        return _facts.from_imagej(tif.imagej_metadata or {}, (per_unit[0], per_unit[1]))
    if tif.is_shaped:
        described: Any = tif.shaped_metadata
        return _facts.from_json(described[0] if described else {})
    if tif.is_metaseries:
        return _facts.from_metaxpress(tif.metaseries_metadata or {})
    return Facts()


def _pixels_per_unit(page: Any, name: str) -> float | None:
    tag = page.tags.get(name)
    if tag is None or not tag.value[1] or not tag.value[0]:
        return None
    return tag.value[0] / tag.value[1]


def _check_complete(path: Path, tif: tifffile.TiffFile, series: Sequence[Any], n_planes: int) -> None:
    size = path.stat().st_size
    for one in series:
        if one.dataoffset is not None:
            end = one.dataoffset + one.nbytes
        elif len(one.pages) < n_planes or any(page is None for page in one.pages):
            present = sum(page is not None for page in one.pages)
            raise BadInputError(f"{path}: {present} of {n_planes} planes are there; the file is cut short")
        else:
            pages = one.pages if len(one.pages) <= 1000 else [one.pages[0], one.pages[-1]]
            ours = [page for page in pages if page.parent is tif]
            end = max((o + n for p in ours for o, n in zip(p.dataoffsets, p.databytecounts)), default=0)
        if end > size:
            raise BadInputError(f"{path}: cut short: pixels reach to byte {end}, the file has {size}")


def _planes(path: Path, wanted: Sequence[int], layout: _Layout) -> Iterator[NDArray[Any]]:
    per_series = math.prod(layout.shape[:-2]) // layout.n_series
    with _opened(path) as tif:
        for number in wanted:
            series: Any = tif.series[number // per_series]
            within = number % per_series
            if len(series.pages) == per_series:
                plane = series.pages[within].asarray()
            elif series.dataoffset is not None:
                # ImageJ and tifffile write big stacks with one header: planes follow each other in the file
                length = series.nbytes // per_series
                flat = np.fromfile(
                    path,
                    np.dtype(series.dtype).newbyteorder(tif.byteorder),
                    count=length // series.dtype.itemsize,
                    offset=series.dataoffset + within * length,
                )
                plane = flat.reshape(*layout.shape[-2:], *([layout.samples] if layout.samples > 1 else []))
            else:
                whole = series.asarray()
                plane = whole.reshape(per_series, *whole.shape[whole.ndim - 2 - (layout.samples > 1) :])[within]
            yield grey_of(plane, layout.samples)


class _LoggedErrors(logging.Handler):
    """Keeps what tifffile logs in this thread: it logs, and goes on, where pixels could not be decoded."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.thread = threading.get_ident()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


@contextmanager
def _opened(path: Path) -> Generator[tifffile.TiffFile, None, None]:
    """Open a TIFF; every failure inside the block becomes a one-line `BadInputError`."""
    try:
        with path.open("rb") as head:
            magic = head.read(4)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from error
    if not magic:
        raise BadInputError(f"{path}: the file is empty, expected a TIFF image")
    if magic not in _MAGIC:
        raise BadInputError(f"{path}: not a TIFF file (it begins with {magic!r}), expected a TIFF image")
    logger, logged = logging.getLogger("tifffile"), _LoggedErrors()
    logger.addHandler(logged)
    try:
        with tifffile.TiffFile(path) as tif:
            yield tif
    except BadInputError:
        raise
    except GeneratorExit:
        raise
    except Exception as error:
        raise BadInputError(f"{path}: a damaged TIFF file: {one_line(error)}") from error
    finally:
        logger.removeHandler(logged)
    if logged.messages:
        raise BadInputError(f"{path}: a damaged TIFF file: {' '.join(logged.messages[0].split())}")
