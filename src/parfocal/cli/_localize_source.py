"""Movies that `parfocal localize` is pointed at: a file, or the frames of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import natural_key, open_ome_zarr, open_stack
from parfocal.optics import CameraModel

_MOVIES = (".tif", ".tiff", ".btf", ".stk", ".lsm", ".nd2")


@dataclass(frozen=True)
class Movie:
    """Frames of one channel, read when they are asked for.

    Attributes
    ----------
    source : str
    n_frames : int
    shape_px : (int, int)
    frames : function
        Returns an iterator over the raw frames from one on.
    pixel_size_um : (float, float) or None
        (y, x), where the source tells it.
    frame_interval_s : float or None
    camera_model : CameraModel or None
        Where the source tells it: a run does.
    n_channels : int
        Of the source; the frames are of one.
    warnings : tuple of str
    """

    source: str
    n_frames: int
    shape_px: tuple[int, int]
    frames: Callable[[], Iterator[NDArray[Any]]]
    pixel_size_um: tuple[float, float] | None = None
    frame_interval_s: float | None = None
    camera_model: CameraModel | None = None
    n_channels: int = 1
    warnings: tuple[str, ...] = ()


def movies_in(folder: Path) -> list[Path]:
    """Return the movies that lie in a folder, in natural order.

    Raises
    ------
    BadInputError
        There are none.
    """
    found = [
        path
        for path in folder.iterdir()
        if (path.is_file() and path.suffix.lower() in _MOVIES) or (path.is_dir() and _is_zarr(path))
    ]
    if not found:
        raise BadInputError(f"{folder}: no movies in it; expected TIFF, ND2 or OME-Zarr")
    return sorted(found, key=lambda path: natural_key(path.name))


def is_folder_of_movies(path: Path) -> bool:
    """Say whether a path is a folder, and not one that is an image itself."""
    return path.is_dir() and not _is_zarr(path)


def open_movie(file: str, axes: str | None = None, at: list[str] | None = None, channel: int = 0) -> Movie:
    """Open a movie: every plane is a frame, of the position, depth and channel that are asked for.

    An only axis, whatever it is called, is that of the frames: ImageJ calls one z.

    Raises
    ------
    BadInputError
        It cannot be read, or more has to be said.
    """
    path = Path(file).expanduser()
    if path.is_dir() and _is_zarr(path):
        volume = open_ome_zarr(path)
        n, height, width = volume.shape
        return Movie(
            file,
            n,
            (height, width),
            lambda: (volume.read(slice(k, k + 1))[0] for k in range(n)),
            (volume.voxel_size_um[1], volume.voxel_size_um[2]),
        )
    if axes is None and path.suffix.lower() in (".tif", ".tiff"):
        axes = _plain_axes(path)
    stack = open_stack(file, axes)
    where = _places(at or [], stack.source)
    if channel >= stack.size("C"):
        raise BadInputError(f"{stack.source}: no channel {channel}, there are {stack.size('C')}, from 0")
    if "C" in stack.axes:
        where["C"] = channel
    free = [axis for axis in stack.axes[:-2] if axis not in where and stack.size(axis) > 1]
    along = "T" if "T" in free else (free[0] if len(free) == 1 else "T")
    several = [axis for axis in free if axis != along]
    if several:
        raise BadInputError(
            f"{stack.source}: {stack.size(several[0])} along {several[0].lower()}; say which with "
            f"--at {several[0].lower()}=0"
        )
    n = stack.size(along)
    fixed = {axis: index for axis, index in where.items() if axis in stack.axes}

    def frames() -> Iterator[NDArray[Any]]:
        for k in range(n):
            yield stack.plane(**fixed, **({along: k} if along in stack.axes else {}))

    size = stack.voxel_size_um[1:]
    known = (size[0], size[1]) if size[0] is not None and size[1] is not None else None
    interval = None
    if along == "T" and stack.time_s is not None and len(stack.time_s) > 1:
        interval = float(np.median(np.diff(stack.time_s))) or None
    return Movie(
        stack.source,
        n,
        (stack.shape[-2], stack.shape[-1]),
        frames,
        known,
        interval,
        n_channels=stack.size("C"),
        warnings=stack.warnings,
    )


def inverted(movie: Movie) -> Movie:
    """Return a movie whose bright is dark: its pixels taken from the highest number of their kind."""
    first = next(movie.frames())
    top = np.iinfo(first.dtype).max if first.dtype.kind in "ui" else first.max()
    return replace(movie, frames=lambda: (top - frame for frame in movie.frames()), camera_model=None)


def run_movie(run: str, data: Path | None, at: list[str] | None = None, channel: int = 0) -> tuple[Movie, Any]:
    """Return the frames of a stored run, and the open catalog, which is to be closed when they were read.

    Channels count in the order in which they were first taken, `--at p=` places (positions and tiles) by their
    numbers. Of a time point that was taken again, the last is its frame.

    Raises
    ------
    BadInputError
        There is no such run, it holds no images, or more has to be said.
    """
    from parfocal.callbacks import RunView
    from parfocal.catalog import open_catalog, remote_frames
    from parfocal.frames import FrameRing, Frames

    catalog = open_catalog(data)
    try:
        found: Any = catalog.run(run)
        uid = str(found.metadata["start"]["uid"])
        documents = list(catalog.documents(uid))
        view = RunView(documents[0][1])
        told: list[tuple[str, dict[str, Any]]] = []
        for name, doc in documents:
            if name == "descriptor":
                view.add_descriptor(doc)
            elif name == "stream_resource":
                view.add_resource(doc)
            elif (name == "event" and view.is_ours(doc) and not view.is_burst) or (
                name == "stream_datum" and view.is_burst and view.is_ours(doc)
            ):
                told.append((name, doc))
        if not view.data_key or not told:
            raise BadInputError(f"run {run}: its primary stream holds no images")
        n_channels = 1
        if not view.is_burst:
            events, n_channels = _one_channel(run, [doc for _, doc in told], at or [], channel)
            told = [("event", doc) for doc in events]
        ring = Frames(FrameRing(1), remote_frames(catalog, documents))
    except BaseException:
        catalog.close()
        raise

    def frames() -> Iterator[NDArray[Any]]:
        for name, doc in told:
            if name == "stream_datum":
                yield from (frame.pixels for frame in view.frames_of_datum(doc, ring))
            elif (frame := view.frame_of_event(doc, ring)) is not None:
                yield frame.pixels

    counts = [doc["indices"]["stop"] - doc["indices"]["start"] if name != "event" else 1 for name, doc in told]
    try:
        height, width = next(frames()).shape
    except BaseException:
        catalog.close()
        raise
    size = view.configuration("pixel_size_um")
    pair = (float(size[0]), float(size[1])) if size is not None else None
    movie = Movie(
        f"run {uid[:8]}",
        sum(counts),
        (height, width),
        frames,
        pair,
        _interval_s([doc for name, doc in told if name == "event"], view),
        view.camera_model(),
        n_channels,
    )
    return movie, catalog


def _one_channel(
    run: str, events: list[dict[str, Any]], at: list[str], channel: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the events of one channel at one place, and how many channels there are."""
    where = _places(at, f"run {run}")
    if set(where) - {"P"}:
        raise BadInputError(f"run {run}: --at t and --at z are for files; of a run, a place can be chosen, as p=0")
    data = [doc["data"] for doc in events]
    names = list(dict.fromkeys(str(one.get("point_channel", "")) for one in data))
    spots = [(int(one.get("point_position", 0)), int(one.get("point_tile", 0))) for one in data]
    places = sorted(set(spots))
    if channel >= len(names):
        raise BadInputError(f"run {run}: no channel {channel}, there are {len(names)}, from 0: {', '.join(names)}")
    if len(places) > 1 and "P" not in where:
        raise BadInputError(f"run {run}: {len(places)} places (positions, tiles); say which with --at p=0")
    if where.get("P", 0) >= len(places):
        raise BadInputError(f"run {run}: no place {where['P']}, there are {len(places)}, from 0")
    place, name = places[where.get("P", 0)], names[channel]
    kept: dict[Any, dict[str, Any]] = {}
    for doc, one, spot in zip(events, data, spots, strict=True):
        if spot == place and str(one.get("point_channel", "")) == name:
            time_point = one.get("point_time_point")
            kept[doc["seq_num"] if time_point is None else (time_point, one.get("point_plane", 0))] = doc
    return list(kept.values()), len(names)


def _interval_s(events: list[dict[str, Any]], view: Any) -> float | None:
    """Return the median time between frames; without times, the exposure."""
    key = f"{view.data_key}_t_s"
    t_s = np.array([doc["data"][key] for doc in events if key in doc["data"]])
    if len(t_s) > 1 and np.median(np.diff(t_s)) > 0:
        return float(np.median(np.diff(t_s)))
    exposure = view.configuration("exposure_s")
    return float(exposure) if exposure else None


def _plain_axes(path: Path) -> str | None:
    """Return the axes of a TIFF that says none and has but one beside its planes': those are frames."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            if tiff.is_ome or tiff.is_imagej or not tiff.series:
                return None
            found = tiff.series[0].axes.upper()
            if len(tiff.series[0].shape) == 3 and found[-2:] == "YX" and found[0] in "QIT":
                return "TYX"
    except (OSError, ValueError, tifffile.TiffFileError):
        return None  # what is wrong with it is said where it is opened
    return None


def _is_zarr(path: Path) -> bool:
    return (path / "zarr.json").is_file() or (path / ".zattrs").is_file()


def _places(at: list[str], source: str) -> dict[str, int]:
    where: dict[str, int] = {}
    for text in at:
        match = re.fullmatch(r"([tpzTPZ])=(\d+)", text.strip())
        if match is None:
            raise BadInputError(f"--at {text}: {source}: expected t, p or z and its index, such as p=0")
        where[match[1].upper()] = int(match[2])
    return where
