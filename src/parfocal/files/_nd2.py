"""Nikon ND2 files."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nd2
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import _facts
from parfocal.files._stack import Stack, chosen_axes, one_line, pixels_or_refuse, positive_or_none, to_native


def open_nd2(path: Path, axes: str | None) -> Stack:
    """Open an ND2 file as a `Stack`; see `open_stack`."""
    source = str(path)
    with _opened(path) as file:
        sizes = dict(file.sizes)
        if "S" in sizes:
            raise BadInputError(f"{source}: colour (RGB) frames; expected grey frames, export them as such first")
        found = "".join(sizes)
        shape = tuple(sizes.values())
        dtype = pixels_or_refuse(source, np.dtype(file.dtype))
        facts = _facts_of(file, sizes)
        xy_um = _stage_xy_um(file, sizes)
    facts, name_warnings = _facts.merged(facts, _facts.from_name(path.name))
    used, axes_warnings = chosen_axes(source, found, shape, axes)
    frame_axes = [axis for axis in found[:-2] if axis != "C"]

    def read_planes(indices: Sequence[tuple[int, ...]]) -> Iterator[NDArray[Any]]:
        def planes() -> Iterator[NDArray[Any]]:
            with _opened(path) as file:
                for index in indices:
                    at = dict(zip(found[:-2], index, strict=True))
                    frame_shape = tuple(sizes[axis] for axis in frame_axes)
                    number = (
                        int(np.ravel_multi_index([at[a] for a in frame_axes], frame_shape)) if frame_axes else 0
                    )
                    frame = np.asarray(file.read_frame(number))
                    yield frame[at["C"]] if "C" in at else frame.reshape(shape[-2:])

        return to_native(planes(), dtype)

    return Stack(
        axes=used,
        shape=shape,
        dtype=dtype,
        source=source,
        read_planes=read_planes,
        voxel_size_um=facts.voxel_size_um,
        xy_um=xy_um,
        time_s=facts.time_s,
        na=facts.na,
        wavelength_um=facts.wavelength_um,
        channels=facts.channels,
        warnings=(*axes_warnings, *name_warnings),
    )


def time_stamps_s(path: Path, positions: Sequence[int]) -> NDArray[np.float64]:
    """Return when time points were taken at positions of an ND2 file; see `nd2_time_stamps_s`."""
    with _opened(path) as file:
        sizes = dict(file.sizes)
        if any(not 0 <= p < sizes.get("P", 1) for p in positions):
            raise BadInputError(f"{path}: positions {list(positions)}, expected 0 to {sizes.get('P', 1) - 1}")
        stamps = np.full((len(positions), sizes.get("T", 1)), np.nan)
        for k, p in enumerate(positions):
            for t in range(stamps.shape[1]):
                first = _first_channel(file, _frame_number(sizes, {"T": t, "P": p}))
                if first is not None:
                    stamps[k, t] = first.time.relativeTimeMs / 1e3
    return stamps


def _stage_xy_um(file: Any, sizes: dict[str, int]) -> tuple[tuple[float, float], ...] | None:
    """Return where the stage was at each position, by the first frame taken there."""
    found: list[tuple[float, float]] = []
    for p in range(sizes.get("P", 1)):
        first = _first_channel(file, _frame_number(sizes, {"P": p}))
        if first is None:
            return None
        at = first.position.stagePositionUm
        found.append((float(at.x), float(at.y)))
    return tuple(found)


def _frame_number(sizes: dict[str, int], at: dict[str, int]) -> int:
    number = 0
    for axis, length in sizes.items():
        if axis not in "CYXS":
            number = number * length + at.get(axis, 0)
    return number


def _first_channel(file: Any, number: int) -> Any:
    """Return what is recorded of a frame's first channel; None where nothing is, as in files of old versions."""
    try:
        channels = file.frame_metadata(number).channels
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError):
        return None
    return channels[0] if channels else None


def _facts_of(file: Any, sizes: dict[str, int]) -> _facts.Facts:
    voxel = file.voxel_size()
    times: tuple[float, ...] | None = None
    if "T" in sizes:
        # frames are numbered with T slowest where T comes first, which is how Nikon's loops nest
        stride = int(np.prod([n for a, n in sizes.items() if a not in "TCYX"]))
        stamps = [file.frame_metadata(t * stride) for t in range(sizes["T"])] if next(iter(sizes)) == "T" else []
        seconds = [stamp.channels[0].time.relativeTimeMs / 1e3 for stamp in stamps if stamp.channels]
        times = tuple(seconds) if len(seconds) == sizes["T"] else None
    channels = getattr(file.metadata, "channels", None) or []
    first = channels[0] if channels else None
    wavelength = positive_or_none(getattr(getattr(first, "channel", None), "emissionLambdaNm", None))
    return _facts.Facts(
        voxel_size_um=(
            positive_or_none(round(voxel.z, 9)) if "Z" in sizes else None,
            positive_or_none(round(voxel.y, 9)),
            positive_or_none(round(voxel.x, 9)),
        ),
        time_s=times,
        na=positive_or_none(getattr(getattr(first, "microscope", None), "objectiveNumericalAperture", None)),
        wavelength_um=None if wavelength is None else wavelength * 1e-3,
        channels=tuple(str(channel.channel.name) for channel in channels),
    )


@contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    """Open an ND2 file; every failure inside the block becomes a one-line `BadInputError`."""
    if path.stat().st_size == 0:
        raise BadInputError(f"{path}: the file is empty, expected an ND2 file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nd2 warns about a file that it then fails on: we say it once
            file = nd2.ND2File(path)
        with file:
            yield file
    except (BadInputError, GeneratorExit):
        raise
    except Exception as error:
        raise BadInputError(f"{path}: an ND2 file that cannot be read: {one_line(error)}") from error
