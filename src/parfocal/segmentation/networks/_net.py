"""A network ready to be asked, and what it knows: how many axes, how large nuclei are."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parfocal.errors import BadInputError
from parfocal.learning import (
    ModelCard,
    UNetShape,
    build_unet,
    for_inference,
    load_into,
    load_weights,
    need_torch,
    save_weights,
)

KNOWN_DIAMETER_PX = 13.0
"""Diameter of the nuclei that our networks were taught on, where their card says nothing."""
_KNOWN_FACTORS = (0.5, 2.2)
"""Our networks are taught on nuclei of about this range of diameters, in units of the middle one."""


@dataclass(frozen=True)
class NucleiNet:
    """A network that says flow, foreground and boundary.

    Parameters
    ----------
    module : torch.nn.Module
        `(n, 1, [z,] y, x)` to `(n, dims + 2, [z,] y, x)`; in evaluation mode, on `device`.
    dims : int
        2 or 3.
    diameter_px : float
        Of the nuclei that it knows best. Images of nuclei beyond `known_px` are resampled to it.
    multiple_px : tuple of int
        What tiles' sides are made multiples of.
    device : str
        `cpu` or `cuda`.
    name : str
        For people.
    model_hash : str, optional
        SHA-256 of its weights.
    """

    module: Any
    dims: int
    diameter_px: float = KNOWN_DIAMETER_PX
    multiple_px: tuple[int, ...] = ()
    device: str = "cpu"
    name: str = ""
    model_hash: str | None = None

    @property
    def known_px(self) -> tuple[float, float]:
        """Smallest and largest diameter of the nuclei that it knows."""
        return _KNOWN_FACTORS[0] * self.diameter_px, _KNOWN_FACTORS[1] * self.diameter_px


def best_device() -> str:
    """Return `cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def as_net(
    module: Any, *, diameter_px: float = KNOWN_DIAMETER_PX, device: str | None = None, name: str = ""
) -> NucleiNet:
    """Return a network ready to be asked: a copy, made for that, on the device.

    Parameters
    ----------
    module : torch.nn.Module
        Built by `learning.build_unet`, so that its shape is known.
    device : str, optional
        cuda where there is one, else cpu.

    Raises
    ------
    BadInputError
        It does not say flow, foreground and boundary of one channel.
    """
    need_torch("a network")
    shape: Any = getattr(module, "shape", None)
    if not isinstance(shape, UNetShape) or shape.n_in != 1 or shape.n_out != shape.dims + 2:
        raise BadInputError(
            f"network {name or type(module).__name__}: its shape is {shape}, expected a U-Net of one channel in "
            "and flow, foreground and boundary out"
        )
    where = device or best_device()
    ready: Any = for_inference(module)
    ready = ready.to(where)
    return NucleiNet(ready, shape.dims, diameter_px, shape.multiple_px, where, name)


def shipped_folder() -> Path:
    """Return the folder of the weights that came with parfocal."""
    return Path(__file__).parents[1] / "weights"


def shipped_weights(name: str) -> Path:
    """Return the path of weights that came with parfocal.

    Raises
    ------
    BadInputError
        There are none of that name.
    """
    folder = shipped_folder()
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.safetensors"))) or "none"
        raise BadInputError(f"weights {name!r} did not come with parfocal: there are {there}")
    return path


def open_net(weights: str | os.PathLike[str], *, device: str | None = None) -> NucleiNet:
    """Return the network of a file of weights and its card.

    Parameters
    ----------
    weights : str or path
        `NAME.safetensors`, or the name of weights that came with parfocal (`nuclei2d`).
    device : str, optional
        cuda where there is one, else cpu.

    Raises
    ------
    BadInputError
        PyTorch is missing, there are no such weights, or they are not of a network that finds nuclei.
    """
    need_torch("a network")
    path = Path(weights)
    if path.suffix != ".safetensors":
        path = shipped_weights(str(weights))
    state, card = load_weights(path)
    shape = UNetShape.from_architecture(card.architecture)
    module = build_unet(shape)
    load_into(module, state, where=str(path))
    known = float(card.recipe.get("diameter_px", KNOWN_DIAMETER_PX))
    net = as_net(module, diameter_px=known, device=device, name=card.name)
    return NucleiNet(net.module, net.dims, known, net.multiple_px, net.device, card.name, card.weights_sha256)


def save_net(net: NucleiNet, path: str | os.PathLike[str]) -> None:
    """Write a network as it is asked, adapters merged, so that `open_net` of another process has the same.

    Parameters
    ----------
    path : str or path
        `NAME.safetensors`; a card is written beside it. Its hash is that of this file, not `net.model_hash`.

    Raises
    ------
    BadInputError
        It is none of our U-Nets, or cannot be written.
    """
    module: Any = for_inference(net.module)
    shape = getattr(module, "shape", None)
    if not isinstance(shape, UNetShape):
        raise BadInputError(f"network {net.name or type(module).__name__}: no U-Net of ours, it cannot be written")
    if shape.norm == "batch":  # folded into the convolutions
        shape = replace(shape, norm="none")
    card = ModelCard(
        net.name or "network", "asked", shape.as_architecture(), "", recipe={"diameter_px": net.diameter_px}
    )
    save_weights(path, module.state_dict(), card)
