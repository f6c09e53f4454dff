"""`parfocal localize`: find the puncta of a movie, a run, or every movie of a folder."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from parfocal import __version__
from parfocal.cli._camera_options import (
    ElectronsOption,
    EmGainOption,
    OffsetOption,
    ReadNoiseOption,
    camera_of,
    camera_told,
    known_interval_s,
    known_pixel_size,
    pixel_size_of,
)
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.cli._localize_source import Movie, inverted, is_folder_of_movies, movies_in, open_movie, run_movie
from parfocal.cli._segment import is_run
from parfocal.errors import BadInputError
from parfocal.files import refuse_input
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations
from parfocal.puncta.detection import (
    LocalizeSettings,
    labels_of,
    localize_movie,
    thunderstorm_settings,
    write_thunderstorm,
)


class Method(StrEnum):
    """How a spot is fitted."""

    mle = "mle"
    wlsq = "wlsq"
    lsq = "lsq"


class Dialect(StrEnum):
    """Whose header the table has."""

    current = "current"
    old = "1.3"


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("localize")(localize_command)


@dataclass(frozen=True)
class _Told:
    """What the options say."""

    settings: LocalizeSettings
    camera: dict[str, float]
    em_gain: float
    quantum_efficiency: float
    pixel_size_um: tuple[float, float] | None
    interval_s: float | None
    dialect: Dialect
    picture: bool
    dark: bool
    resume: bool
    overwrite: bool
    silent: bool


def localize_command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN|FOLDER",
            help="TIFF, ND2, HDF5 (file.h5:dataset), OME-Zarr; a run, or `newest`; or a folder of movies.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The table to write; of a FOLDER, the folder for them. Default: here."),
    ] = None,
    as_labels: Annotated[
        Path | None,
        typer.Option(
            "--as-labels", help="Make this folder of samples: each movie with what was found as its truth."
        ),
    ] = None,
    threshold: Annotated[
        str, typer.Option(help="auto, or an expression in photoelectrons such as 1.5*std(Wave.F1).")
    ] = "auto",
    false_positives: Annotated[
        float, typer.Option("--false-positives", help="Of auto: expected per 1000 empty pixels.")
    ] = 0.02,
    method: Annotated[Method, typer.Option(help="Maximum likelihood or (weighted) least squares.")] = Method.mle,
    elliptical: Annotated[bool, typer.Option("--elliptical", help="Fit two widths.")] = False,
    calibration: Annotated[
        Path | None, typer.Option(help="A calibration of the focus lock (JSON): estimate z by its widths.")
    ] = None,
    radius: Annotated[
        int | None, typer.Option(help="Of the fit, px. Default: 3 to 6 as spots are wide, with a calibration 6.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Width to start from, px. Default: several.")] = None,
    own_widths: Annotated[
        bool, typer.Option("--own-widths", help="Fit each width by itself, not as like those of its frame.")
    ] = False,
    emitters: Annotated[
        int | None, typer.Option(help="Up to so many spots in one fit, 1 to 5. Default: 5 where it can be.")
    ] = None,
    min_photons: Annotated[float, typer.Option("--min-photons", help="Leave out fainter ones.")] = 0.0,
    baseline: Annotated[
        int, typer.Option(help="Take off the median of so many frames first; 0 does not. For spots that blink.")
    ] = 0,
    dark: Annotated[bool, typer.Option("--dark", help="Spots are darker than what is around them.")] = False,
    thunderstorm: Annotated[
        bool,
        typer.Option("--thunderstorm", help="ThunderSTORM's defaults: std(Wave.F1), one spot a fit, no border."),
    ] = False,
    offset: OffsetOption = None,
    electrons_per_adu: ElectronsOption = None,
    read_noise: ReadNoiseOption = None,
    em_gain: EmGainOption = 1.0,
    quantum_efficiency: Annotated[
        float, typer.Option("--quantum-efficiency", help="Photoelectrons a photon, for the table's photons.")
    ] = 1.0,
    pixel_size: Annotated[
        str | None, typer.Option("--pixel-size", help="um, one number or y,x, where the file does not say.")
    ] = None,
    frame_interval: Annotated[
        float | None, typer.Option("--frame-interval", help="s, for --as-labels, where the file does not say.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="What its axes are, such as TYX, where it does not say.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="Index of another axis, such as p=0 or z=2. May be repeated.")
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="The channel of puncta.")] = 0,
    dialect: Annotated[Dialect, typer.Option(help="Of ThunderSTORM's tables.")] = Dialect.current,
    picture: Annotated[
        bool, typer.Option("--picture", help="Draw the spots on a frame, a PNG by the table.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what is done, and go on from it.")] = False,
    data: DataOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the puncta of every frame and fit each; a table as ThunderSTORM writes it."""
    changes: dict[str, Any] = {
        "method": method.value,
        "shape": "elliptical" if elliptical else "round",
        "min_photons": min_photons,
        "baseline_frames": baseline,
        "false_positives_per_1000_px": false_positives,
        "fit_radius_px": radius,
        "defocus_model": _defocus_model(calibration),
    }
    changes |= {"widths": "own"} if own_widths else {}
    changes |= {"sigma_px": sigma} if sigma is not None else {}
    changes |= {"max_emitters": emitters} if emitters is not None else {}
    if thunderstorm:
        changes |= {"threshold": threshold} if threshold != "auto" else {}
        settings = thunderstorm_settings(**changes)
    else:
        settings = LocalizeSettings(threshold=threshold, **changes)
    told = _Told(
        settings,
        camera_told(offset, electrons_per_adu, read_noise),
        em_gain,
        quantum_efficiency,
        pixel_size_of(pixel_size),
        frame_interval,
        dialect,
        picture,
        dark,
        resume,
        overwrite,
        as_json,
    )
    facts: list[dict[str, Any]]
    if is_run(file):
        if axes:
            raise BadInputError(f"localize {file}: --axes is for files; a run says this itself")
        movie, catalog = run_movie(file, data, at, channel)
        with catalog:
            facts = [
                _one(movie, out or Path(f"{movie.source.replace(' ', '_')}_localizations.csv"), told, as_labels)
            ]
    elif is_folder_of_movies(Path(file).expanduser()):
        facts = _all(
            Path(file).expanduser(), out, told, as_labels, lambda path: open_movie(path, axes, at, channel)
        )
    else:
        movie = open_movie(file, axes, at, channel)
        facts = [_one(movie, out or Path(f"{_stem(file)}_localizations.csv"), told, as_labels)]
    if as_json:
        typer.echo(json.dumps(facts[0] if len(facts) == 1 else facts))
        return
    console = Console(highlight=False)
    for one in facts:
        console.print(_line(one), markup=False, soft_wrap=True)
        for warning in one["warnings"]:
            console.print(warning, markup=False, soft_wrap=True)
        for path in (one.get("sample") or one["table"], one.get("picture")):
            if path:
                console.print(str(path), markup=False, soft_wrap=True)


def _all(
    folder: Path, out: Path | None, told: _Told, as_labels: Path | None, opened: Callable[[str], Movie]
) -> list[dict[str, Any]]:
    """Do every movie of a folder; one that cannot be read ends it, with what was done kept."""
    tables = out or Path(f"{folder.resolve().name}_localizations")
    if as_labels is None:
        tables.mkdir(exist_ok=True)
    facts: list[dict[str, Any]] = []
    for path in movies_in(folder):
        table = tables / f"{_stem(path.name)}_localizations.csv"
        facts.append(_one(opened(str(path)), table, told, as_labels))
    return facts


def _one(movie: Movie, table: Path, told: _Told, as_labels: Path | None) -> dict[str, Any]:
    """Localize one movie and write what was asked for; return what there is to say of it."""
    sample = as_labels / _stem(movie.source) if as_labels is not None else None
    target = sample if sample is not None else table
    if as_labels is not None:
        as_labels.mkdir(exist_ok=True)
    shown = (target / "picture.png" if sample is not None else table.with_suffix(".png")) if told.picture else None
    for path in (target, shown):
        if path is not None:
            refuse_input(path, movie.source)
    if target.exists() and not told.overwrite:
        if told.resume:
            return {"source": movie.source, "table": str(target), "skipped": True, "warnings": []}
        raise BadInputError(f"{target}: exists already; name another, or replace it with --overwrite")
    if shown is not None and shown.exists() and not (told.overwrite or told.resume):
        raise BadInputError(f"{shown}: exists already; name another table, or replace it with --overwrite")
    if not target.absolute().parent.is_dir():
        raise BadInputError(f"{target}: cannot be made, there is no folder {target.parent}")
    size = known_pixel_size(movie, told.pixel_size_um)
    if told.dark:
        movie = inverted(movie)
    camera, remarks = camera_of(movie, told.camera, told.em_gain)
    noise = ", and where noise is uneven more false spots are found than --false-positives says"
    remarks = tuple(f"{remark}{noise}" for remark in remarks)
    journal = target.parent / f".{target.name}.parts"
    if not told.resume:
        shutil.rmtree(journal, ignore_errors=True)
    began = time.monotonic()
    with _progress(movie, told.silent) as on_progress:
        spots = localize_movie(
            movie.frames(), camera, told.settings, size, on_progress=on_progress, journal=journal
        )
    seconds = time.monotonic() - began
    facts: dict[str, Any] = {
        "source": movie.source,
        "n_frames": movie.n_frames,
        "shape_px": list(movie.shape_px),
        "pixel_size_um": list(size),
        "n_localizations": len(spots),
        "per_1000_px": _or_none(1e3 * len(spots) / (movie.n_frames * movie.shape_px[0] * movie.shape_px[1])),
        "median_photons": _median(spots.photons),
        "median_background": _median(spots.background),
        "median_sigma_nm": _median(spots.sigma_x_px * size[1] * 1e3),
        "median_uncertainty_nm": _median(spots.x_se_px * size[1] * 1e3),
        "median_misfit": _median(spots.misfit),
        "seconds": round(seconds, 3),
        "frames_per_s": round(movie.n_frames / max(seconds, 1e-9), 1),
        "threshold": told.settings.threshold,
        "method": told.settings.method,
        "camera": {
            name: float(np.mean(getattr(camera, name)))
            for name in ("offset_adu", "gain_adu_per_e", "read_noise_e", "em_gain")
        },
        "warnings": [*movie.warnings, *remarks],
        "parfocal": __version__,
    }
    if sample is not None:
        _write_sample(sample, movie, spots, camera, told)
        facts["sample"] = str(sample)
    else:
        write_thunderstorm(table, spots, cast(Any, told.dialect.value), quantum_efficiency=told.quantum_efficiency)
        facts["table"] = str(table)
    if shown is not None:
        from parfocal.cli._localize_picture import draw_localizations

        facts["picture"] = str(draw_localizations(shown, movie, spots, facts))
    shutil.rmtree(journal, ignore_errors=True)
    return facts


def _write_sample(sample: Path, movie: Movie, spots: Localizations, camera: CameraModel, told: _Told) -> None:
    from parfocal.puncta.simulation import PunctaRecording, write_sample

    interval_s = known_interval_s(movie, told.interval_s)
    pixels = np.stack(list(movie.frames()))
    if pixels.dtype != np.uint16:
        if pixels.dtype.kind == "f" and not np.array_equal(pixels, np.round(pixels)):
            raise BadInputError(f"{movie.source}: is {pixels.dtype}; samples hold whole numbers up to 65535")
        if pixels.min() < 0 or pixels.max() > 65535:
            raise BadInputError(f"{movie.source}: goes beyond 0 to 65535, which samples hold")
        pixels = pixels.astype(np.uint16)
    recording = PunctaRecording(pixels, None, labels_of(spots, interval_s), camera, camera, None)
    write_sample(sample, recording, overwrite=told.overwrite)


def _defocus_model(path: Path | None) -> Any:
    if path is None:
        return None
    from parfocal.focus import load_calibration

    model = load_calibration(path).model
    if model is None:
        raise BadInputError(f"{path}: has no defocus model (its kind is another); calibrate with zhuang")
    return model


def _stem(source: str) -> str:
    name = Path(source.split(":")[0] if ".h5:" in source or ".hdf5:" in source else source).name
    return re.sub(r"(\.ome)?\.[A-Za-z0-9]+$", "", name) or "movie"


def _line(facts: dict[str, Any]) -> str:
    if facts.get("skipped"):
        return f"{facts['source']}: done before"
    said = f"{facts['source']}: {facts['n_localizations']} puncta in {facts['n_frames']} frames"
    if facts["n_localizations"]:
        said += (
            f", {facts['median_photons']:.0f} photoelectrons on {facts['median_background']:.1f}, "
            f"{facts['median_uncertainty_nm']:.1f} nm (medians)"
        )
    return f"{said}; {facts['frames_per_s']:g} frames/s"


def _median(values: Any) -> float | None:
    return _or_none(float(np.nanmedian(values))) if np.isfinite(values).any() else None


def _or_none(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


@contextmanager
def _progress(movie: Movie, silent: bool) -> Generator[Callable[[int, int], None], None, None]:
    """Show frames done and puncta found; on stderr, so that stdout holds the result alone."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=silent,
        transient=True,
    ) as bar:
        task = bar.add_task(Path(movie.source).name, total=movie.n_frames)

        def on_progress(done: int, n_spots: int) -> None:
            bar.update(task, completed=done, description=f"{Path(movie.source).name}: {n_spots} puncta")

        yield on_progress
