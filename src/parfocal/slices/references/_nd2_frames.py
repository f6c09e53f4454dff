"""From a labelled frame to the z-stack it was made from, in an ND2 file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import Stack, natural_key, nd2_time_stamps_s, open_stack
from parfocal.slices.references._gallery import Gallery, Reference
from parfocal.slices.references._plate import ExperimentTable, SeriesMap
from parfocal.slices.references._plate_checks import mended_times_s, stage_disagreements

_N_REFERENCE_WELLS = 3


@dataclass(frozen=True)
class Nd2Frame:
    """Where the z-stack of a labelled frame lies in an ND2 file.

    Attributes
    ----------
    reference : Reference
        The labelled frame: `well` and `time_int` are its own.
    nd2 : Path
        The file.
    nd2_series_num : int
        Series of its well, from 1 as Nikon's software counts.
    channel : int
        Channel, from 0.
    sequence : tuple of int
        Sequence index of each plane of the z-stack, z ascending.
    time_s : float
        Time of the time point since the first, s; NaN where the file does not say.
    """

    reference: Reference
    nd2: Path
    nd2_series_num: int
    channel: int
    sequence: tuple[int, ...]
    time_s: float = float("nan")

    @property
    def key(self) -> tuple[str, int, int]:
        """(well, time_int, nd2_series_num)."""
        return self.reference.well, self.reference.time_int, self.nd2_series_num


@dataclass(frozen=True)
class MappedGallery:
    """All frames of a gallery with their places, and what a reader must know of how these were found."""

    frames: tuple[Nd2Frame, ...]
    warnings: tuple[str, ...] = ()


def sequence_index(sizes: Mapping[str, int], *, t: int = 0, p: int = 0, z: int = 0) -> int:
    """Return the number of a frame in an ND2 file, from 0.

    Frames are numbered along the file's loops, the last fastest, channels not counted: with loops T, P, Z it
    is (t P + p) Z + z.

    Parameters
    ----------
    sizes : mapping of axis to length
        In the file's order; C, Y and X are left out of the count.
    t, p, z : int
        From 0; 0 for an axis that the file does not have.

    Raises
    ------
    BadInputError
        An index is out of range.

    Examples
    --------
    >>> sequence_index({"T": 113, "P": 96, "Z": 15, "Y": 2044, "X": 2048}, t=92, p=21, z=7)
    132802
    """
    number = 0
    at = {"T": t, "P": p, "Z": z}
    for axis, value in at.items():
        if not 0 <= value < sizes.get(axis, 1):
            raise BadInputError(f"{axis.lower()} = {value} is not in the file, which has {sizes.get(axis, 1)}")
    for axis, length in sizes.items():
        if axis in at:
            number = number * length + at[axis]
    return number


def map_to_nd2(
    gallery: Gallery,
    nd2: str | os.PathLike[str],
    tables: Sequence[ExperimentTable] = (),
    plate: SeriesMap | None = None,
    *,
    channel: int | None = None,
    check_stage: bool = True,
) -> MappedGallery:
    """Find the z-stack of every frame of a gallery.

    The series comes from the table of the frame's own day, else from the plate; where both are given they must
    agree. The file is the one below `nd2` with that day in its path. Position is series - 1.

    Parameters
    ----------
    gallery : Gallery
        Labelled frames.
    nd2 : path
        An ND2 file, or a folder of them.
    tables : sequence of ExperimentTable
        Metadata of one day or more; see `read_metadata`.
    plate : SeriesMap, optional
        See `read_series_map`.
    channel : int, optional
        Channel to take, from 0; by default the one in each frame's name.
    check_stage : bool
        Compare the wells of the plate or table with the stage positions in the file.

    Raises
    ------
    BadInputError
        With the gallery's line: nothing says the frame's series, only metadata of another day, no file or
        several of that day, or a series, time point or channel that the file does not have.
    """
    if not tables and plate is None:
        raise BadInputError(f"{gallery.source}: neither metadata nor a plate; one must say which series a well is")
    warnings = [warning for table in tables for warning in table.warnings]
    warnings += plate.warnings if plate is not None else ()
    files = _nd2_files(Path(nd2))
    opened: dict[Path, Stack] = {}
    times: dict[Path, NDArray[np.float64]] = {}
    frames: list[Nd2Frame] = []
    for reference in gallery.references:
        where = f"{gallery.source}, line {reference.line}"
        series, said = _series_of(reference, tables, plate, where)
        warnings += said
        file, said = _file_of(reference, files, where)
        warnings += said
        if file not in opened:
            opened[file] = open_stack(file)
            wells = _wells_of(reference.date, tables, plate)
            warnings += _beyond(opened[file], plate)
            if check_stage:
                warnings += _stage_warnings(opened[file], wells)
            times[file], said = _times_s(opened[file], wells)
            warnings += said
        stack = opened[file]
        at = reference.channel if channel is None else channel
        _check(reference, stack, series, at, where)
        planes = tuple(
            sequence_index(stack.sizes, t=reference.time_int, p=series - 1, z=z) for z in range(stack.size("Z"))
        )
        time_s = float(times[file][reference.time_int]) if times[file].size else float("nan")
        frames.append(Nd2Frame(reference, file, series, at, planes, time_s))
    return MappedGallery(tuple(frames), tuple(dict.fromkeys(warnings)))


def read_z_stack(frame: Nd2Frame) -> NDArray[np.generic]:
    """Read the z-stack of a labelled frame, `[z, y, x]`, as the camera gave it.

    Raises
    ------
    BadInputError
        The file cannot be read, or has changed since it was mapped.
    """
    stack = open_stack(frame.nd2)
    _check(frame.reference, stack, frame.nd2_series_num, frame.channel, str(frame.nd2))
    at = {"T": frame.reference.time_int, "P": frame.nd2_series_num - 1, "C": frame.channel}
    indices = [tuple(z if axis == "Z" else at[axis] for axis in stack.axes[:-2]) for z in range(stack.size("Z"))]
    return np.stack(list(stack.read_planes(indices)))


def _nd2_files(root: Path) -> tuple[tuple[Path, str], ...]:
    """Return the ND2 files below a folder (or the one that was named), and their paths from it."""
    if root.is_file():
        return ((root, root.name),)
    if not root.is_dir():
        raise BadInputError(f"{root}: no such file or folder, expected ND2 files")
    found = sorted((path for path in root.rglob("*") if path.suffix.lower() == ".nd2"), key=natural_key)
    if not found:
        raise BadInputError(f"{root}: no ND2 file in this folder")
    return tuple((path, path.relative_to(root).as_posix()) for path in found)


def _days_in(text: str) -> set[str]:
    return set(re.findall(r"(?<!\d)(20\d{6})(?!\d)", text))


def _file_of(reference: Reference, files: Sequence[tuple[Path, str]], where: str) -> tuple[Path, tuple[str, ...]]:
    of_day = [path for path, told in files if reference.date in _days_in(told)]
    if len(of_day) == 1:
        return of_day[0], ()
    if of_day:
        names = ", ".join(path.name for path in of_day)
        raise BadInputError(f"{where}: {len(of_day)} ND2 files of {reference.date} ({names}), expected one")
    undated = [path for path, told in files if not _days_in(told)]
    if len(files) == 1 and undated:
        return undated[0], (f"{undated[0].name} does not say its day: taken for {reference.date}",)
    days = ", ".join(sorted({day for _, told in files for day in _days_in(told)})) or "no day in any path"
    raise BadInputError(f"{where}: no ND2 file of {reference.date} among {len(files)} ({days})")


def _series_of(
    reference: Reference, tables: Sequence[ExperimentTable], plate: SeriesMap | None, where: str
) -> tuple[int, tuple[str, ...]]:
    from_plate = None if plate is None else plate.series.get(reference.well)
    said: tuple[str, ...] = ()
    key = (reference.well, reference.time_int)
    of_day = [table for table in tables if reference.date in table.dates]
    day = reference.date
    if tables and not of_day:
        undated = [table for table in tables if not table.dates]
        if len(undated) == 1 and len(tables) == 1:
            of_day, day = undated, ""
            said = (f"{undated[0].source} does not say its day: taken for {reference.date}",)
        elif plate is None:
            have = ", ".join(f"{Path(t.source).name} ({' '.join(t.dates) or 'no day'})" for t in tables)
            raise BadInputError(f"{where}: no metadata of {reference.date}, the day of the image; given: {have}")
    told = {table.series[(day, *key)] for table in of_day if (day, *key) in table.series}
    if len(told) > 1:
        raise BadInputError(
            f"{where}: {reference.well} is series {' and '.join(map(str, sorted(told)))} by tables"
        )
    series = told.pop() if told else None
    if series is None and of_day and from_plate is None:
        times = sorted(t for table in of_day for d, w, t in table.series if (d, w) == (day, reference.well))
        has = f"time_int {times[0]} to {times[-1]}" if times else "no row"
        raise BadInputError(
            f"{where}: {reference.well} at time_int {reference.time_int} is not in "
            f"{', '.join(t.source for t in of_day)}, which has {has} for this well"
        )
    if series is not None and from_plate is not None and series != from_plate:
        raise BadInputError(
            f"{where}: {reference.well} is series {series} by the metadata, but {from_plate} by the plate"
        )
    chosen = series if series is not None else from_plate
    if chosen is None:
        raise BadInputError(f"{where}: the plate gives {reference.well} no series")
    return chosen, said


def _wells_of(date: str, tables: Sequence[ExperimentTable], plate: SeriesMap | None) -> dict[str, int]:
    wells = {} if plate is None else dict(plate.series)
    for table in tables:
        wells |= {well: number for (day, well, _), number in table.series.items() if day in (date, "")}
    return wells


def _check(reference: Reference, stack: Stack, series: int, channel: int, where: str) -> None:
    for what, value, first, last in (
        ("series", series, 1, stack.size("P")),
        ("time_int", reference.time_int, 0, stack.size("T") - 1),
        ("channel", channel, 0, stack.size("C") - 1),
    ):
        if not first <= value <= last:
            raise BadInputError(
                f"{where}: {what} {value} of {reference.name} is not in {stack.source}; expected {first} to {last}"
            )


def _beyond(stack: Stack, plate: SeriesMap | None) -> Iterable[str]:
    """Yield a word on each well of the plate whose series the file does not have: it is passed over."""
    most = stack.size("P")
    for well, number in ({} if plate is None else plate.series).items():
        if number > most:
            yield f"{stack.source}: well {well} has series {number}, expected 1 to {most}; passed over"


def _stage_warnings(stack: Stack, wells: Mapping[str, int]) -> Iterable[str]:
    if stack.xy_um is None or stack.size("P") < 2:
        return ()
    placed = {well: stack.xy_um[number - 1] for well, number in wells.items() if number <= len(stack.xy_um)}
    if len(placed) < 2:
        return ()
    return (f"{stack.source}: {said}" for said in stage_disagreements(placed))


def _times_s(stack: Stack, wells: Mapping[str, int]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    positions = sorted({number - 1 for number in wells.values() if number <= stack.size("P")})
    recorded = nd2_time_stamps_s(stack.source, positions[:_N_REFERENCE_WELLS])
    if not np.isfinite(recorded).any():
        return np.empty(0), ()
    times, said = mended_times_s(recorded)
    return times, tuple(f"{stack.source}: {one}" for one in said)
