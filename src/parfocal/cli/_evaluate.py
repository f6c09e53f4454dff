"""`parfocal evaluate puncta`: figures beside the truth, gates in plain words, a picture."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parfocal import __version__
from parfocal.cli._catalog import DataOption
from parfocal.cli._segment import is_run
from parfocal.errors import BadInputError
from parfocal.files import write_atomically


class EvaluatedDetector(StrEnum):
    """What finds puncta."""

    classical = "classical"
    hybrid = "hybrid"
    network = "network"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    evaluate = typer.Typer(help="Results beside the truth, and what was asked for.", no_args_is_help=True)
    evaluate.callback()(lambda: None)  # or the one command would be the group
    evaluate.command("puncta")(puncta_command)
    app.add_typer(evaluate, name="evaluate")


def puncta_command(
    truth: Annotated[
        Path,
        typer.Argument(help="Sample folder (ground_truth.csv), ThunderSTORM CSV, or labels: frame,x_px,y_px."),
    ],
    found: Annotated[
        Path | None,
        typer.Argument(
            help="CSV of localizations, a folder of results, or a run. Default: detect in the sample now."
        ),
    ] = None,
    detector: Annotated[
        EvaluatedDetector, typer.Option("--detector", help="What detects now, where FOUND is left out.")
    ] = EvaluatedDetector.classical,
    model: Annotated[
        str,
        typer.Option(
            "--model", "--checkpoint", help="Of a network: a .safetensors file, a name, or a hash. Default: ours."
        ),
    ] = "",
    both_tasks: Annotated[
        bool, typer.Option("--both-tasks", "--evaluate_both_tasks", help="Calcium events too.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for evaluation.json and evaluation.png.")
    ] = None,
    tolerance_nm: Annotated[float, typer.Option("--tolerance-nm", help="How far apart a pair may be.")] = 250.0,
    pixel_size: Annotated[float | None, typer.Option("--pixel-size", help="um, where a table has none.")] = None,
    min_photons: Annotated[
        float, typer.Option("--min-photons", help="Dimmer true puncta are neither for nor against.")
    ] = 0.0,
    margin: Annotated[float, typer.Option("--margin", help="Pixels at the border that do not count.")] = 0.0,
    remove_wobble: Annotated[
        bool, typer.Option("--remove-wobble", help="Take a constant shift off first.")
    ] = False,
    isolated: Annotated[
        float, typer.Option("--isolated", help="For the bound: no other punctum within so many px.")
    ] = 0.0,
    max_step: Annotated[float, typer.Option("--max-step", help="um from frame to frame, for tracks.")] = 0.5,
    max_missing_frames: Annotated[int, typer.Option("--max-missing-frames", min=0)] = 2,
    image: Annotated[Path | None, typer.Option("--image", help="Movie to draw on, beside a table.")] = None,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge puncta, tracks and calcium beside the truth: figures, gates met or not, a picture."""
    from parfocal.cli._evaluate_source import find_here, found_in_run, read_found, read_truth
    from parfocal.puncta import PunctaTruth
    from parfocal.puncta.evaluation import evaluate_puncta
    from parfocal.puncta.tracking import TrackSettings, track_puncta

    judged = read_truth(truth.expanduser(), pixel_size, image)
    if both_tasks and not isinstance(judged.truth, PunctaTruth):
        raise BadInputError(f"{truth}: says nothing of calcium; leave out --both-tasks")
    settings = TrackSettings(max_step, max_missing_frames)
    size = pixel_size if pixel_size is not None else judged.truth.pixel_size_um[0]
    if found is None:
        # A model is a network's: who names one and no detector wants the best that it can do.
        by = "hybrid" if model and detector is EvaluatedDetector.classical else detector.value
        got = find_here(judged, settings, both_tasks, by, model)
    elif model or detector is not EvaluatedDetector.classical:
        raise BadInputError(f"{found}: was found already; --detector and --model detect in the sample now")
    elif is_run(str(found)):
        got = found_in_run(str(found), data, both_tasks)
    else:
        got = read_found(found.expanduser(), size, both_tasks)
        if both_tasks and got.events is None:
            raise BadInputError(f"{found}: --both-tasks needs a folder with trajectories.csv, calcium_events.csv")
    tracks = got.tracks
    if tracks is None and isinstance(judged.truth, PunctaTruth):
        tracks = track_puncta(got.localizations, settings)
    shape = None if judged.movie is None else (int(judged.movie.shape[1]), int(judged.movie.shape[2]))
    if margin > 0 and shape is None:
        raise BadInputError("--margin needs the size of the image: a sample folder, or --image")
    evaluation = evaluate_puncta(
        judged.truth,
        got.localizations,
        tracks=tracks,
        events=got.events,
        camera_model=judged.camera_model,
        shape_px=shape,
        n_frames=None if judged.movie is None else len(judged.movie),
        tolerance_um=tolerance_nm / 1e3,
        min_photons=min_photons,
        margin_px=margin,
        remove_wobble=remove_wobble,
        isolated_px=isolated,
    )
    extra: dict[str, float | None] = {"frames_per_s": None}
    if got.seconds is not None and judged.movie is not None:
        extra["frames_per_s"] = len(judged.movie) / max(got.seconds, 1e-9)
    verdicts = evaluation.verdicts(extra)
    document: dict[str, Any] = {
        "parfocal": __version__,
        "truth": judged.name,
        "found": got.name,
        "tolerance_nm": tolerance_nm,
        "figures": evaluation.figures() | extra,
        "gates": [
            {
                "figure": v.gate.figure,
                "group": v.gate.group,
                "unit": v.gate.unit,
                "value": v.value,
                "level": v.level,
                "met": v.is_met,
                "target": v.gate.target,
                "good": v.gate.good,
                "excellent": v.gate.excellent,
                "says": v.sentence,
            }
            for v in verdicts
        ],
    }
    written: list[Path] = []
    if output is not None:
        from parfocal.cli._evaluate_picture import draw_evaluation

        folder = output.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(folder / "evaluation.json") as temporary:
            temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        title = f"{got.name} beside {judged.name}"
        picture = draw_evaluation(
            folder / "evaluation.png", judged.truth, got.localizations, evaluation.matching, judged.movie, title
        )
        written = [folder / "evaluation.json", picture]
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    _say(document, [(v.level, v.sentence) for v in verdicts], written)


def _say(document: dict[str, Any], sentences: list[tuple[str, str]], written: list[Path]) -> None:
    console = Console(highlight=False)
    figures = document["figures"]
    console.print(
        f"{document['found']} beside {document['truth']}: {figures['n_matched']} matched, "
        f"{figures['n_missed']} missed, {figures['n_false']} false",
        markup=False,
    )
    table = Table(box=None, show_header=False)
    for level, sentence in sentences:
        if level != "not measured":
            mark = "[red]no [/]" if level == "missed" else "[green]yes[/]"
            table.add_row(mark, sentence)
    console.print(table)
    silent = [sentence.split(":")[0] for level, sentence in sentences if level == "not measured"]
    if silent:
        console.print(f"not measured: {', '.join(silent)}", style="dim", markup=False)
    for path in written:
        console.print(str(path), markup=False, soft_wrap=True)
