"""What `parfocal evaluate puncta` lays side by side: truths, tables of other programs, folders of results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import natural_key, open_stack, read_csv
from parfocal.optics import CameraModel
from parfocal.puncta import CalciumEvents, Localizations, PunctaTracks, PunctaTruth
from parfocal.puncta.detection import read_thunderstorm
from parfocal.puncta.simulation import read_sample
from parfocal.puncta.tracking import read_tracks_csv

_TRACK_FILES = ("trajectories.csv", "puncta.csv")
_EVENT_FILE = "calcium_events.csv"
_EVENT_COLUMNS = ("track", "onset_s", "begin_frame", "end_frame")
_SAMPLE_FILES = ("metadata.json", "ground_truth.csv", "movie.tif")  # with any, what else is missing is refused


@dataclass(frozen=True, eq=False)
class Judged:
    """One recording: what is true of it, and its pixels where they are at hand."""

    name: str
    truth: PunctaTruth | Localizations
    movie: NDArray[Any] | None
    calcium: NDArray[Any] | None
    camera_model: CameraModel | None
    calcium_camera_model: CameraModel | None


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector found there. `seconds` is None where it was not run here."""

    name: str
    localizations: Localizations
    tracks: PunctaTracks | None
    events: CalciumEvents | None
    seconds: float | None


def samples_in(path: Path) -> list[Path]:
    """Return the samples that a folder holds, in their numbers' order; none where it is a sample, or a table.

    Raises
    ------
    BadInputError
        It is a folder, and neither a sample nor one of samples.
    """
    if not path.is_dir() or _is_sample(path):
        return []
    # a hidden one is being written just now
    seen = (one for one in path.iterdir() if not one.name.startswith(".") and _is_sample(one))
    samples = sorted(seen, key=lambda one: natural_key(one.name))
    if not samples:
        raise BadInputError(
            f"{path}: there is no metadata.json, nor a sample in it; expected a sample or a folder of samples"
        )
    return samples


def check_found_of_samples(found: Path, truth: Path, samples: list[Path]) -> None:
    """Refuse what does not have a folder of results for each sample, by the same name."""
    expected = f"expected a folder with a folder of results for each of the {len(samples)} samples in {truth}"
    if not found.is_dir():
        raise BadInputError(f"{found}: is no folder; {expected}, named as it is")
    lacking = [sample.name for sample in samples if not (found / sample.name).is_dir()]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise BadInputError(f"{found}: has no {lacking[0]}{more}; {expected}, named as it is")


def _is_sample(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _SAMPLE_FILES)


def read_truth(path: Path, pixel_size_um: float | None, image: Path | None) -> Judged:
    """Read a sample folder, or a table that stands for the truth."""
    if path.is_dir():
        sample = read_sample(path)
        return Judged(
            path.name,
            sample.truth,
            sample.movie,
            sample.calcium,
            sample.camera_model,
            sample.calcium_camera_model,
        )
    movie = None if image is None else _movie(image)
    return Judged(path.name, _table(path, pixel_size_um)[0], movie, None, None, None)


def read_found(path: Path, pixel_size_um: float | None, with_events: bool) -> Found:
    """Read a table of localizations, or a folder with trajectories.csv and calcium_events.csv."""
    if not path.is_dir():
        localizations, tracks = _table(path, pixel_size_um)
        return Found(path.name, localizations, tracks, None, None)
    table = next((path / name for name in _TRACK_FILES if (path / name).is_file()), None)
    if table is None:
        within = sorted({one.parent.name for name in _TRACK_FILES for one in path.glob(f"*/{name}")})
        hint = f"; name one of its recordings: {', '.join(within)}" if within else ""
        raise BadInputError(f"{path}: has no {' or '.join(_TRACK_FILES)}{hint}")
    localizations, tracks = _table(table, pixel_size_um)
    events = None
    if with_events:
        events = _events(path / _EVENT_FILE)
        if tracks is None:
            raise BadInputError(f"{table}: no column 'track', which {_EVENT_FILE} refers to")
    return Found(path.name, localizations, tracks, events, None)


def found_in_run(run: str, data: Path | None, with_events: bool) -> Found:
    """Return what the analysis `puncta` found in a run."""
    from parfocal.catalog import open_catalog
    from parfocal.report import read_puncta_run

    with open_catalog(data) as catalog:
        read = read_puncta_run(catalog, run)
    results = read.results
    if with_events and results.events is None:
        raise BadInputError(f"run {run}: no calcium was read in it; leave out --both-tasks")
    tracks = results.tracks if results.tracks.n_tracks else None
    return Found(f"run {read.uid[:8]}", results.localizations, tracks, results.events, None)


def _table(path: Path, pixel_size_um: float | None) -> tuple[Localizations, PunctaTracks | None]:
    """Read ThunderSTORM's table, or one in pixels whose first pixel has its centre at 0."""
    if not path.is_file():
        raise BadInputError(f"{path}: there is no such file")
    table = read_csv(path, lenient=True)
    size = None if pixel_size_um is None else (pixel_size_um, pixel_size_um)
    if "track" in table.header and "x_px" in table.header:
        return read_tracks_csv(path, size)
    if "x_px" not in table.header:
        return read_thunderstorm(path, pixel_size_um), None
    cells = table.columns()
    for name in ("frame", "y_px"):
        if name not in cells:
            raise BadInputError(f"{path}: no column {name!r}, expected frame, x_px and y_px")
    if size is None:
        raise BadInputError(f"{path}: its positions are in pixels; say --pixel-size (um)")
    read: dict[str, Any] = {
        name: _numbers(path, name, cells[name], table.row_numbers)
        for name in ("frame", "x_px", "y_px", "photons", "x_se_px", "y_se_px")
        if name in cells
    }
    n = len(read["frame"])
    order = np.argsort(read["frame"], kind="stable")
    frame = read.pop("frame").astype(np.int64)
    read.setdefault("photons", np.full(n, math.nan))
    return Localizations(size, frame, **read).take(order), None


def _events(path: Path) -> CalciumEvents:
    if not path.is_file():
        raise BadInputError(
            f"{path}: there is no such file; --both-tasks needs the calcium events that were found"
        )
    table = read_csv(path, lenient=True)
    cells = table.columns()
    for name in _EVENT_COLUMNS:
        if name not in cells:
            raise BadInputError(f"{path}: no column {name!r}, expected {', '.join(_EVENT_COLUMNS)}")
    n = len(table.rows)

    def column(name: str, otherwise: NDArray[Any]) -> NDArray[Any]:
        if name not in cells:
            return otherwise
        return _numbers(path, name, cells[name], table.row_numbers).astype(otherwise.dtype)

    whole, real = np.zeros(n, np.int64), np.full(n, math.nan)
    begin = column("begin_frame", whole)
    events = CalciumEvents(
        column("track", whole),
        column("onset_s", real),
        column("onset_se_s", real),
        begin,
        column("peak_frame", begin),
        column("end_frame", whole),
        column("peak_dff", real),
        column("peak_snr", real),
        column("is_wave", np.zeros(n, np.bool_)),
    )
    return events.take(column("is_own", np.ones(n, np.bool_)))


def _numbers(path: Path, name: str, cells: tuple[str, ...], rows: Any) -> NDArray[np.float64]:
    out = np.full(len(cells), math.nan)
    for i, cell in enumerate(cells):
        text = {"true": "1", "false": "0"}.get(cell.strip().lower(), cell.strip())
        if not text and name not in ("frame", "x_px", "y_px", *_EVENT_COLUMNS):
            continue
        try:
            out[i] = float(text)
        except ValueError:
            raise BadInputError(f"{path}, row {rows[i]}: {name} is {cell!r}, expected a number") from None
    return out


def _movie(path: Path) -> NDArray[Any]:
    pixels = np.asarray(open_stack(path).read())
    return pixels.reshape(-1, *pixels.shape[-2:])
