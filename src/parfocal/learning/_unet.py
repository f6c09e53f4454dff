"""The U-Net itself; only what has made sure of PyTorch imports this."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from parfocal.learning._shape import NORM_GROUPS, UNetShape


class Block(nn.Module):
    """Two 3-convolutions, each normalised and passed through SiLU."""

    def __init__(self, n_in: int, n_out: int, shape: UNetShape) -> None:
        super().__init__()
        conv = nn.Conv3d if shape.dims == 3 else nn.Conv2d
        self.conv1 = conv(n_in, n_out, 3, padding=1)
        self.norm1 = _norm(n_out, shape)
        self.conv2 = conv(n_out, n_out, 3, padding=1)
        self.norm2 = _norm(n_out, shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return as many pixels as came in."""
        x = functional.silu(self.norm1(self.conv1(x)), inplace=True)
        return functional.silu(self.norm2(self.conv2(x)), inplace=True)


class UNet(nn.Module):
    """A U-Net: `(n, n_in, [z,] y, x)` float32 in, `(n, n_out, [z,] y, x)` float32 out, of any size.

    The way up repeats pixels (a transposed convolution leaves a chequered pattern), lays the finer level's
    features beside them and convolves; the head is a 1-convolution without a squashing function.
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.widths
        self.down = nn.ModuleList(
            [Block(a, b, shape) for a, b in zip((shape.n_in, *widths[:-1]), widths, strict=True)]
        )
        self.up = nn.ModuleList([Block(fine + coarse, fine, shape) for fine, coarse in pairwise(widths)])
        self.head = (nn.Conv3d if shape.dims == 3 else nn.Conv2d)(widths[0], shape.n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output channels of a batch."""
        max_pool = functional.max_pool3d if self.shape.dims == 3 else functional.max_pool2d
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                # A side shorter than its pool is kept as it is.
                pool = self.shape.pools[level - 1]
                x = max_pool(x, [min(p, n) for p, n in zip(pool, x.shape[2:], strict=True)])
            x = block(x)
            skips.append(x)
        skips.pop()
        for level in reversed(range(len(self.up))):
            skip = skips.pop()
            coarse = functional.interpolate(x, size=skip.shape[2:], mode="nearest-exact")
            x = self.up[level](torch.cat([skip, coarse], dim=1))
        return self.head(x)


def _norm(width: int, shape: UNetShape) -> nn.Module:
    if shape.norm == "group":
        return nn.GroupNorm(NORM_GROUPS, width)
    return nn.BatchNorm3d(width) if shape.dims == 3 else nn.BatchNorm2d(width)
