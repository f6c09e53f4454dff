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
        pools: list[list[int]] = []
        for level, block in enumerate(self.down):
            if level:
                # A side shorter than its pool is kept as it is.
                pool = [min(p, n) for p, n in zip(self.shape.pools[level - 1], x.shape[2:], strict=True)]
                pools.append(pool)
                skips.append(x)
                x = max_pool(x, pool)
            x = block(x)
        for block in reversed(self.up):
            skip = skips.pop()
            x = functional.interpolate(x, scale_factor=[float(p) for p in pools.pop()], mode="nearest")
            # Of a side that is no multiple, pooling left the last rows out: the last that is known stands in.
            short = [n - m for n, m in zip(skip.shape[2:], x.shape[2:], strict=True)]
            if any(short):
                x = functional.pad(x, [v for n in reversed(short) for v in (0, n)], mode="replicate")
            x = block(torch.cat([skip, x], dim=1))
        return self.head(x)


class InSixteenBits(nn.Module):
    """A network of bfloat16 weights, for images of float32."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return float32."""
        return self.net(x.bfloat16()).float()


def _norm(width: int, shape: UNetShape) -> nn.Module:
    if shape.norm == "none":
        return nn.Identity()
    if shape.norm == "group":
        return nn.GroupNorm(NORM_GROUPS, width)
    return nn.BatchNorm3d(width) if shape.dims == 3 else nn.BatchNorm2d(width)
