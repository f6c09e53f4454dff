"""Weights in and out: safetensors and a card, never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import BadInputError
from parfocal.learning._card import ModelCard
from parfocal.learning._card_json import card_bytes, read_card
from parfocal.learning._need_torch import need_torch
from parfocal.learning._on_disk import read_bytes, sha256, write_bytes
from parfocal.learning._shape import UNetShape

if TYPE_CHECKING:
    from torch import Tensor, nn


def save_weights(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Tensor],
    card: ModelCard,
    *,
    half: bool = False,
) -> ModelCard:
    """Write `path` (`NAME.safetensors`) and its card beside it (`NAME.json`).

    Parameters
    ----------
    path : str or path
        Ends in `.safetensors`; its folder must exist.
    state_dict : mapping of str to tensor
        On any device.
    card : ModelCard
        Its `weights_sha256` is replaced by the hash of what is written, its `made`, where empty, by now.
    half : bool
        Store 16-bit floats: half the size, a relative rounding of 5e-4.

    Returns
    -------
    ModelCard
        The card as it was written.

    Raises
    ------
    BadInputError
        A weight is not finite (or is not in 16 bits), or the file cannot be written.
    """
    target = _weights_path(path)
    content = pack(state_dict, half=half, where=str(target))
    written = replace(card, weights_sha256=sha256(content), made=card.made or utc_now())
    described = card_bytes(written)
    # In this order a reader finds, if anything, a card whose hash is not that of the weights, and refuses.
    write_bytes(target, content)
    write_bytes(card_path(target), described)
    return written


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], ModelCard]:
    """Read weights and their card, checked.

    The file's hash must be the card's; for a U-Net, the names and shapes must be those of its architecture.

    Returns
    -------
    state_dict : dict of str to tensor
        On the CPU; floats as float32, whatever is stored.
    card : ModelCard

    Raises
    ------
    BadInputError
        A file is missing, damaged or not what the card says.
    """
    need_torch("reading weights")
    source = _weights_path(path)
    card = read_card(card_path(source))
    content = read_bytes(source)
    if (found := sha256(content)) != card.weights_sha256:
        raise BadInputError(
            f"{source}: hash {found[:12]} is not the card's {card.weights_sha256[:12]}:"
            " the file was changed or not written to its end"
        )
    state = unpack(content, where=str(source))
    if card.architecture.get("kind") == "unet":
        _check_unet(state, UNetShape.from_architecture(card.architecture), where=str(source))
    return state, card


def is_half(path: str | os.PathLike[str]) -> bool:
    """Say whether a file of weights (`.safetensors`) holds 16-bit floats, by its header; False for other files."""
    source = Path(path)
    if source.suffix != ".safetensors":
        return False
    content = read_bytes(source)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return any(about.get("dtype") == "F16" for about in header.values())


def load_into(net: nn.Module, state_dict: Mapping[str, Tensor], *, where: str = "weights") -> None:
    """Put weights into a network whose names and shapes are exactly theirs.

    Raises
    ------
    BadInputError
        A name is missing or too much, or a shape differs; the network is as before.
    """
    check_against(state_dict, net.state_dict(), where=where)
    net.load_state_dict(dict(state_dict), strict=True)


def card_path(weights: Path) -> Path:
    """Return where the card of a file of weights is."""
    return weights.with_suffix(".json")


def utc_now() -> str:
    """Return now, as cards write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def pack(
    state_dict: Mapping[str, Tensor],
    *,
    half: bool = False,
    metadata: dict[str, str] | None = None,
    where: str = "weights",
) -> bytes:
    """Return safetensors' bytes: the same weights give the same bytes, so long as `metadata` has one key."""
    need_torch("writing weights")
    import torch
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        stored = tensor.detach().cpu()
        if stored.is_floating_point():
            stored = stored.to(torch.float16) if half else stored
            if not bool(torch.isfinite(stored).all()):
                raise BadInputError(f"{where}: {name} is not finite{' in 16 bits' if half else ''}; not written")
        tensors[name] = stored.contiguous().clone()  # safetensors refuses memory that two tensors share
    return save(tensors, metadata)


def unpack(content: bytes, *, where: str, as_float32: bool = True) -> dict[str, Tensor]:
    """Return the tensors of safetensors' bytes.

    Raises
    ------
    BadInputError
        They are not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInputError(f"{where}: not a safetensors file: {error}") from error
    if not as_float32:
        return tensors
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def check_against(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse weights whose names or shapes are not those wanted.

    Raises
    ------
    BadInputError
        A name is missing or too much, or a shape differs.
    """
    if missing := sorted(wanted.keys() - state.keys()):
        raise BadInputError(
            f"{where}: {missing[0]} is missing, of {len(missing)} in all; is it another network's?"
        )
    if extra := sorted(state.keys() - wanted.keys()):
        raise BadInputError(f"{where}: {extra[0]} is not part of the network, of {len(extra)} in all")
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise BadInputError(
                f"{where}: {name} has shape {tuple(state[name].shape)}; the network's is {tuple(tensor.shape)}"
            )


def _check_unet(state: Mapping[str, Tensor], shape: UNetShape, *, where: str) -> None:
    import torch

    from parfocal.learning._unet import UNet

    with torch.device("meta"):  # shapes alone, no memory
        wanted = UNet(shape).state_dict()
    check_against(state, wanted, where=where)


def _weights_path(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    if found.suffix != ".safetensors":
        raise BadInputError(f"{found}: weights end in .safetensors (`parfocal models import` converts a .pth)")
    return found
