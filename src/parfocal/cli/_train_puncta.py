"""`parfocal train puncta` and `puncta-calcium`: a network that tells puncta apart where they are crowded."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from inspect import Signature, signature
from pathlib import Path
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

from parfocal.errors import BadInputError

if TYPE_CHECKING:
    from parfocal.learning import ModelCard, TrainProgress
    from parfocal.puncta.networks import PatchScore, PunctaTraining

_SHOWN_STEPS = 50


class PunctaRecipe(StrEnum):
    """How long, and how large."""

    small = "small"
    shipped = "shipped"
    smoke = "smoke"


class PunctaDevice(StrEnum):
    """Where."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def puncta_command(
    kind: str,
    out: Annotated[
        Path | None,
        typer.Option("--out", "--output", help="Weights to write. Default: KIND.safetensors here."),
    ] = None,
    recipe: Annotated[
        PunctaRecipe,
        typer.Option(
            "--recipe", help="small: below half an hour on a CPU; shipped: as in the package; smoke: a try."
        ),
    ] = PunctaRecipe.small,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML of model, data, training, loss, patches, instead of a recipe."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            "--num-iterations",
            "--num_iterations",
            help="In all. Default: the recipe's.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--learning-rate", "--learning_rate", help="Of the first stage; others keep their ratio."),
    ] = None,
    device: Annotated[PunctaDevice, typer.Option("--device", help="auto takes CUDA where there is one.")] = (
        PunctaDevice.auto
    ),
    gpu: Annotated[
        int | None, typer.Option("--gpu", min=0, help="Which CUDA device; the same as --device cuda.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Other than the recipe's.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "--batch_size", min=1, help="Patches a step.", show_default=False)
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Networks to train, each with a seed of its own: an ensemble.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
    start: Annotated[
        Path | None, typer.Option("--from", "--checkpoint", help="Weights to begin with. Default: fresh ones.")
    ] = None,
    finetune: Annotated[
        Path | None,
        typer.Option(
            "--finetune-data",
            "--finetune_data",
            help="Samples that were looked at, for the last stage alone.",
        ),
    ] = None,
    logs: Annotated[Path | None, typer.Option("--logs", help="Folder for TensorBoard. Default: none.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of the CPU. Default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the cards as JSON.")] = False,
) -> None:
    """Train a network for puncta; write weights and card. Interrupted, `--resume` goes on."""
    from parfocal.learning import need_torch
    from parfocal.puncta.networks import begun_with, parts_of, puncta_recipe, train_puncta, training_from_yaml

    need_torch("training a network")
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    where = device
    if gpu is not None:
        where = PunctaDevice.cuda
        if not torch.cuda.is_available() or gpu >= torch.cuda.device_count():
            raise BadInputError(f"--gpu {gpu}: PyTorch finds {torch.cuda.device_count()} CUDA devices")
        torch.cuda.set_device(gpu)
    told = puncta_recipe(kind, recipe.value) if config is None else training_from_yaml(config, kind=kind)
    if start is not None and config is None:
        told = begun_with(told, str(start))
    elif start is not None:  # the file says which stages there are
        told = dataclasses.replace(told, pretrained_localization=str(start))
    told = _changed(told, kind, steps, rate, seed, finetune)
    if batch_size is not None:
        told = dataclasses.replace(told, batch_size=batch_size)
    target = out or Path(f"{kind}.safetensors")
    console = Console(stderr=True, highlight=False)
    if not as_json:
        sizes = ", ".join(f"{part} {n / 1e3:.1f} k" for part, n in parts_of(told.shape).items())
        crop = told.patches.crop_px
        console.print(
            f"{told.name}: {told.shape.n_channels} x 3 frames of {crop} x {crop} px in, "
            f"{told.shape.n_out} planes out; weights: {sizes}"
        )
    cards: list[ModelCard] = []
    for number in range(seeds):
        one = told if seeds == 1 else dataclasses.replace(told, seed=told.seed + number)
        path = target if seeds == 1 else target.with_stem(f"{target.stem}-{one.seed}")
        began_s = time.monotonic()
        with _Watch(console, one, path.stem) as watch:
            card = train_puncta(
                one, path, device=where.value, resume=resume, version=recipe.value,
                logs=None if logs is None else logs / path.stem, on_progress=watch.hear, on_score=watch.score,
            )  # fmt: skip
        cards.append(card)
        if not as_json:
            _say_what_came(Console(highlight=False), card, path, time.monotonic() - began_s)
    if as_json:
        said = [dataclasses.asdict(card) for card in cards]
        sys.stdout.write(json.dumps(said if seeds > 1 else said[0], default=dict) + "\n")


def _changed(
    told: PunctaTraining,
    kind: str,
    steps: int | None,
    rate: float | None,
    seed: int | None,
    finetune: Path | None,
) -> PunctaTraining:
    """Return a training with what the command line says otherwise."""
    from parfocal.puncta.networks import shared_out

    if (kind == "puncta-calcium") != bool(told.shape.calcium_widths):
        raise BadInputError(f"train {kind}: the config is of {told.name}; expected model in_channels "
                            f"{2 if kind == 'puncta-calcium' else 1}")  # fmt: skip
    changes: dict[str, Any] = {}
    stages = told.stages
    if finetune is not None:
        # What was looked at teaches all that the network says; what it knows it has from the weights begun with.
        changes["finetune_data"] = str(finetune)
        stages = (dataclasses.replace(stages[-1], rate=min(stages[-1].rate, 1e-4)),)
        changes["use_curriculum"] = False
    if steps is not None:
        stages = shared_out(stages, steps)
    if rate is not None:
        stages = tuple(dataclasses.replace(s, rate=s.rate * rate / stages[0].rate) for s in stages)
    if seed is not None:
        changes["seed"] = seed
    return dataclasses.replace(told, stages=stages, **changes)


class _Watch:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console, training: PunctaTraining, name: str) -> None:
        self._console, self._training, self._name = console, training, name
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(name, total=training.steps)

    def __enter__(self) -> _Watch:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def hear(self, progress: TrainProgress) -> None:
        self._bar.update(self._task, completed=progress.step, description=f"{self._name} loss {progress.loss:.3f}")
        if not self._console.is_terminal and (
            progress.step % _SHOWN_STEPS == 0 or progress.step == progress.steps
        ):
            terms = " ".join(f"{name} {value:.3f}" for name, value in progress.terms.items())
            self._console.print(
                f"step {progress.step}/{progress.steps} loss {progress.loss:.3f} ({terms})"
                f" {progress.elapsed_s:.0f} s"
            )

    def score(self, stage: str, step: int, level: int, score: PatchScore) -> None:
        said = f"{stage} step {step}, level {level}: precision {score.precision:.3f}, recall {score.recall:.3f}"
        said += f", {score.rmse_px:.3f} px, efficiency {score.efficiency:.1f}"
        if score.calcium_f1 == score.calcium_f1:
            said += f", calcium F1 {score.calcium_f1:.3f}, IoU {score.calcium_iou:.3f}"
        self._bar.console.print(said)


def _say_what_came(console: Console, card: ModelCard, target: Path, elapsed_s: float) -> None:
    console.print(
        f"{target}  {card.weights_sha256[:12]}  {target.stat().st_size / 1e6:.1f} MB  {elapsed_s:.0f} s, "
        f"{time.process_time():.0f} s of CPU"
    )
    for name, value in card.metrics.items():
        console.print(f"  {name:<28} {value:.3f}")


def puncta_command_of(kind: str) -> Callable[..., None]:
    """Return `puncta_command` for one kind: its options, without the argument."""

    def command(**options: Any) -> None:
        puncta_command(kind, **options)

    parameters = [p for p in signature(puncta_command, eval_str=True).parameters.values() if p.name != "kind"]
    vars(command)["__signature__"] = Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = puncta_command.__doc__
    return command
