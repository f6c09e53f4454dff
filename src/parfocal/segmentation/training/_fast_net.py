"""Make a network train faster on a CPU, and keep what it has measured; only what needs PyTorch imports this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def computes_fast(net: nn.Module, dims: int) -> nn.Module:
    """Let a network compute in bfloat16 and with channels last where the processor is made for it; in place.

    Weights stay float32. Three to four times as many steps a second as in float32 on an AVX-512 processor.
    """
    layout: Any = torch.channels_last_3d if dims == 3 else torch.channels_last
    any_net: Any = net
    any_net.to(memory_format=layout)
    plain: Callable[[Tensor], Tensor] = net.forward
    can: Any = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)

    def forward(x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=layout)
        if x.device.type != "cpu" or not can():
            return plain(x)
        with torch.autocast("cpu", torch.bfloat16):
            return plain(x)

    net.forward = forward
    return net


def measure_statistics(net: nn.Module, batches: Callable[[int], Sequence[Any]], n: int) -> None:
    """Replace what batch normalisation has measured, while weights still moved, by the mean over `n` batches."""
    norms = [module for module in net.modules() if isinstance(module, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.training = True
    device = next(net.parameters()).device
    with torch.no_grad():
        for step in range(n):
            net(torch.from_numpy(batches(step)[0]).to(device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.training = False


def hold_statistics(net: nn.Module) -> None:
    """Let batch normalisation use what it has measured from now on, in training too."""
    for module in net.modules():
        if isinstance(module, _NORMS):
            module.eval()
            held: Any = module  # a network in training mode asks this of each part: it stays as it is
            held.train = lambda mode=True, norm=module: norm
