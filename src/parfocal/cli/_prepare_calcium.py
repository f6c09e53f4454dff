"""`parfocal prepare calcium`: class labels of events, made into signal at puncta or none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from parfocal.errors import BadInputError
from parfocal.files import natural_key, write_atomically

if TYPE_CHECKING:
    from parfocal.puncta import Localizations
    from parfocal.puncta.calcium import LabelSettings

_LABELS = re.compile(r"(.+?)[_-](?:class|classes|label|labels|class_label|class_labels)\.tiff?$", re.IGNORECASE)
_IMAGES = ("{}.tif", "{}.tiff", "{}_video.tif", "{}_calcium.tif", "{}_image.tif")


def prepare_command(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder of NAME.tif, NAME_labels.tif and NAME_puncta.csv.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; a folder in it for each NAME.")],
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
        float | None, typer.Option("--pixel-size", help="um; needed where puncta are ThunderSTORM's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn class labels of calcium events into signal (1) or none (0) at puncta, linked to their frames."""
    from parfocal.puncta.calcium import DEFAULT_CLASSES, LabelSettings

    given = dict(DEFAULT_CLASSES) if not named else {"background": 0, **dict(map(_class_of, named))}
    settings = LabelSettings(given, filter_puncta_only, ignore_waves, radius)
    if not source.is_dir():
        raise BadInputError(f"{source}: no such folder; expected one of NAME.tif and NAME_labels.tif")
    files = sorted(source.iterdir(), key=lambda path: natural_key(path.name))
    patches = [(match[1], path) for path in files if (match := _LABELS.match(path.name))]
    if not patches:
        raise BadInputError(f"{source}: no labels there; expected files such as NAME_labels.tif")
    total: dict[str, int] = {}
    for name, labels in patches:
        balance = _prepare(source, name, labels, out / name, settings, first_frame, pixel_size)
        total = {key: total.get(key, 0) + count for key, count in balance.items()}
    share = total["signal_pixels"] / max(1, total["signal_pixels"] + total["no_signal_pixels"])
    document: dict[str, Any] = {"n_patches": len(patches), **total, "signal_share": share}
    with write_atomically(out / "class_balance.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({**document, "folder": str(out)}))
        return
    console = Console(highlight=False)
    console.print(f"{len(patches)} patches in {out}", soft_wrap=True, markup=False)
    console.print(f"Signal: {total['signal_pixels']} px ({share:.3%})", markup=False)
    console.print(f"No signal: {total['no_signal_pixels']} px", markup=False)
    console.print(f"Ignored: {total['ignored_pixels']} px", markup=False)
    console.print(
        f"Puncta: {total['puncta_with_signal']} with signal, {total['puncta_without_signal']} without",
        markup=False,
    )
    if not total["signal_pixels"]:
        console.print("There is no signal at all: are puncta and labels of one frame, and the classes right?")


def _prepare(
    source: Path,
    name: str,
    labels: Path,
    target: Path,
    settings: LabelSettings,
    first_frame: int,
    pixel_size_um: float | None,
) -> dict[str, int]:
    import tifffile

    from parfocal.puncta.calcium import binary_labels

    image = next((p for form in _IMAGES if (p := source / form.format(name)).is_file()), None)
    if image is None:
        raise BadInputError(f"{labels}: its image is not there; expected {source / name}.tif")
    classes, calcium = _frames(labels), _frames(image)
    if classes.shape != calcium.shape:
        raise BadInputError(f"{labels}: shape {classes.shape}, but {image.name} has {calcium.shape}")
    puncta, csv = None, source / f"{name}_puncta.csv"
    if csv.is_file():
        puncta = _puncta_of(csv, first_frame, len(classes), pixel_size_um)
    elif settings.filter_puncta_only:
        raise BadInputError(f"{csv}: no such file; expected the puncta, or --all-events")
    found = binary_labels(classes, puncta, settings)
    target.mkdir(parents=True, exist_ok=True)
    arrays = (("calcium", calcium), ("labels", found.signal), ("ignored", found.is_ignored.astype(np.uint8)))
    for stem, array in arrays:
        with write_atomically(target / f"{stem}.tif") as temporary:
            tifffile.imwrite(temporary, array, photometric="minisblack", metadata={"axes": "TYX"})
    columns = () if puncta is None else (puncta.frame.tolist(), puncta.x_px.tolist(), puncta.y_px.tolist())
    rows = zip(*columns, found.is_on.tolist()) if columns else ()
    facts = {
        "source": {"calcium": image.name, "labels": labels.name, "puncta": csv.name if csv.is_file() else None},
        "classes": dict(settings.classes),
        "class_pixels": found.class_pixels,
        "filter_puncta_only": settings.filter_puncta_only,
        "ignore_waves": settings.ignore_waves,
        "radius_px": settings.radius_px,
        "frames": [{"calcium": i, "puncta": first_frame + i} for i in range(len(classes))],
        "puncta": [{"frame": f, "x_px": x, "y_px": y, "is_on": on} for f, x, y, on in rows],
        "balance": found.balance(),
    }
    with write_atomically(target / "metadata.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return found.balance()


def _frames(path: Path) -> NDArray[Any]:
    import tifffile

    try:
        frames = tifffile.imread(path)
    except (tifffile.TiffFileError, OSError) as error:
        raise BadInputError(f"{path}: cannot be read as TIFF: {error}") from None
    if frames.ndim not in (2, 3):
        raise BadInputError(f"{path}: shape {frames.shape}, expected [frame, y, x]")
    return frames if frames.ndim == 3 else frames[None]


def _puncta_of(path: Path, first_frame: int, n_frames: int, pixel_size_um: float | None) -> Localizations:
    """Return the puncta of the patch's frames, counted from its first; of our own table or ThunderSTORM's."""
    from dataclasses import replace

    from parfocal.puncta.detection import read_thunderstorm
    from parfocal.puncta.tables import read_results

    with path.open(encoding="utf-8") as opened:
        is_ours = "x_px" in opened.readline()
    if not is_ours and pixel_size_um is None:
        raise BadInputError(f"{path}: is a table of ThunderSTORM's, in nm; tell --pixel-size")
    puncta = read_results(path).localizations if is_ours else read_thunderstorm(path, pixel_size_um)
    puncta = puncta.take((puncta.frame >= first_frame) & (puncta.frame < first_frame + n_frames))
    return replace(puncta, frame=puncta.frame - first_frame)


def _class_of(told: str) -> tuple[str, int]:
    name, _, value = told.partition("=")
    if not (name and value.isdecimal()):
        raise BadInputError(f"--class {told}: expected NAME=VALUE, such as sparks=1")
    return name, int(value)
