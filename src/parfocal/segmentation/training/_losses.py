"""What a network's answers cost; only what has made sure of PyTorch imports this."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FLOW_WEIGHT, BOUNDARY_WEIGHT, BOUNDARY_POSITIVE = 3.0, 0.5, 2.0


def nuclei_loss(output: Tensor, flow: Tensor, foreground: Tensor, boundary: Tensor) -> dict[str, Tensor]:
    """Return the terms of the loss: flow (mean squared, in objects alone), foreground, boundary (cross entropy).

    Parameters
    ----------
    output : (n, ndim + 2, ...)
        Flow, then the logits of foreground and boundary.
    flow, foreground, boundary
        What `flow_targets` says, with a channel axis each.
    """
    ndim = flow.shape[1]
    said = output[:, :ndim]
    inside = foreground.sum().clamp(min=1.0)
    wrong = ((said - flow).square().sum(1, keepdim=True) * foreground).sum() / inside / ndim
    positive = torch.tensor(BOUNDARY_POSITIVE, device=output.device)
    return {
        "flow": FLOW_WEIGHT * wrong,
        "foreground": functional.binary_cross_entropy_with_logits(output[:, ndim : ndim + 1], foreground),
        "boundary": BOUNDARY_WEIGHT
        * functional.binary_cross_entropy_with_logits(
            output[:, ndim + 1 : ndim + 2], boundary, pos_weight=positive
        ),
    }
