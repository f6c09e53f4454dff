"""Noisy planes and their clean twins, and what a restored plane costs; only what needs PyTorch imports this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from parfocal.segmentation.flows import flow_targets
from parfocal.segmentation.generator import NucleiRecipe, nuclei_plane
from parfocal.segmentation.training._losses import nuclei_loss
from parfocal.segmentation.training._patches import turned


def restoration_batch(
    sources: Sequence[NucleiRecipe], n: int, seed: int, step: int
) -> Sequence[NDArray[np.float32]]:
    """Return noisy planes, what they would be without noise (normalised as those), flow, foreground, boundary."""
    columns: list[list[NDArray[Any]]] = [[] for _ in range(6)]
    for k in range(n):
        rng = np.random.default_rng((seed, step, k))
        patch = nuclei_plane(rng, sources[int(rng.integers(len(sources)))])
        noisy, clean, labels = turned(rng, patch.image, patch.clean, patch.labels)
        low, high = np.percentile(noisy, (1.0, 99.8))
        spread = np.float32(max(float(high - low), 1e-6))
        x, y = ((part - np.float32(low)) / spread for part in (noisy, clean))
        flow, foreground, boundary = flow_targets(labels)
        for column, part in zip(columns, (x[None], y[None], x[None], flow, foreground[None], boundary[None])):
            column.append(part)
    return [np.stack(column).astype(np.float32) for column in columns]


def restoration_loss(segmenter: nn.Module, weight: float) -> Callable[..., dict[str, Tensor]]:
    """Return the loss of a residual network: what it adds to the noisy plane should make it clean.

    The mean absolute difference to the clean plane, and `weight` times what the frozen segmenter, shown the
    restored plane, costs: detail that a nucleus is told by is worth more than detail that it is not.
    """
    for parameter in segmenter.parameters():
        parameter.requires_grad_(False)
    segmenter.eval()

    def loss(
        added: Tensor, clean: Tensor, noisy: Tensor, flow: Tensor, foreground: Tensor, boundary: Tensor
    ) -> dict[str, Tensor]:
        restored = noisy + added
        terms = nuclei_loss(segmenter(restored).float(), flow, foreground, boundary)
        return {
            "difference": functional.l1_loss(restored, clean),
            "segmenter": weight * torch.stack(list(terms.values())).sum(),
        }

    return loss
