"""`parfocal prepare calcium`: class labels of events, made into signal at puncta or none, and into samples."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

from parfocal.cli._camera_options import (
    ElectronsOption,
    EmGainOption,
    OffsetOption,
    ReadNoiseOption,
    camera_told,
    pixel_size_of,
)
from parfocal.errors import BadInputError
from parfocal.files import write_atomically

if TYPE_CHECKING:
    from parfocal.cli._prepare_calcium_source import MovieOptions, PunctaMovie
    from parfocal.puncta import Localizations
    from parfocal.puncta.calcium import LabelSettings


def prepare_command(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder of NAME.tif, NAME_labels.tif and NAME_puncta.csv.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; a folder in it for each NAME.")],
    puncta: Annotated[
        Path | None,
        typer.Option(
            "--puncta",
            metavar="MOVIE|FOLDER",
            help="The movie of puncta, or a folder of NAME.tif: makes samples to train on. Default: "
            "NAME_puncta.tif in IN, where there is one.",
        ),
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="The channel of puncta in that movie.")] = 0,
    filter_puncta_only: Annotated[
        bool,
        typer.Option(
            "--filter-puncta-only/--all-events",
            "--filter_puncta_only",  # as the original has it
            help="Events are signal at puncta only, or anywhere.",
        ),
    ] = True,
    ignore_waves: Annotated[
        bool,
        typer.Option(
            "--ignore-waves/--keep-waves", "--ignore_waves", help="Waves are not learnt, or are events too."
        ),
    ] = True,
    radius: Annotated[float, typer.Option(help="How far from a punctum is at it, px.")] = 3.0,
    named: Annotated[
        list[str] | None,
        typer.Option("--class", help="NAME=VALUE in the labels. Default: sparks 1, waves 2, puffs 3, ignore 4."),
    ] = None,
    first_frame: Annotated[
        int, typer.Option(min=0, help="Frame of the puncta channel at which the patches begin.")
    ] = 0,
    pixel_size: Annotated[
        str | None,
        typer.Option(
            "--pixel-size",
            help="um, one number or y,x, where a movie, or a table of ThunderSTORM's, does not say.",
        ),
    ] = None,
    frame_interval: Annotated[
        float | None, typer.Option("--frame-interval", help="s, where the movie does not say.")
    ] = None,
    offset: OffsetOption = None,
    electrons_per_adu: ElectronsOption = None,
    read_noise: ReadNoiseOption = None,
    em_gain: EmGainOption = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn class labels of calcium events into signal (1) or none (0) at puncta; with their movie, samples."""
    from parfocal.cli._prepare_calcium_source import MovieOptions, labelled_patches
    from parfocal.puncta.calcium import DEFAULT_CLASSES, LabelSettings

    given = dict(DEFAULT_CLASSES) if not named else {"background": 0, **dict(map(_class_of, named))}
    settings = LabelSettings(given, filter_puncta_only, ignore_waves, radius)
    if frame_interval is not None and not frame_interval > 0:
        raise BadInputError(f"--frame-interval {frame_interval:g}: expected seconds, above 0")
    told = MovieOptions(
        puncta,
        channel,
        first_frame,
        pixel_size_of(pixel_size),
        frame_interval,
        camera_told(offset, electrons_per_adu, read_noise),
        em_gain,
    )
    patches = labelled_patches(source)
    for target in (*(out / name for name, _ in patches), out / "class_balance.json"):
        if target.exists() and not overwrite:
            raise BadInputError(f"{target}: exists already; name another OUT, or replace it with --overwrite")
        if target.is_dir() and not (target / "labels.tif").is_file():
            raise BadInputError(f"{target}: was not made by this command, and is not replaced; name another OUT")
    made = [_prepare(source, name, labels, out / name, settings, told) for name, labels in patches]
    total = {key: sum(one.balance[key] for one in made) for key in made[0].balance}
    share = total["signal_pixels"] / max(1, total["signal_pixels"] + total["no_signal_pixels"])
    document: dict[str, Any] = {
        "n_patches": len(patches),
        "n_samples": sum(one.is_sample for one in made),
        **total,
        "signal_share": share,
        "warnings": list(dict.fromkeys(warning for one in made for warning in one.warnings)),
    }
    with write_atomically(out / "class_balance.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({**document, "folder": str(out)}))
        return
    _say(Console(highlight=False, soft_wrap=True), document, out)


@dataclass(frozen=True)
class _Made:
    """What became of a patch."""

    balance: dict[str, int]
    is_sample: bool
    warnings: tuple[str, ...]


def _prepare(
    source: Path, name: str, labels: Path, target: Path, settings: LabelSettings, told: MovieOptions
) -> _Made:
    """Prepare one patch; its folder is made whole or not at all."""
    import tifffile

    from parfocal.cli._prepare_calcium_source import patch_pixels, puncta_movie, puncta_of
    from parfocal.puncta.calcium import binary_labels, paired_recording
    from parfocal.puncta.simulation import write_sample

    image, classes, calcium = patch_pixels(source, name, labels)
    movie = puncta_movie(source, name, classes.shape, told)
    csv = source / f"{name}_puncta.csv"
    size = movie.pixel_size_um if movie is not None else told.pixel_size_um
    puncta: Localizations | None = None
    if csv.is_file():
        puncta = puncta_of(csv, told.first_frame, len(classes), size)
    elif movie is not None:
        puncta = _found(movie)
    elif settings.filter_puncta_only:
        raise BadInputError(f"{csv}: no such file; expected the puncta, their movie (--puncta), or --all-events")
    found = binary_labels(classes, puncta, settings)
    columns = () if puncta is None else (puncta.frame.tolist(), puncta.x_px.tolist(), puncta.y_px.tolist())
    rows = zip(*columns, found.is_on.tolist()) if columns else ()
    facts: dict[str, Any] = {
        "source": {
            "calcium": image.name,
            "labels": labels.name,
            "puncta": csv.name if csv.is_file() else None,
            "movie": None if movie is None else movie.source,
        },
        "classes": dict(settings.classes),
        "class_pixels": found.class_pixels,
        "filter_puncta_only": settings.filter_puncta_only,
        "ignore_waves": settings.ignore_waves,
        "radius_px": settings.radius_px,
        "frames": [{"calcium": i, "puncta": told.first_frame + i} for i in range(len(classes))],
        "puncta": [{"frame": f, "x_px": x, "y_px": y, "is_on": on} for f, x, y, on in rows],
        "balance": found.balance(),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.making")
    shutil.rmtree(draft, ignore_errors=True)
    arrays = {"labels": found.signal}
    try:
        if movie is not None and puncta is not None:
            pair = paired_recording(
                movie.frames, calcium, puncta, found, movie.frame_interval_s, movie.camera_model
            )
            write_sample(draft, pair)
            facts |= json.loads((draft / "metadata.json").read_text(encoding="utf-8"))
        else:
            draft.mkdir()
            arrays |= {"calcium": calcium, "ignored": found.is_ignored.astype(np.uint8)}
        for stem, array in arrays.items():
            tifffile.imwrite(draft / f"{stem}.tif", array, photometric="minisblack", metadata={"axes": "TYX"})
        (draft / "metadata.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _Made(found.balance(), movie is not None, () if movie is None else movie.warnings)


def _found(movie: PunctaMovie) -> Localizations:
    from parfocal.puncta.detection import localize_movie

    return localize_movie(movie.frames, movie.camera_model, pixel_size_um=movie.pixel_size_um)


def _say(console: Console, document: dict[str, Any], out: Path) -> None:
    n_patches, n_samples = document["n_patches"], document["n_samples"]
    samples = f", {n_samples} of them samples to train on (parfocal check-data {out})" if n_samples else ""
    console.print(f"{n_patches} patches in {out}{samples}", markup=False)
    console.print(f"Signal: {document['signal_pixels']} px ({document['signal_share']:.3%})", markup=False)
    console.print(f"No signal: {document['no_signal_pixels']} px", markup=False)
    console.print(f"Ignored: {document['ignored_pixels']} px", markup=False)
    console.print(
        f"Puncta: {document['puncta_with_signal']} with signal, {document['puncta_without_signal']} without",
        markup=False,
    )
    for warning in document["warnings"]:
        console.print(warning, markup=False)
    if not document["signal_pixels"]:
        console.print("There is no signal at all: are puncta and labels of one frame, and the classes right?")


def _class_of(told: str) -> tuple[str, int]:
    name, _, value = told.partition("=")
    if not (name and value.isdecimal()):
        raise BadInputError(f"--class {told}: expected NAME=VALUE, such as sparks=1")
    return name, int(value)
