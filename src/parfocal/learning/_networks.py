"""Networks from what a card says of them, and other people's files of weights."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from parfocal.errors import BadInputError
from parfocal.learning._build import build_unet
from parfocal.learning._need_torch import need_torch
from parfocal.learning._shape import UNetShape

if TYPE_CHECKING:
    from torch import Tensor, nn

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_CELLPOSE_BLOCK = re.compile(r"downsample\.down\.res_down_(\d+)\.conv\.conv_0\.2\.weight")


def build_network(architecture: Mapping[str, Any]) -> nn.Module:
    """Return the network of a card, with fresh weights.

    Parameters
    ----------
    architecture : mapping
        `kind` is `unet` (:class:`UNetShape`) or `cpnet`, Cellpose 3's network (`nbase`, `n_out`, `kernel_px`,
        `is_3d`).

    Raises
    ------
    BadInputError
        The kind is unknown, or its library is not installed.
    """
    need_torch("a network")
    kind = architecture.get("kind")
    if kind == "unet":
        return build_unet(UNetShape.from_architecture(architecture))
    if kind != "cpnet":
        raise BadInputError(f"architecture: no network of kind {kind!r} can be built; expected unet or cpnet")
    try:
        from cellpose.resnet_torch import CPnet
    except ImportError as error:
        raise BadInputError(
            f"a Cellpose network needs Cellpose 3 ({error}): pip install 'parfocal[cellpose]'"
        ) from error
    try:
        return CPnet(
            list(architecture["nbase"]),
            int(architecture["n_out"]),
            int(architecture["kernel_px"]),
            conv_3D=bool(architecture["is_3d"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"architecture of a Cellpose network: {error!r}") from error


def read_pth(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a `.pth` of PyTorch: tensors alone, nothing in it is run.

    Parameters
    ----------
    path : str or path
        What `torch.save(net.state_dict(), path)` wrote, whatever its suffix (Cellpose's have none), or a
        checkpoint that holds such a mapping as `state_dict`, `model_state_dict` or `model`.

    Returns
    -------
    state_dict : dict of str to tensor
        On the CPU, floats as float32; a `module.` before all names is taken off.
    architecture : dict
        What its names and shapes say: of kind `unet`, `cpnet` or `unknown`.

    Raises
    ------
    BadInputError
        The file is missing, holds more than tensors, or no tensors.
    """
    need_torch("reading a .pth")
    import torch

    source = Path(path)
    if not source.is_file():
        raise BadInputError(f"{source}: there is no such file")
    try:
        with warnings.catch_warnings():  # of pickle's protocols: what it cannot read is an error anyway
            warnings.simplefilter("ignore", UserWarning)
            content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInputError(
            f"{source}: holds more than weights, and is not run; save its state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        said = str(error).split("\n")[0]
        raise BadInputError(f"{source}: not a PyTorch file of weights: {said}") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    state = _tensors(content)
    if not state:
        raise BadInputError(f"{source}: holds no mapping of names to tensors; save a state_dict()")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state, architecture_of(state)


def architecture_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what network the names and shapes of weights are of: kind `unet`, `cpnet` or `unknown`."""
    blocks = {int(m[1]): t for name, t in state.items() if (m := _CELLPOSE_BLOCK.fullmatch(name))}
    if blocks and "output.2.weight" in state:
        levels = [blocks[level] for level in sorted(blocks)]
        return {
            "kind": "cpnet",
            "nbase": [int(levels[0].shape[1]), *(int(t.shape[0]) for t in levels)],
            "n_out": int(state["output.2.weight"].shape[0]),
            "kernel_px": int(levels[0].shape[2]),
            "is_3d": levels[0].ndim == 5,
        }
    widths: list[int] = []
    while (name := f"down.{len(widths)}.conv1.weight") in state:
        widths.append(int(state[name].shape[0]))
    head = state.get("head.weight")
    if widths and head is not None and head.ndim in (4, 5):
        shape = UNetShape(
            dims=3 if head.ndim == 5 else 2,
            n_in=int(state["down.0.conv1.weight"].shape[1]),
            n_out=int(head.shape[0]),
            widths=tuple(widths),
            norm=_norm_of(state),
        )
        return shape.as_architecture()
    return {"kind": "unknown"}


def _norm_of(state: Mapping[str, Tensor]) -> Literal["group", "batch", "none"]:
    if "down.0.norm1.weight" not in state:
        return "none"
    return "batch" if "down.0.norm1.running_mean" in state else "group"


def _tensors(content: object) -> dict[str, Tensor]:
    import torch

    if not isinstance(content, Mapping):
        return {}
    found = cast("Mapping[Any, Any]", content)
    return {
        str(name): value.float() if value.is_floating_point() else value
        for name, value in found.items()
        if isinstance(value, torch.Tensor)
    }
