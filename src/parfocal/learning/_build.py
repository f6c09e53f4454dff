"""Networks from their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parfocal.learning._need_torch import need_torch
from parfocal.learning._shape import UNetShape

if TYPE_CHECKING:
    from torch import nn


def build_unet(shape: UNetShape, *, seed: int = 0) -> nn.Module:
    """Return a U-Net with fresh weights; the same seed gives the same weights.

    Parameters
    ----------
    shape : UNetShape
        See there.
    seed : int
        Of the weights. The global generator is left as it was.

    Returns
    -------
    torch.nn.Module
        `(n, n_in, [z,] y, x)` float32 to `(n, n_out, [z,] y, x)` float32, in training mode, on the CPU.

    Raises
    ------
    BadInputError
        PyTorch is not installed.
    """
    need_torch("a network")
    import torch

    from parfocal.learning._unet import UNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(shape)
