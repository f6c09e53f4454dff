"""A training under way, in one file: safetensors whose header holds what is not a tensor as JSON.

One file, replaced as a whole, so that at any moment there is the last checkpoint or the one before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.learning._on_disk import read_bytes, write_bytes

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "parfocal-checkpoint"  # one key alone: safetensors writes several in no fixed order
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """All that the next step depends on.

    Attributes
    ----------
    step : int
        Steps done.
    bad_steps : int
        Of these, how many the last ones in succession were not finite.
    settings : mapping
        What must be the same for the training to go on as if it had not been interrupted.
    net, moments : mapping of str to tensor
        The network's weights, and the optimizer's state by parameter name and quantity.
    random : tensor
        State of the generator that the network itself draws from.
    loss : float64[step]
        Of each step.
    """

    step: int
    bad_steps: int
    settings: Mapping[str, Any]
    net: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    random: Tensor
    loss: np.ndarray[Any, np.dtype[np.float64]]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it, in place of the one before."""
    import torch
    from safetensors.torch import save

    tensors = {f"net.{name}": tensor for name, tensor in checkpoint.net.items()}
    tensors |= {f"moment.{name}": tensor for name, tensor in checkpoint.moments.items()}
    tensors |= {"random": checkpoint.random, "loss": torch.from_numpy(checkpoint.loss)}
    content = {
        "format": _FORMAT,
        "step": checkpoint.step,
        "bad_steps": checkpoint.bad_steps,
        "settings": dict(checkpoint.settings),
    }
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(stored, {_KEY: json.dumps(content)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read it.

    Raises
    ------
    BadInputError
        The file is not a checkpoint.
    """
    from parfocal.learning._weights import unpack

    content = read_bytes(path)
    tensors = unpack(content, where=str(path), as_float32=False)
    try:
        # A safetensors file begins with the length of its header, which `load` throws away.
        header: Any = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        said: Any = json.loads(header["__metadata__"][_KEY])
        if said["format"] != _FORMAT:
            raise BadInputError(f"{path}: checkpoint format {said['format']}; this version reads {_FORMAT}")
        return Checkpoint(
            step=said["step"],
            bad_steps=said["bad_steps"],
            settings=said["settings"],
            net={name[len("net.") :]: t for name, t in tensors.items() if name.startswith("net.")},
            moments={name[len("moment.") :]: t for name, t in tensors.items() if name.startswith("moment.")},
            random=tensors["random"],
            loss=tensors["loss"].numpy(),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(
            f"{path}: not a checkpoint of a training ({error}); delete it to begin anew"
        ) from error
