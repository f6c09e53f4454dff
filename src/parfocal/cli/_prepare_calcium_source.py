"""What `parfocal prepare calcium` reads: patches with labels, puncta, and the movie that puncta are in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.cli._camera_options import camera_of, known_interval_s, known_pixel_size
from parfocal.cli._localize_source import open_movie
from parfocal.errors import BadInputError
from parfocal.files import natural_key
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations

_LABELS = re.compile(r"(.+?)[_-](?:class|classes|label|labels|class_label|class_labels)\.tiff?$", re.IGNORECASE)
_IMAGES = ("{}.tif", "{}.tiff", "{}_video.tif", "{}_calcium.tif", "{}_image.tif")
_MOVIES = ("{}_puncta.tif", "{}_puncta.tiff")


@dataclass(frozen=True)
class MovieOptions:
    """What was said of the movies of puncta.

    Attributes
    ----------
    path : Path or None
        A movie of all patches, or a folder of one each.
    channel : int
    first_frame : int
        At which the patches begin.
    pixel_size_um : (float, float) or None
        (y, x).
    frame_interval_s : float or None
    camera : mapping of str to float
        As `camera_of` takes it.
    em_gain : float
    """

    path: Path | None
    channel: int
    first_frame: int
    pixel_size_um: tuple[float, float] | None
    frame_interval_s: float | None
    camera: Mapping[str, float]
    em_gain: float


@dataclass(frozen=True, eq=False)
class PunctaMovie:
    """The frames of puncta that belong to a patch: `[frame, y, x]`, raw ADU."""

    source: str
    frames: NDArray[Any]
    pixel_size_um: tuple[float, float]
    frame_interval_s: float
    camera_model: CameraModel
    warnings: tuple[str, ...]


def labelled_patches(source: Path) -> list[tuple[str, Path]]:
    """Return name and labels of each patch, in natural order.

    Raises
    ------
    BadInputError
        There is none.
    """
    if not source.is_dir():
        raise BadInputError(f"{source}: no such folder; expected one of NAME.tif and NAME_labels.tif")
    files = sorted(source.iterdir(), key=lambda path: natural_key(path.name))
    patches = [(match[1], path) for path in files if (match := _LABELS.match(path.name))]
    if not patches:
        raise BadInputError(f"{source}: no labels there; expected files such as NAME_labels.tif")
    names = [name for name, _ in patches]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInputError(f"{source}: {twice} has labels twice; expected one file of a name")
    return patches


def patch_pixels(source: Path, name: str, labels: Path) -> tuple[Path, NDArray[Any], NDArray[Any]]:
    """Return the calcium image's path, its frames, and the classes of the same shape."""
    image = next((p for form in _IMAGES if (p := source / form.format(name)).is_file()), None)
    if image is None:
        raise BadInputError(f"{labels}: its image is not there; expected {source / name}.tif")
    classes, calcium = _frames(labels), _frames(image)
    if classes.shape != calcium.shape:
        raise BadInputError(f"{labels}: shape {classes.shape}, but {image.name} has {calcium.shape}")
    return image, classes, calcium


def puncta_movie(source: Path, name: str, shape: tuple[int, ...], told: MovieOptions) -> PunctaMovie | None:
    """Return the frames of puncta of a patch of `shape` [frame, y, x]; None where nobody gave a movie.

    Raises
    ------
    BadInputError
        The movie that was named is not there, is of another shape or too short, or its pixel size or frame
        interval are not known.
    """
    path = _movie_path(source, name, told.path)
    if path is None:
        return None
    movie = open_movie(str(path), None, None, told.channel)
    first, last = told.first_frame, told.first_frame + shape[0]
    if movie.n_frames < last:
        raise BadInputError(f"{path}: has {movie.n_frames} frames; {name} needs those from {first} to {last - 1}")
    if movie.shape_px != shape[1:]:
        raise BadInputError(f"{path}: frames are {movie.shape_px} px (y, x), but calcium of {name} is {shape[1:]}")
    size = known_pixel_size(movie, told.pixel_size_um)
    interval_s = known_interval_s(movie, told.frame_interval_s)
    camera, remarks = camera_of(movie, told.camera, told.em_gain)
    frames = np.stack([np.asarray(frame) for frame in islice(movie.frames(), first, last)])
    return PunctaMovie(movie.source, frames, size, interval_s, camera, (*movie.warnings, *remarks))


def puncta_of(
    csv: Path, first_frame: int, n_frames: int, pixel_size_um: tuple[float, float] | None
) -> Localizations:
    """Return the puncta of the patch's frames, counted from its first; of our own table or ThunderSTORM's."""
    from parfocal.puncta.detection import read_thunderstorm
    from parfocal.puncta.tables import read_results

    with csv.open(encoding="utf-8") as opened:
        is_ours = "x_px" in opened.readline()
    if not is_ours and pixel_size_um is None:
        raise BadInputError(f"{csv}: is a table of ThunderSTORM's, in nm; tell --pixel-size")
    puncta = read_results(csv).localizations if is_ours else read_thunderstorm(csv, pixel_size_um)
    puncta = puncta.take((puncta.frame >= first_frame) & (puncta.frame < first_frame + n_frames))
    return replace(puncta, frame=puncta.frame - first_frame, pixel_size_um=pixel_size_um or puncta.pixel_size_um)


def _movie_path(source: Path, name: str, told: Path | None) -> Path | None:
    if told is None:
        return next((p for form in _MOVIES if (p := source / form.format(name)).is_file()), None)
    if told.is_file() or told.suffix == ".zarr":
        return told
    there = [told / form.format(name) for form in ("{}.tif", "{}.tiff", *_MOVIES)]
    if not told.is_dir() or (path := next((p for p in there if p.is_file()), None)) is None:
        raise BadInputError(f"--puncta {told}: no movie of {name} there; expected a file, or {told / name}.tif")
    return path


def _frames(path: Path) -> NDArray[Any]:
    import tifffile

    try:
        frames = tifffile.imread(path)
    except (tifffile.TiffFileError, OSError) as error:
        raise BadInputError(f"{path}: cannot be read as TIFF: {error}") from None
    if frames.ndim not in (2, 3):
        raise BadInputError(f"{path}: shape {frames.shape}, expected [frame, y, x]")
    return frames if frames.ndim == 3 else frames[None]
