"""What `parfocal infer` works on: movies of two channels, or sample folders, with their cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from parfocal.cli._localize_source import Movie, movies_in, open_movie
from parfocal.errors import BadInputError
from parfocal.files import natural_key
from parfocal.optics import CameraModel
from parfocal.puncta.simulation import read_sample


@dataclass(frozen=True)
class Recording:
    """A movie of puncta, and the calcium that was seen with it.

    Attributes
    ----------
    name : str
        What its results are called.
    puncta : Movie
    calcium : function or None
        Returns an iterator over its raw frames.
    calcium_camera : CameraModel or None
        Where the source tells it.
    """

    name: str
    puncta: Movie
    calcium: Callable[[], Iterator[NDArray[Any]]] | None = None
    calcium_camera: CameraModel | None = None


def recordings_in(
    path: Path, channel: int, calcium_channel: int, axes: str | None
) -> Iterator[Callable[[], Recording]]:
    """Yield what opens each recording: of a file, of a sample folder, or of all of either in a folder.

    Raises
    ------
    BadInputError
        There is nothing there.
    """
    if not path.exists():
        raise BadInputError(f"{path}: there is nothing there; expected a movie, or a folder of movies or samples")
    if _is_sample(path):
        yield lambda: _sample(path)
        return
    if path.is_file():
        yield lambda: _movie(path, channel, calcium_channel, axes)
        return
    samples = sorted((one for one in path.iterdir() if _is_sample(one)), key=lambda one: natural_key(one.name))
    for sample in samples:
        yield lambda sample=sample: _sample(sample)
    if samples:
        return
    for movie in movies_in(path):
        yield lambda movie=movie: _movie(movie, channel, calcium_channel, axes)


def _is_sample(path: Path) -> bool:
    return path.is_dir() and (path / "movie.tif").is_file()


def _sample(folder: Path) -> Recording:
    found = read_sample(folder)
    movie = Movie(
        str(folder),
        len(found.movie),
        (found.movie.shape[1], found.movie.shape[2]),
        lambda: iter(found.movie),
        found.truth.pixel_size_um,
        found.truth.frame_interval_s,
        found.camera_model,
    )
    calcium = found.calcium
    return Recording(
        folder.name, movie, None if calcium is None else lambda: iter(calcium), found.calcium_camera_model
    )


def _movie(path: Path, channel: int, calcium_channel: int, axes: str | None) -> Recording:
    movie = open_movie(str(path), axes, None, channel)
    if movie.n_channels < 2:
        return Recording(_stem(path), movie)
    other = open_movie(str(path), axes, None, calcium_channel)
    return Recording(_stem(path), movie, other.frames)


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".ome.zarr", ".zarr", ".ome.tif", ".ome.tiff"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem
