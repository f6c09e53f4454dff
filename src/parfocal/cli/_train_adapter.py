"""`parfocal train adapter`: a network that learns from corrections, promoted if it proves better."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from parfocal.cli._catalog import DataOption, JsonOption, folder_of
from parfocal.cli._models import store_of

if TYPE_CHECKING:
    from parfocal.learning import TrainProgress
    from parfocal.segmentation.corrections import Readiness, Retrained

_SHOWN_STEPS = 20


class RetrainMethod(StrEnum):
    """What may change."""

    adapter = "adapter"
    full = "full"


class RetrainDevice(StrEnum):
    """Where."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def adapter_command(
    name: Annotated[str, typer.Option("--name", help="Model: nuclei2d, nuclei3d, or one imported.")] = "nuclei2d",
    method: Annotated[
        RetrainMethod, typer.Option("--method", help="adapter: a few per cent of the weights; full: all.")
    ] = RetrainMethod.adapter,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of training.")] = 150,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 2e-3,
    replay: Annotated[float, typer.Option("--replay", help="Share of simulated images in a batch.")] = 0.5,
    min_new: Annotated[int, typer.Option("--min-new", min=1, help="New corrections that make it due.")] = 20,
    force: Annotated[bool, typer.Option("--force", help="Retrain though it is not due.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whether it is due, and end.")] = False,
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Promote what passes the gate.")] = True,
    device: Annotated[RetrainDevice, typer.Option("--device", help="auto takes CUDA where there is one.")] = (
        RetrainDevice.auto
    ),
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="Dask scheduler, tcp://...")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of adapters and patches.")] = 0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach a model the corrections of the journal; it is promoted if held-out ones say that it is better."""
    from parfocal.learning import cluster_client
    from parfocal.segmentation.corrections import CorrectionJournal, RetrainSettings, readiness, retrain

    store = store_of(data)
    journal = CorrectionJournal(folder_of(data).corrections)
    ready = readiness(journal, store, name, min_new)
    console = Console(stderr=True, highlight=False)
    if dry_run or not (ready.due or force):
        _say_ready(ready, as_json, dry_run)
        return
    settings = RetrainSettings(
        method=method.value, steps=steps, rate=rate, replay=replay, min_new=min_new, seed=seed
    )
    cluster = nullcontext() if scheduler is None else cluster_client(scheduler)
    with cluster as client, _Bar(console, name, steps) as bar:
        done = retrain(
            journal, store, name, settings, device=device.value, client=client, promote=promote,
            on_progress=bar.hear, on_step=bar.stage,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(as_document(done, ready), ensure_ascii=False))
    else:
        _say_what_came(Console(highlight=False), done)


def as_document(done: Retrained, ready: Readiness) -> dict[str, Any]:
    """Return what came of a retraining, for JSON."""
    return {
        "due": ready.due,
        "n_new": ready.n_new,
        "n_corrections": ready.n_all,
        "name": done.model.name,
        "version": done.model.version,
        "weights_sha256": done.model.weights_sha256,
        "parent": done.model.card.parent,
        "promoted": done.promoted,
        "gate": dataclasses.asdict(done.gate),
    }


def _say_ready(ready: Readiness, as_json: bool, dry_run: bool) -> None:
    if as_json:
        document = {"due": ready.due, "n_new": ready.n_new, "n_corrections": ready.n_all, "reason": ready.reason}
        typer.echo(json.dumps(document))
        return
    verdict = "due" if ready.due else "not due"
    way = "" if ready.due or dry_run else "; --force retrains all the same"
    typer.echo(f"{verdict}: {ready.reason}{way}")


def _say_what_came(console: Console, done: Retrained) -> None:
    found, model = done.gate, done.model
    console.print(f"{model.name}@{model.version} {model.weights_sha256[:12]}", markup=False)
    console.print(
        f"  held-out corrections  AP {found.corrections_before:.3f} -> {found.corrections_after:.3f}"
        f"  ({found.n_corrections} of them)"
    )
    console.print(f"  simulated images      AP {found.simulated_before:.3f} -> {found.simulated_after:.3f}")
    if done.promoted:
        console.print(f"promoted: {found.reason}", markup=False)
    elif found.passed:
        console.print(
            f"a candidate, as you said; `parfocal models promote {model.name} {model.version}`", markup=False
        )
    else:
        console.print(f"kept as a candidate, not promoted: {found.reason}", markup=False)


class _Bar:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console, name: str, steps: int) -> None:
        self._console, self._name = console, name
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(name, total=steps)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, what: str) -> None:
        self._bar.update(self._task, description=f"{self._name}: {what}")
        if not self._console.is_terminal:
            self._console.print(what)

    def hear(self, progress: TrainProgress) -> None:
        description = f"{self._name}: training, loss {progress.loss:.3f}"
        self._bar.update(self._task, completed=progress.step, description=description)
        if not self._console.is_terminal and progress.step % _SHOWN_STEPS == 0:
            self._console.print(f"step {progress.step}/{progress.steps} loss {progress.loss:.3f}")
