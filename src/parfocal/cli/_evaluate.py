"""`parfocal evaluate puncta`: figures beside the truth, gates in plain words, a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parfocal.cli._catalog import DataOption
from parfocal.cli._progress import progress
from parfocal.cli._segment import is_run
from parfocal.errors import BadInputError

if TYPE_CHECKING:
    from parfocal.cli._evaluate_source import Found, Judged
    from parfocal.cli._evaluate_tell import Judgement
    from parfocal.puncta.evaluation import PunctaEvaluation
    from parfocal.puncta.tracking import TrackSettings


_N_PICTURES = 5


class EvaluatedDetector(StrEnum):
    """What finds puncta."""

    classical = "classical"
    hybrid = "hybrid"
    network = "network"


class GateTable(StrEnum):
    """What figures are laid beside, by the names of `parfocal.puncta.evaluation.GATE_TABLES`."""

    general = "general"
    training = "training"
    hybrid = "hybrid"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    evaluate = typer.Typer(help="Results beside the truth, and what was asked for.", no_args_is_help=True)
    evaluate.callback()(lambda: None)  # or the one command would be the group
    evaluate.command("puncta")(puncta_command)
    app.add_typer(evaluate, name="evaluate")


def puncta_command(
    truth: Annotated[
        Path,
        typer.Argument(
            help="Sample folder, folder of samples, ThunderSTORM CSV, or labels made by hand: frame,x_px,y_px."
        ),
    ],
    found: Annotated[
        Path | None,
        typer.Argument(
            help="CSV of localizations, a folder of results (of samples: one each), or a run. Default: detect now."
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
    gates: Annotated[
        GateTable,
        typer.Option(
            "--gates", help="What is asked: in general, of a network in training, or of one for both tasks."
        ),
    ] = GateTable.general,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for evaluation.json and a picture, or pictures.")
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
    """Judge puncta, tracks and calcium beside the truth: figures, gates met or not, a picture.

    Of a folder of samples the figures are those of all together, with a row a sample beside.
    """
    from parfocal.cli._evaluate_source import check_found_of_samples, samples_in
    from parfocal.cli._evaluate_tell import document_of, say, write_evaluation
    from parfocal.puncta.evaluation import GATE_TABLES, pool_evaluations, worst_first
    from parfocal.puncta.tracking import TrackSettings

    asked = _Asked(
        TrackSettings(max_step, max_missing_frames), both_tasks, pixel_size, tolerance_nm / 1e3, min_photons,
        margin, remove_wobble, isolated,
    )  # fmt: skip
    source = truth.expanduser()
    samples = samples_in(source)
    if found is not None and (model or detector is not EvaluatedDetector.classical):
        raise BadInputError(f"{found}: was found already; --detector and --model detect in the sample now")
    if found is not None and samples:
        check_found_of_samples(found.expanduser(), source, samples)
    find = _finding(found, detector, model, data, asked, has_samples=bool(samples))
    each: list[tuple[str, PunctaEvaluation]] = []
    drawn: list[Judgement] = []
    name = ""
    with progress(as_json or not samples, "opening") as said:
        for number, path in enumerate(samples or [source], 1):
            said(f"{number} of {len(samples)}: {path.name}")
            one = _judge(path, image, find, asked)
            name = one.found.name
            each.append((one.judged.name, one.evaluation))
            if output is not None:
                # pixels are kept of those alone that will be drawn
                drawn.append(one)
                drawn = [drawn[k] for k in worst_first([kept.evaluation for kept in drawn])][:_N_PICTURES]
    pooled = pool_evaluations([evaluation for _, evaluation in each]) if samples else each[0][1]
    if samples and found is not None:
        name = found.name
    verdicts = pooled.verdicts(gates=GATE_TABLES[gates.value])
    document = document_of(source.name, name, pooled, verdicts, gates.value, each if samples else None)
    written = [] if output is None else write_evaluation(output.expanduser(), document, drawn)
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    say(document, verdicts, written)


@dataclass(frozen=True)
class _Asked:
    tracks: TrackSettings
    both_tasks: bool
    pixel_size_um: float | None
    tolerance_um: float
    min_photons: float
    margin_px: float
    remove_wobble: bool
    isolated_px: float


def _finding(
    found: Path | None,
    detector: EvaluatedDetector,
    model: str,
    data: Path | None,
    asked: _Asked,
    *,
    has_samples: bool,
) -> Callable[[Judged], Found]:
    """Return what says, of a recording whose truth is known, what was found there."""
    from parfocal.cli._evaluate_finder import find_here, finder_of
    from parfocal.cli._evaluate_source import found_in_run, read_found

    if found is None:
        # A model is a network's: who names one and no detector wants the best that it can do.
        by = "hybrid" if model and detector is EvaluatedDetector.classical else detector.value
        finder = finder_of(by, model)
        return lambda judged: find_here(judged, finder, asked.tracks, asked.both_tasks)
    if not has_samples and is_run(str(found)):
        return lambda _: found_in_run(str(found), data, asked.both_tasks)

    def read(judged: Judged) -> Found:
        size = asked.pixel_size_um if asked.pixel_size_um is not None else judged.truth.pixel_size_um[0]
        path = found.expanduser() / judged.name if has_samples else found.expanduser()
        got = read_found(path, size, asked.both_tasks)
        if asked.both_tasks and got.events is None:
            raise BadInputError(f"{found}: --both-tasks needs a folder with trajectories.csv, calcium_events.csv")
        return got

    return read


def _judge(path: Path, image: Path | None, find: Callable[[Judged], Found], asked: _Asked) -> Judgement:
    """Lay what is found beside one truth."""
    from parfocal.cli._evaluate_source import read_truth
    from parfocal.cli._evaluate_tell import Judgement
    from parfocal.puncta import PunctaTruth
    from parfocal.puncta.evaluation import evaluate_puncta
    from parfocal.puncta.tracking import track_puncta

    judged = read_truth(path, asked.pixel_size_um, image)
    if asked.both_tasks and not isinstance(judged.truth, PunctaTruth):
        raise BadInputError(f"{path}: says nothing of calcium; leave out --both-tasks")
    shape = None if judged.movie is None else (int(judged.movie.shape[1]), int(judged.movie.shape[2]))
    if asked.margin_px > 0 and shape is None:
        raise BadInputError("--margin needs the size of the image: a sample folder, or --image")
    got = find(judged)
    tracks = got.tracks
    if tracks is None and isinstance(judged.truth, PunctaTruth):
        tracks = track_puncta(got.localizations, asked.tracks)
    evaluation = evaluate_puncta(
        judged.truth,
        got.localizations,
        tracks=tracks,
        events=got.events,
        camera_model=judged.camera_model,
        shape_px=shape,
        n_frames=None if judged.movie is None else len(judged.movie),
        tolerance_um=asked.tolerance_um,
        min_photons=asked.min_photons,
        margin_px=asked.margin_px,
        remove_wobble=asked.remove_wobble,
        isolated_px=asked.isolated_px,
        seconds=got.seconds,
    )
    return Judgement(judged, got, evaluation)
