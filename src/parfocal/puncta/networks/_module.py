"""The network for puncta itself; only what has made sure of PyTorch imports this."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from parfocal.learning import build_unet
from parfocal.puncta.networks._shape import N_FRAMES, OUTPUTS, PunctaNetShape

_GAIN = 1.6  # of SiLU: what keeps a normal input's spread from layer to layer
_FIRST_LOGIT = -6.0  # one pixel in 400 at the start, about as many as there are puncta
_TYPICAL_LOG_PHOTONS = math.log(1000.0)
_LOG_SIGMA = -1.2
LOG_SIGMA_RANGE = (-6.0, 0.7)
LOGIT_LIMIT = 14.0


class PunctaModule(nn.Module):
    """`(n, 3 * planes, y, x)` of three frames in, `(n, n_out, y, x)` float32 out; see `_shape.OUTPUTS`.

    Offsets come out in pixels, photons and sigmas as logarithms, background as the logarithm of its ratio to
    what the picture was scaled by.
    """

    def __init__(self, shape: PunctaNetShape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.mixed = False
        self.encoder = build_unet(shape.encoder, seed=seed)
        self.localization = build_unet(shape.localization, seed=seed + 1)
        self.calcium = None if shape.calcium is None else build_unet(shape.calcium, seed=seed + 2)
        # Log-variances of the two tasks (Kendall et al. 2018), in tenths: they learn a tenth as fast as weights.
        self.task_log_variances = nn.Parameter(torch.zeros(2), requires_grad=False)
        # Lengths of the two tasks' gradients on the encoder: a resumed training goes on with them.
        self.task_grad_norms: Tensor
        self.register_buffer("task_grad_norms", torch.zeros(2))
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                with torch.no_grad():
                    module.weight.normal_(0.0, _GAIN / math.sqrt(fan_in), generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()
        for head in (self.localization.head, None if self.calcium is None else self.calcium.head):
            if isinstance(head, nn.Conv2d):
                with torch.no_grad():
                    head.weight.mul_(0.1)

    def encode(self, frames: Tensor) -> Tensor:
        """Return what the encoder makes of frames `(n, planes, y, x)`, at half their resolution."""
        return functional.silu(self.encoder(functional.pixel_unshuffle(frames, 2)))

    def decode(self, features: Tensor) -> Tensor:
        """Return all output planes for features of three frames, laid behind one another."""
        raw = functional.pixel_shuffle(self.localization(features), 2).float()
        logit, offset, photons, background, sigmas = raw.split((1, 2, 1, 1, 3), dim=1)
        planes = [
            (logit + _FIRST_LOGIT).clamp(-LOGIT_LIMIT, LOGIT_LIMIT),
            torch.tanh(offset),
            photons + _TYPICAL_LOG_PHOTONS,
            background,
            (sigmas + _LOG_SIGMA).clamp(*LOG_SIGMA_RANGE),
        ]
        if self.calcium is not None:
            planes.append(functional.pixel_shuffle(self.calcium(features), 2).float())
        return torch.cat(planes, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of a batch."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed and x.device.type == "cpu"):
            return self._answer(x.contiguous(memory_format=torch.channels_last))

    def _answer(self, x: Tensor) -> Tensor:
        n, planes, height, width = x.shape
        features = self.encode(x.reshape(n * N_FRAMES, planes // N_FRAMES, height, width))
        return self.decode(features.reshape(n, -1, height // 2, width // 2))

    def trunk(self) -> Tensor:
        """Return the last weights that both tasks share."""
        head = self.encoder.head
        return head.weight if isinstance(head, nn.Conv2d) else next(self.encoder.parameters())

    def task_weights(self) -> Tensor:
        """Return the log-variances of localization and calcium, held within what is sound."""
        return (10.0 * self.task_log_variances).clamp(-4.0, 4.0)


def first_layer_inflated(state: dict[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
    """Return weights of a network of one channel for one of two: the second channel's begin as zeros.

    pixel_unshuffle lays the four pixels of a plane side by side, planes in order: of two channels, the planes are
    (puncta, its level, calcium, its level).
    """
    name = "encoder.down.0.conv1.weight"
    had = state[name]
    if had.shape == wanted.shape:
        return state
    grown = torch.zeros_like(wanted)
    grown[:, : had.shape[1]] = had
    return {**state, name: grown}


def output_index(name: str) -> int:
    """Return which plane says something; `calcium` is the last."""
    return len(OUTPUTS) if name == "calcium" else OUTPUTS.index(name)
