"""The training loop: everything that the next step depends on can be put down and taken up again."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.learning._checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from parfocal.learning._need_torch import need_torch
from parfocal.learning._train_settings import Batches, Loss, TrainLog, TrainProgress, TrainSettings
from parfocal.learning._weights import load_into

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Array = np.ndarray[Any, Any]

_FREE_TO_CHANGE = ("device", "mixed", "prefetch", "checkpoint_every_steps")
"""Settings that may differ after a resume: they do not change what a step computes, but for its last digits."""


def train(
    net: nn.Module,
    batches: Batches,
    loss: Loss,
    settings: TrainSettings,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    on_progress: Callable[[TrainProgress], object] | None = None,
) -> TrainLog:
    """Train a network in place; where `checkpoint` exists, go on from it.

    A training that was killed and taken up again ends with the same weights, bit for bit, as one that was
    not (on the CPU, with one number of threads). Only parameters with `requires_grad` are changed.

    Parameters
    ----------
    net : torch.nn.Module
        Its weights are changed; it comes back on its own device, in evaluation mode.
    batches : callable
        From the step's number (from 0) to the step's arrays: the input, then what `loss` is told. It is
        called in threads where `settings.prefetch` is not 0.
    loss : callable
        `loss(output, *further arrays as tensors)`: a scalar, or a mapping of named scalars that are summed.
    settings : TrainSettings
        See there.
    checkpoint : path, optional
        Written every so many steps, as a whole or not at all.
    on_progress : callable, optional
        Called after each step with a :class:`TrainProgress`.

    Returns
    -------
    TrainLog
        The loss of each step.

    Raises
    ------
    BadInputError
        PyTorch or the device is missing, the checkpoint is of another training, there is nothing to train,
        or the loss is not finite time and again; the message says at which step.
    """
    need_torch("training")
    import torch

    device = device_of(settings.device)
    home = next(net.parameters()).device
    path = None if checkpoint is None else Path(checkpoint)
    began_s = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net.to(device).train()
        try:
            loop = Loop(net, loss, settings, device)
            if path is not None and path.exists():
                loop.restore(read_checkpoint(path), where=str(path))
            resumed_at = loop.step
            for step, arrays in _ahead(batches, resumed_at, settings):
                told = loop.advance(step, arrays, began_s)
                if path is not None and (
                    loop.step == settings.steps or loop.step % settings.checkpoint_every_steps == 0
                ):
                    write_checkpoint(path, loop.checkpoint())
                if on_progress is not None:
                    on_progress(told)
        finally:
            net.to(home).eval()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    skipped = int(np.isnan(loop.losses).sum())
    return TrainLog(np.array(loop.losses), resumed_at, skipped, name, time.monotonic() - began_s)


class Loop:
    """A network and all that changes with it from step to step; it can be put down and taken up again."""

    def __init__(self, net: nn.Module, loss: Loss, settings: TrainSettings, device: torch.device) -> None:
        import torch

        self._net, self._loss, self._settings, self._device = net, loss, settings, device
        self._named = {name: p for name, p in net.named_parameters() if p.requires_grad}
        if not self._named:
            raise BadInputError("training: the network has no parameter that may change")
        decayed = [p for p in self._named.values() if p.ndim > 1]
        plain = [p for p in self._named.values() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.rate)
        self.step = 0
        self._bad_steps = 0
        self.losses: list[float] = []

    def advance(self, step: int, arrays: Sequence[Array], began_s: float) -> TrainProgress:
        """Take a step."""
        import torch

        rate = self._settings.rate_at(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        tensors = [_as_tensor(a).to(self._device) for a in arrays]
        before = [buffer.clone() for buffer in self._net.buffers()]
        mixed = self._settings.mixed and self._device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if mixed else nullcontext():
            output = self._net(tensors[0])
        terms, total = _summed(self._loss(output.float(), *tensors[1:]))
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # pyright: ignore[reportUnknownMemberType]
        grad_norm = float(torch.nn.utils.clip_grad_norm_(list(self._named.values()), self._settings.max_grad_norm))
        value = float(total.detach())
        if math.isfinite(value) and math.isfinite(grad_norm):
            self._optimizer.step()
            self._bad_steps = 0
        else:
            value = math.nan
            self._bad_steps += 1
            with torch.no_grad():  # running means have already seen the batch
                for buffer, kept in zip(self._net.buffers(), before, strict=True):
                    buffer.copy_(kept)
        self.step = step + 1
        self.losses.append(value)
        if self._bad_steps >= self._settings.max_bad_steps:
            raise BadInputError(
                f"training: the loss or its gradient was not finite {self._bad_steps} times in succession, up to"
                f" step {self.step}; try a lower rate than {self._settings.rate:g}, and look at the batches"
            )
        elapsed_s = time.monotonic() - began_s
        return TrainProgress(self.step, self._settings.steps, value, terms, rate, grad_norm, elapsed_s)

    def checkpoint(self) -> Checkpoint:
        """Put everything down; the tensors are those that go on changing."""
        import torch

        moments: dict[str, Tensor] = {}
        for name, parameter in self._named.items():
            for quantity, tensor in self._optimizer.state[parameter].items():
                moments[f"{quantity}:{name}"] = tensor
        return Checkpoint(
            step=self.step,
            bad_steps=self._bad_steps,
            settings=_fixed(self._settings),
            net=self._net.state_dict(),
            moments=moments,
            random=torch.get_rng_state(),
            loss=np.array(self.losses),
        )

    def restore(self, found: Checkpoint, *, where: str) -> None:
        """Take everything up again.

        Raises
        ------
        BadInputError
            It is of other settings or of another network.
        """
        import torch

        wanted = _fixed(self._settings)
        if other := [name for name, value in wanted.items() if found.settings.get(name) != value]:
            name = other[0]
            raise BadInputError(
                f"{where}: was begun with {name} {found.settings.get(name)!r}, not {wanted[name]!r};"
                " delete it to begin anew"
            )
        load_into(self._net, found.net, where=where)
        for key, tensor in found.moments.items():
            quantity, name = key.split(":", 1)
            if name not in self._named:
                raise BadInputError(
                    f"{where}: {name} was trained, and may not change now; delete it to begin anew"
                )
            # AdamW counts its steps on the CPU.
            at = tensor if quantity == "step" else tensor.to(self._device)
            self._optimizer.state[self._named[name]][quantity] = at
        torch.set_rng_state(found.random)
        self.step, self._bad_steps, self.losses = found.step, found.bad_steps, found.loss.tolist()


def _ahead(batches: Batches, first: int, settings: TrainSettings) -> Iterator[tuple[int, Sequence[Array]]]:
    """Yield the steps that are left with their batches, some of which are being made meanwhile."""
    if settings.prefetch == 0:
        for step in range(first, settings.steps):
            yield step, batches(step)
        return
    with ThreadPoolExecutor(settings.prefetch, thread_name_prefix="batches") as pool:
        waiting: dict[int, Future[Sequence[Array]]] = {}
        try:
            for step in range(first, settings.steps):
                for wanted in range(step, min(step + settings.prefetch + 1, settings.steps)):
                    if wanted not in waiting:
                        waiting[wanted] = pool.submit(batches, wanted)
                yield step, waiting[step].result()
                del waiting[step]
        finally:
            for future in waiting.values():
                future.cancel()


def _as_tensor(array: Array) -> Tensor:
    import torch

    kind = np.float32 if array.dtype.kind == "f" else array.dtype
    return torch.from_numpy(np.require(array, kind, ["C", "W"]))  # PyTorch warns of memory that is read-only


def _summed(said: Tensor | Mapping[str, Tensor]) -> tuple[dict[str, float], Tensor]:
    import torch

    if not isinstance(said, Mapping):
        return {}, said
    total = torch.stack(list(said.values())).sum()
    return {name: float(term.detach()) for name, term in said.items()}, total


def _fixed(settings: TrainSettings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name not in _FREE_TO_CHANGE}


def device_of(name: str) -> torch.device:
    """Return the device of a name.

    Raises
    ------
    BadInputError
        It is CUDA, and there is none.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise BadInputError("training: device cuda, and PyTorch finds none; expected cpu or auto")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
