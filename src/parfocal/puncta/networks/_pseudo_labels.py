"""Real movies with what ThunderSTORM, or `parfocal localize`, found in them: pseudo-labels to train on."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_csv
from parfocal.optics import CameraModel
from parfocal.puncta.detection import guess_camera, read_thunderstorm
from parfocal.puncta.networks._samples import TRUTH, LabelledMovie, labelled_movie

_LOG = logging.getLogger("parfocal.puncta")
_OURS = "_localizations"  # what `parfocal localize` adds to a movie's name
_MOVIES = (".tif", ".tiff", ".ome.tif", ".ome.tiff")

Pair = tuple[float, float]


@dataclass(frozen=True)
class _Told:
    """What `metadata.json` says of all movies of a folder."""

    pixel_size_um: Pair | None = None
    camera: CameraModel | None = None


def thunderstorm_movies(folder: str | os.PathLike[str]) -> list[LabelledMovie]:
    """Return movies with what ThunderSTORM, or `parfocal localize`, found in them: pseudo-labels.

    The folder holds `NAME.tif` and `NAME.csv` (or `NAME_localizations.csv`) of each movie, and may hold
    `metadata.json` with `pixel_size_um` (y, x) and `camera`, as samples do. Without, the pixel size is the TIFF's
    own, and the camera is guessed from the noise, as `parfocal localize` does; a warning says it. Samples of the
    usual layout in the folder are taken too. Nothing asks for the time between frames.

    Raises
    ------
    BadInputError
        There is no movie with a table, a movie has two, its pixel size is not known, or a file is not what it
        should be.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder of movies and tables")
    told = _told(root / "metadata.json")
    movies = [_movie(pixels, table, told) for pixels, table in _pairs(root).items()]
    samples = [path for path in sorted(root.iterdir()) if path.is_dir() and (path / TRUTH).is_file()]
    movies += [labelled_movie(path) for path in samples]
    if not movies:
        raise BadInputError(
            f"{root}: holds no movie with a table; expected NAME.tif beside NAME.csv or NAME{_OURS}.csv"
        )
    return movies


def _pairs(root: Path) -> dict[Path, Path]:
    """Return the table of each movie that has one, in order of the tables."""
    found: dict[Path, Path] = {}
    for table in sorted(root.glob("*.csv")):
        stems = (table.stem, table.stem.removesuffix(_OURS))
        there = [root / f"{stem}{suffix}" for stem in stems for suffix in _MOVIES]
        pixels = next((path for path in there if path.is_file()), None)
        if pixels is None:
            continue
        if pixels in found:
            raise BadInputError(f"{pixels}: has two tables, {found[pixels].name} and {table.name}; expected one")
        found[pixels] = table
    return found


def _movie(pixels: Path, table: Path, told: _Told) -> LabelledMovie:
    frames, own_size = _frames(pixels)
    size = told.pixel_size_um or own_size
    if size is None and not _is_in_px(table):
        raise BadInputError(
            f"{table}: is in nm, and {pixels.name} does not say its pixel size; expected pixel_size_um in "
            f"{pixels.parent / 'metadata.json'}"
        )
    found = read_thunderstorm(table, size)
    if found.n_frames > len(frames):
        raise BadInputError(f"{table}: goes to frame {found.n_frames}, but {pixels.name} has {len(frames)}")
    if len(found) and not np.isfinite(found.photons).any():
        raise BadInputError(f"{table}: says no photons; expected a column intensity [photon]")
    found = found.take(found.photons > 0)
    camera = told.camera
    if camera is None:
        camera = guess_camera(*frames[:2])
        _LOG.warning(
            "%s: camera not told: offset %g and %.3g photoelectrons an ADU taken from the noise; expected camera "
            "in metadata.json where they are known",
            pixels,
            camera.offset_adu,
            1 / float(np.mean(camera.gain_adu_per_e)),
        )
    return LabelledMovie(
        movie=frames,
        calcium=None,
        camera_model=camera,
        calcium_camera=camera,
        excess_noise=camera.excess_noise,
        frame=found.frame,
        puncta=np.stack([found.x_px, found.y_px, found.photons, np.zeros(len(found))], axis=1),
        background=found.background,
        name=pixels.name,
    )


def _frames(path: Path) -> tuple[NDArray[Any], Pair | None]:
    """Return `[frame, y, x]`, and the pixel size (y, x) in um where the file tells it."""
    try:
        stack = open_stack(path, "TYX")  # programs call frames z, channels, or nothing
    except BadInputError:
        stack = open_stack(path)
        if stack.axes != "YX":
            raise
    y, x = stack.voxel_size_um[1:]
    return stack.read().reshape(-1, *stack.shape[-2:]), None if y is None or x is None else (y, x)


def _is_in_px(table: Path) -> bool:
    """Say whether the positions need no pixel size."""
    header = read_csv(table, lenient=True).header
    return any(re.fullmatch(r"x\s*\[\s*(px|pixel)\s*\]", name.strip()) for name in header)


def _told(path: Path) -> _Told:
    if not path.is_file():
        return _Told()
    try:
        read: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(read, dict):
        raise BadInputError(f"{path}: expected a JSON object")
    known = cast(dict[str, Any], read)
    size: Any = known.get("pixel_size_um")
    if size is not None:
        numbers = cast(list[Any], size) if isinstance(size, list) else []
        if len(numbers) != 2 or not all(_is_number(n) and n > 0 for n in numbers):
            raise BadInputError(f"{path}: pixel_size_um is {size!r}, expected two positive numbers [y, x]")
        size = (float(numbers[0]), float(numbers[1]))
    camera: Any = known.get("camera")
    if camera is None:
        return _Told(size)
    try:
        if not all(_is_number(value) for value in camera.values()):
            raise TypeError("not all are numbers")
        return _Told(size, CameraModel(**camera))
    except (AttributeError, TypeError) as error:
        raise BadInputError(f"{path}: camera: {error}; expected a camera model's numbers") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
