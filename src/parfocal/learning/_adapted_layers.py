"""Layers with an adapter; only what has made sure of PyTorch imports this.

A layer becomes its adapted class and back by its `__class__`: names, the rest of the network and copies of it
stay as they are, and there is no hook to lose.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Adapter(nn.Module):
    """`scale · B(A(x))`: A as large as its convolution but to few channels, B from these to all, at first 0."""

    scale: Tensor

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        window = conv.weight.shape[2:]
        kept = min(rank, conv.out_channels)
        bound = 1 / math.sqrt(conv.in_channels * math.prod(window))
        a = torch.empty(kept, conv.in_channels, *window).uniform_(-bound, bound, generator=generator)
        self.a = nn.Parameter(a.to(conv.weight))
        self.b = nn.Parameter(torch.zeros(conv.out_channels, kept).to(conv.weight))
        self.register_buffer("scale", torch.tensor(alpha / rank))

    def change(self) -> Tensor:
        """Return what is added to the convolution's weights."""
        return self.scale * torch.einsum("or,ri...->oi...", self.b, self.a)

    def forward(self, x: Tensor, conv: nn.Conv2d | nn.Conv3d) -> Tensor:
        """Return what is added to the convolution's output."""
        is_3d = isinstance(conv, nn.Conv3d)
        convolve = cast(Any, functional.conv3d if is_3d else functional.conv2d)
        few = convolve(x, self.a, None, conv.stride, conv.padding, conv.dilation)
        window = (1,) * (3 if is_3d else 2)
        return convolve(few, (self.scale * self.b).reshape(*self.b.shape, *window))


class AdaptedConv2d(nn.Conv2d):
    """A convolution and its adapter."""

    adapter: Adapter

    def forward(self, input: Tensor) -> Tensor:
        """Return the sum of both."""
        return super().forward(input) + self.adapter(input, self)


class AdaptedConv3d(nn.Conv3d):
    """A convolution and its adapter."""

    adapter: Adapter

    def forward(self, input: Tensor) -> Tensor:
        """Return the sum of both."""
        return super().forward(input) + self.adapter(input, self)


class SettledBatchNorm2d(nn.BatchNorm2d):
    """A normalisation that keeps the statistics it has: a few corrections have none to speak of."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise as in evaluation mode, in training mode too."""
        return _settled(self, input)


class SettledBatchNorm3d(nn.BatchNorm3d):
    """A normalisation that keeps the statistics it has: a few corrections have none to speak of."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise as in evaluation mode, in training mode too."""
        return _settled(self, input)


def _settled(norm: nn.BatchNorm2d | nn.BatchNorm3d, x: Tensor) -> Tensor:
    return functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )


ADAPTED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: AdaptedConv2d,
    nn.Conv3d: AdaptedConv3d,
    nn.BatchNorm2d: SettledBatchNorm2d,
    nn.BatchNorm3d: SettledBatchNorm3d,
    nn.GroupNorm: nn.GroupNorm,
}
"""What each layer becomes; the weights of a normalisation are trained themselves."""
