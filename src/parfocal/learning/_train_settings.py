"""How a network is trained, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from parfocal.errors import BadInputError

if TYPE_CHECKING:
    from torch import Tensor

Batches = Callable[[int], Sequence[np.ndarray[Any, Any]]]
"""From a step's number (from 0) to its arrays: the network's input first, then what the loss is told.

The number alone decides (seed a generator with it), so that training goes on after a crash as if nothing
had happened.
"""

Loss = Callable[..., "Tensor | Mapping[str, Tensor]"]
"""From the network's output and the batch's further arrays, as tensors, to a scalar, or to named ones, summed."""


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained: AdamW, a linear warm-up, then a cosine.

    Parameters
    ----------
    steps : int
        Updates in all, those before a resume included.
    rate : float
        Learning rate at its highest.
    weight_decay : float
        Of weights with more than one axis; biases and normalisation are not decayed.
    warm_up_steps : int
        Over which the rate rises from nearly nothing.
    end_fraction : float
        Of `rate`, at the last step.
    max_grad_norm : float
        Gradients longer than this are shortened to it.
    seed : int
        Of what is random in the network itself (drop-out); the batches have their own.
    device : {"auto", "cpu", "cuda"}
        `auto` takes CUDA where there is one. The CPU gives the same weights every time, for one number of
        threads; CUDA's sums are not in a fixed order, and its last digits vary.
    mixed : bool
        On CUDA, compute in bfloat16 where that is safe; weights stay float32.
    prefetch : int
        Batches that are made ahead, each in a thread of its own; 0 makes them when they are wanted.
    checkpoint_every_steps : int
        After how many steps (and at the end) the checkpoint is written.
    max_bad_steps : int
        So many steps in succession with a loss or gradient that is not finite end the training; fewer are skipped.
    """

    steps: int
    rate: float = 2e-3
    weight_decay: float = 1e-4
    warm_up_steps: int = 30
    end_fraction: float = 0.03
    max_grad_norm: float = 1.0
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mixed: bool = False
    prefetch: int = 0
    checkpoint_every_steps: int = 50
    max_bad_steps: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every_steps", "max_bad_steps"):
            if getattr(self, name) < 1:
                raise BadInputError(f"training: {name} is {getattr(self, name)!r}; expected at least 1")
        for name in ("warm_up_steps", "prefetch", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise BadInputError(f"training: {name} is {getattr(self, name)!r}; expected 0 or more")
        for name in ("rate", "max_grad_norm"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise BadInputError(f"training: {name} is {getattr(self, name)!r}; expected a positive number")
        if not 0 <= self.end_fraction <= 1:
            raise BadInputError(f"training: end_fraction is {self.end_fraction!r}; expected 0 to 1")
        if self.device not in ("auto", "cpu", "cuda"):
            raise BadInputError(f"training: device is {self.device!r}; expected auto, cpu or cuda")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.rate * (step + 1) / (self.warm_up_steps + 1)
        done = (step - self.warm_up_steps) / max(1, self.steps - 1 - self.warm_up_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return self.rate * (self.end_fraction + (1 - self.end_fraction) * cosine)


@dataclass(frozen=True)
class TrainProgress:
    """Where training stands after a step.

    Attributes
    ----------
    step, steps : int
        Steps done, and in all.
    loss : float
        Of this step's batch; NaN where the step was skipped.
    terms : mapping of str to float
        What the loss is made of, where it says so.
    rate, grad_norm : float
        Learning rate, and the gradient's length before it was shortened.
    elapsed_s : float
        Since the training or its last resume began.
    """

    step: int
    steps: int
    loss: float
    terms: Mapping[str, float]
    rate: float
    grad_norm: float
    elapsed_s: float


@dataclass(frozen=True)
class TrainLog:
    """What came of a training.

    Attributes
    ----------
    loss : float64[step]
        NaN where a step was skipped. Of all steps, those before a resume included.
    resumed_at : int
        The step that this call began with; 0: from the beginning.
    skipped : int
        Steps that were left out since they were not finite.
    device : str
        `cpu`, or the name of the accelerator.
    elapsed_s : float
        Of this call.
    """

    loss: np.ndarray[Any, np.dtype[np.float64]] = field(repr=False)
    resumed_at: int
    skipped: int
    device: str
    elapsed_s: float
