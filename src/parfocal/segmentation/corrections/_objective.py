"""What a correction costs a network that disagrees; only what has made sure of PyTorch imports this."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from parfocal.segmentation.training._losses import BOUNDARY_POSITIVE, BOUNDARY_WEIGHT, FLOW_WEIGHT

_CELLPOSE_FLOW = 5.0
"""Cellpose's networks say five times the flow."""
_NEVER = -10.0


class CellposePlanes(nn.Module):
    """Cellpose's CPnet, asked and answering as our networks of planes do; it knows no boundary."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return flow, foreground and a boundary that is never there, `(n, 4, y, x)`, of `(n, 1, y, x)`."""
        said: Any = self.net(torch.cat([x, torch.zeros_like(x)], dim=1))[0]
        never = torch.full_like(said[:, :1], _NEVER)
        return torch.cat([said[:, :2] / _CELLPOSE_FLOW, said[:, 2:3], never], dim=1)


def weighted_loss(
    output: Tensor, flow: Tensor, foreground: Tensor, boundary: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    """Return the terms of `training.nuclei_loss`, each voxel counting as much as `weight` says."""
    ndim = flow.shape[1]
    total = weight.sum().clamp(min=1.0)
    inside = (foreground * weight).sum().clamp(min=1.0)
    wrong = ((output[:, :ndim] - flow).square().sum(1, keepdim=True) * foreground * weight).sum() / inside / ndim
    positive = torch.tensor(BOUNDARY_POSITIVE, device=output.device)

    def entropy(channel: int, truth: Tensor, pos_weight: Tensor | None) -> Tensor:
        each = functional.binary_cross_entropy_with_logits(
            output[:, channel : channel + 1], truth, pos_weight=pos_weight, reduction="none"
        )
        return (each * weight).sum() / total

    terms = {"flow": FLOW_WEIGHT * wrong, "foreground": entropy(ndim, foreground, None)}
    if not bool((output[:, ndim + 1] == _NEVER).all()):
        terms["boundary"] = BOUNDARY_WEIGHT * entropy(ndim + 1, boundary, positive)
    return terms
