"""`parfocal train`: a network from nothing, on what is simulated."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from inspect import Signature, signature
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from parfocal.cli._train_adapter import adapter_command
from parfocal.cli._train_puncta import puncta_command_of

if TYPE_CHECKING:
    from parfocal.learning import ModelCard, TrainProgress
    from parfocal.segmentation.training import TrainRecipe

_SHOWN_STEPS = 20


class TrainKind(StrEnum):
    """Which network."""

    nuclei3d = "nuclei3d"
    nuclei2d = "nuclei2d"
    denoise2d = "denoise2d"


class RecipeSize(StrEnum):
    """How long, and how large."""

    small = "small"
    shipped = "shipped"
    further = "further"


class TrainOutline(StrEnum):
    """What labels say of a nucleus."""

    drawn = "drawn"
    seen = "seen"
    true = "true"


class TrainDevice(StrEnum):
    """Where."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def train_command(
    kind: Annotated[TrainKind, typer.Argument(help="Which network.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Weights to write, .safetensors. Default: KIND.safetensors here.")
    ] = None,
    recipe: Annotated[
        RecipeSize,
        typer.Option(
            "--recipe", help="small: minutes on a CPU, half an hour at most; shipped: as in the package."
        ),
    ] = RecipeSize.small,
    steps: Annotated[int | None, typer.Option("--steps", help="Other than the recipe's.")] = None,
    device: Annotated[TrainDevice, typer.Option("--device", help="auto takes CUDA where there is one.")] = (
        TrainDevice.auto
    ),
    seed: Annotated[int | None, typer.Option("--seed", help="Other than the recipe's.")] = None,
    outline: Annotated[
        TrainOutline | None,
        typer.Option(
            "--outline", help="What labels say: as drawn plane by plane (default), as seen, or as it is."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
    start: Annotated[
        Path | None, typer.Option("--from", help="Weights to begin with. Default: fresh ones.")
    ] = None,
    segmenter: Annotated[
        Path | None, typer.Option("--segmenter", help="For denoise2d: 2D weights that look on. Default: shipped.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of the CPU. Default: all.")] = None,
    held_out: Annotated[
        int, typer.Option("--held-out", min=0, help="Images of each held-out set to score at the end.")
    ] = 24,
    score: Annotated[
        Path | None, typer.Option("--score", help="Train nothing: score these weights (or `shipped`) on held-out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card, or the scores, as JSON.")] = False,
) -> None:
    """Train a network on simulated nuclei; write weights and card. Interrupted, `--resume` goes on."""
    from parfocal.segmentation.training import train_nuclei, train_recipe  # numba and torch are slow to import

    if threads is not None:
        _use_threads(threads)
    if score is not None:
        _score(kind, score, held_out, as_json)
        return
    told = train_recipe(
        kind.value, recipe.value, steps=steps, seed=seed, outline=outline.value if outline else None
    )
    target = out or Path(f"{kind.value}.safetensors")
    console = Console(stderr=True, highlight=False)
    began_s = time.monotonic()
    try:
        with _Watch(console, told) as watch:
            card = train_nuclei(
                told, target, device=device.value, resume=resume, start=start, segmenter=segmenter,
                held_out_images=held_out, version=recipe.value, on_progress=watch.hear,
            )  # fmt: skip
    except KeyboardInterrupt:
        kept = any(target.absolute().parent.glob(f"{target.stem}.*.checkpoint"))
        how = "the same command with --resume goes on" if kept else "nothing is kept yet: that is every 50 steps"
        console.print(how, markup=False, soft_wrap=True)
        raise
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(card), default=dict) + "\n")
    else:
        _say_what_came(Console(highlight=False), card, target, time.monotonic() - began_s)


class _Watch:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console, recipe: TrainRecipe) -> None:
        self._console, self._recipe, self._is_first = console, recipe, True
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(recipe.kind, total=recipe.steps)

    def __enter__(self) -> _Watch:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _stage_at(self, step: int) -> str:
        for stage in self._recipe.stages:
            if step <= stage.steps:
                return stage.name
            step -= stage.steps
        return ""

    def hear(self, progress: TrainProgress) -> None:
        stage = self._stage_at(progress.step)
        if self._is_first and progress.step > 1:
            self._console.print(f"goes on after step {progress.step - 1} of {progress.steps}")
        self._is_first = False
        self._bar.update(
            self._task,
            completed=progress.step,
            description=f"{self._recipe.kind} {stage} loss {progress.loss:.3f}",
        )
        if not self._console.is_terminal and (
            progress.step % _SHOWN_STEPS == 0 or progress.step == progress.steps
        ):
            terms = " ".join(f"{name} {value:.3f}" for name, value in progress.terms.items())
            self._console.print(
                f"step {progress.step}/{progress.steps} {stage} loss {progress.loss:.3f} ({terms})"
                f" {progress.elapsed_s:.0f} s"
            )


def _say_what_came(console: Console, card: ModelCard, target: Path, elapsed_s: float) -> None:
    console.print(
        f"{target}  {card.weights_sha256[:12]}  {target.stat().st_size / 1e6:.1f} MB  {elapsed_s:.0f} s, "
        f"{time.process_time():.0f} s of CPU"
    )
    for name, value in card.metrics.items():
        console.print(f"  {name:<28} {value:.3f}")


def _score(kind: TrainKind, weights: Path, n: int, as_json: bool) -> None:
    """Print what weights score on each scene of the held-out sets."""
    from parfocal.segmentation.training import grouped_scores, score_weights

    scores = score_weights(kind.value, None if weights == Path("shipped") else weights, n)
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(score) for score in scores]) + "\n")
        return
    table = Table("set", "scene", "images", "nuclei", "AP@0.5", "AP@0.75", "found", box=None)
    for (name, scene), group in grouped_scores(scores).items():
        table.add_row(
            name, scene, str(len(group)), str(sum(s.n_true for s in group)), f"{fmean(s.ap50 for s in group):.3f}",
            f"{fmean(s.ap75 for s in group):.3f}", str(sum(s.n_found for s in group)),
        )  # fmt: skip
    Console(highlight=False).print(table)


def _use_threads(n: int) -> None:
    from parfocal.learning import need_torch

    need_torch("training a network")
    import torch

    torch.set_num_threads(n)


def _command_of(kind: TrainKind) -> Callable[..., None]:
    """Return `train_command` for one kind: its options, without the argument."""

    def command(**options: Any) -> None:
        train_command(kind, **options)

    parameters = [p for p in signature(train_command, eval_str=True).parameters.values() if p.name != "kind"]
    vars(command)["__signature__"] = Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = train_command.__doc__
    return command


def add_commands(app: typer.Typer) -> None:
    """Add `train`."""
    train = typer.Typer(
        help="Train a network: on simulated nuclei or puncta, or on corrections.", no_args_is_help=True
    )
    for kind in TrainKind:
        train.command(kind.value)(_command_of(kind))
    train.command("adapter")(adapter_command)
    for puncta in ("puncta", "puncta-calcium"):
        train.command(puncta)(puncta_command_of(puncta))
    app.add_typer(train, name="train")
