"""Training on several workers: each takes some steps on its own share, then all meet at their mean."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.learning._checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from parfocal.learning._need_torch import need_torch
from parfocal.learning._train import Loop, device_of
from parfocal.learning._train_settings import Batches, Loss, TrainLog, TrainProgress, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


def train_on_workers(
    client: Any,
    net: nn.Module,
    shards: Sequence[Batches],
    loss: Loss,
    settings: TrainSettings,
    *,
    local_steps: int = 10,
    checkpoint: str | os.PathLike[str] | None = None,
    on_progress: Callable[[TrainProgress], object] | None = None,
) -> TrainLog:
    """Train a network in place on the workers of a Dask cluster, each share of the batches on one of them.

    In each round every share begins with the same weights and optimizer moments, takes `local_steps` steps of
    its own, and the means over the shares begin the next round. The shares are averaged in their order and a
    share's round depends on nothing but what it was handed: how many workers there are, and that one was lost
    and its round done again elsewhere, does not change the result.

    Parameters
    ----------
    client : distributed.Client
        Of any cluster; parfocal and PyTorch must be installed on its workers. Dask moves the network, the
        shares and `loss` there itself (cloudpickle, within the cluster).
    net : torch.nn.Module
        Its weights are changed; it comes back on the CPU, in evaluation mode.
    shards : sequence of callables
        Each as `batches` of :func:`train`. They are sent once, with what they hold.
    loss, settings
        As for :func:`train`; `settings.steps` are the steps of each share.
    local_steps : int
        Steps between two meetings: more are less traffic, fewer keep the shares together.
    checkpoint : path, optional
        Written after each round; where it exists, training goes on from it.
    on_progress : callable, optional
        Called after each round, with means over the shares.

    Returns
    -------
    TrainLog
        The mean loss of each step.

    Raises
    ------
    BadInputError
        There is no share, the checkpoint is of another training, or a share's loss is not finite time and again.

    References
    ----------
    McMahan et al., Communication-efficient learning of deep networks from decentralized data, AISTATS 2017;
    all shares take part in each round, and the moments are averaged as well.
    """
    need_torch("training")
    if not shards or local_steps < 1:
        raise BadInputError(
            f"training: {len(shards)} shares, {local_steps} local steps; expected at least 1 of each"
        )
    net.cpu()
    path = None if checkpoint is None else Path(checkpoint)
    began_s = time.monotonic()
    here = Loop(net, loss, settings, device_of("cpu"))
    if path is not None and path.exists():
        here.restore(read_checkpoint(path), where=str(path))
    resumed_at = here.step
    # Every worker gets everything, so that any of them can do the work of one that is lost.
    sent = client.scatter([net, loss, *shards], broadcast=True, hash=False)
    while here.step < settings.steps:
        until = min(here.step + local_steps, settings.steps)
        state = _copied(here.checkpoint())
        rounds = [client.submit(_local_steps, *sent[:2], s, settings, state, until, pure=False) for s in sent[2:]]
        ended: list[tuple[Checkpoint, TrainProgress]] = client.gather(rounds)
        here.restore(_mean([checkpoint for checkpoint, _ in ended]), where="the workers' mean")
        if path is not None:
            write_checkpoint(path, here.checkpoint())
        if on_progress is not None:
            told = [progress for _, progress in ended]
            mean = {name: float(np.mean([p.terms[name] for p in told])) for name in told[0].terms}
            grad_norm = float(np.mean([p.grad_norm for p in told]))
            elapsed_s = time.monotonic() - began_s
            on_progress(
                replace(told[0], loss=here.losses[-1], terms=mean, grad_norm=grad_norm, elapsed_s=elapsed_s)
            )
    net.eval()
    skipped = int(np.isnan(here.losses).sum())
    return TrainLog(np.array(here.losses), resumed_at, skipped, "workers", time.monotonic() - began_s)


def _local_steps(
    net: nn.Module, loss: Loss, batches: Batches, settings: TrainSettings, state: Checkpoint, until: int
) -> tuple[Checkpoint, TrainProgress]:
    """Take the steps of one share; runs on a worker."""
    import torch

    began_s = time.monotonic()
    own = copy.deepcopy(net)  # workers that are threads of one process were handed one and the same
    device = device_of(settings.device)
    own.to(device).train()
    with torch.random.fork_rng(devices=[]):
        loop = Loop(own, loss, settings, device)
        loop.restore(state, where="what the worker was handed")
        told = None
        for step in range(state.step, until):
            told = loop.advance(step, batches(step), began_s)
    assert told is not None  # noqa: S101 - a round has steps
    return _copied(loop.checkpoint()), told


def _mean(ended: Sequence[Checkpoint]) -> Checkpoint:
    """Return the mean of what the shares came to; what is not a float is the first one's."""
    with np.errstate(invalid="ignore"):
        losses = np.stack([e.loss for e in ended])
    finite = np.isfinite(losses)
    count = finite.sum(axis=0)
    loss = np.where(count > 0, np.where(finite, losses, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return replace(
        ended[0],
        bad_steps=max(e.bad_steps for e in ended),
        net=_mean_tensors([e.net for e in ended]),
        moments=_mean_tensors([e.moments for e in ended]),
        loss=loss,
    )


def _mean_tensors(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    import torch

    # A share all of whose first steps were skipped has no moments yet.
    names = list(dict.fromkeys(name for state in states for name in state))
    mean: dict[str, Tensor] = {}
    for name in names:
        found = [state[name] for state in states if name in state]
        mean[name] = torch.stack(found).mean(dim=0) if found[0].is_floating_point() else found[0]
    return mean


def _copied(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint of its own memory, on the CPU."""
    return replace(
        checkpoint,
        net={name: tensor.detach().cpu().clone() for name, tensor in checkpoint.net.items()},
        moments={name: tensor.detach().cpu().clone() for name, tensor in checkpoint.moments.items()},
    )
