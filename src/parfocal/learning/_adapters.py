"""Adapters: a network learns from few corrections by a few per cent of its weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from parfocal.errors import BadInputError
from parfocal.learning._card import ModelCard
from parfocal.learning._need_torch import need_torch
from parfocal.learning._weights import check_against, load_weights, save_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def add_adapters(net: nn.Module, *, rank: int = 4, alpha: float = 8.0, seed: int = 0) -> None:
    """Give every convolution of a network an adapter, and freeze the rest.

    A convolution's weights become `W + (alpha / rank) B A` with `A` (k x k, to `rank` channels) and `B`
    (1 x 1, from these to all, zero at first, so that the output does not change yet). Scale and offset of
    GroupNorm and BatchNorm are trained too; BatchNorm's statistics stay as they are.

    Parameters
    ----------
    net : torch.nn.Module
        Changed in place; any network with `Conv2d` or `Conv3d`. Grouped convolutions stay frozen.
    rank : int
        Channels between A and B; fewer for a convolution that gives fewer out.
    alpha : float
        Weight of the change: `alpha / rank` times B A.
    seed : int
        Of A.

    Raises
    ------
    BadInputError
        There is no convolution, the network has adapters already, or `rank` is below 1.

    References
    ----------
    Hu et al., LoRA: Low-rank adaptation of large language models, ICLR 2022, for convolutions.
    """
    need_torch("an adapter")
    import torch

    from parfocal.learning._adapted_layers import ADAPTED, Adapter

    if rank < 1:
        raise BadInputError(f"adapters: rank is {rank}; expected at least 1")
    if next(_adapted(net), None) is not None:
        raise BadInputError("adapters: the network has adapters already; merge them first")
    layers = [m for m in net.modules() if type(m) in ADAPTED]
    convs = [m for m in layers if isinstance(m, (torch.nn.Conv2d, torch.nn.Conv3d)) and m.groups == 1]
    if not convs:
        raise BadInputError(f"adapters: {type(net).__name__} has no Conv2d or Conv3d")
    generator = torch.Generator().manual_seed(seed)
    frozen = [name for name, p in net.named_parameters() if p.requires_grad]
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    for conv in convs:
        conv.__class__ = cast(Any, ADAPTED[type(conv)])
        conv.adapter = Adapter(conv, rank, alpha, generator)
    for norm in layers:
        if _is_norm(norm):
            norm.__class__ = cast(Any, ADAPTED[type(norm)])
            for parameter in norm.parameters(recurse=False):
                parameter.requires_grad_(True)
    net.frozen_by_adapters = cast(Any, tuple(frozen))


def adapter_state(net: nn.Module) -> dict[str, Tensor]:
    """Return what a network's adapters hold: A, B and scale of each, and the weights of normalisations.

    Raises
    ------
    BadInputError
        The network has no adapters.
    """
    if next(_adapted(net), None) is None:
        raise BadInputError("adapters: the network has none")
    state = net.state_dict()
    return {name: state[name].detach().clone() for name in _adapter_names(net)}


def load_adapter(net: nn.Module, state: Mapping[str, Tensor], *, where: str = "adapter") -> None:
    """Put what :func:`adapter_state` returned into a network; adapters are added where there are none.

    Raises
    ------
    BadInputError
        Names or shapes are those of another network; it is then as before.
    """
    had_adapters = next(_adapted(net), None) is not None
    if not had_adapters:
        add_adapters(net, rank=max((t.shape[0] for n, t in state.items() if n.endswith(".adapter.a")), default=1))
    own = net.state_dict()
    try:
        check_against(state, {name: own[name] for name in _adapter_names(net)}, where=where)
    except BadInputError:
        if not had_adapters:
            _take_off(net)
        raise
    net.load_state_dict(dict(state), strict=False)


def merge_adapters(net: nn.Module) -> None:
    """Add the adapters to the weights and take them off: the same output at the network's own speed.

    Raises
    ------
    BadInputError
        The network has no adapters.
    """
    import torch

    if next(_adapted(net), None) is None:
        raise BadInputError("adapters: the network has none to merge")
    with torch.no_grad():
        for conv in _adapted(net):
            conv.weight += conv.adapter.change()
    _take_off(net)


def save_adapter(
    path: str | os.PathLike[str], net: nn.Module, card: ModelCard, *, base: ModelCard, half: bool = True
) -> ModelCard:
    """Write a network's adapters as weights whose card's `parent` is the hash of `base`.

    Parameters
    ----------
    path : str or path
        Ends in `.safetensors`.
    net : torch.nn.Module
        With adapters.
    card : ModelCard
        `parent` and `architecture` are filled in.
    base : ModelCard
        Of the weights that the adapters were trained on.
    half : bool
        Store 16-bit floats.

    Returns
    -------
    ModelCard
        As it was written.
    """
    return save_weights(path, adapter_state(net), adapter_card(card, base), half=half)


def adapter_card(card: ModelCard, base: ModelCard) -> ModelCard:
    """Return the card of an adapter of `base`, with its `parent` and `architecture`.

    The base may be an adapter itself, merged: the network is the one that all of them stand on.
    """
    network = base.architecture.get("base", base.architecture)
    return replace(card, parent=base.weights_sha256, architecture={"kind": "conv-lora", "base": dict(network)})


def open_adapter(path: str | os.PathLike[str], net: nn.Module, *, base: ModelCard) -> ModelCard:
    """Put the adapter in `path` into a network that holds the weights of `base`.

    Raises
    ------
    BadInputError
        The file is damaged, no adapter, or an adapter of other weights.
    """
    state, card = load_weights(path)
    refuse_other_base(card, base, where=os.fspath(path))
    load_adapter(net, state, where=os.fspath(path))
    return card


def refuse_other_base(card: ModelCard, base: ModelCard, *, where: str) -> None:
    """Refuse a card that is not that of an adapter of `base`.

    Raises
    ------
    BadInputError
        It is not.
    """
    if card.architecture.get("kind") != "conv-lora":
        raise BadInputError(f"{where}: holds {card.architecture.get('kind')!r}, not an adapter")
    if card.parent != base.weights_sha256:
        raise BadInputError(
            f"{where}: is an adapter of {(card.parent or 'nothing')[:12]}, not of {base.name} {base.version}"
            f" ({base.weights_sha256[:12]})"
        )


def _adapted(net: nn.Module) -> Iterator[Any]:
    from parfocal.learning._adapted_layers import AdaptedConv2d, AdaptedConv3d

    return (m for m in net.modules() if isinstance(m, (AdaptedConv2d, AdaptedConv3d)))


def _is_norm(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, (nn.GroupNorm, nn.BatchNorm2d, nn.BatchNorm3d))


def _adapter_names(net: nn.Module) -> list[str]:
    names: list[str] = []
    for name, module in net.named_modules():
        if name.rpartition(".")[2] == "adapter":
            names += [f"{name}.{key}" for key in module.state_dict()]
        elif _is_norm(module):
            names += [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
    return names


def _take_off(net: nn.Module) -> None:
    from parfocal.learning._adapted_layers import ADAPTED

    plain = {adapted: layer for layer, adapted in ADAPTED.items()}
    for module in list(net.modules()):
        if type(module) in plain:
            module.__class__ = cast(Any, plain[type(module)])
            if "adapter" in dict(module.named_children()):
                del module.adapter
    wanted = set(cast("tuple[str, ...]", net.frozen_by_adapters))
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in wanted)
    del net.frozen_by_adapters
