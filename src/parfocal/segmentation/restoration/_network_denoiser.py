"""Our small denoising network, plane by plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.learning import UNetShape, build_unet, load_into, load_weights, need_torch
from parfocal.segmentation.restoration._pixel_noise import PixelNoise

Floats = NDArray[np.float32]

_TILE_PX = 512
_OVERLAP_PX = 48
_PERCENTILES = (1.0, 99.8)


@dataclass(frozen=True)
class NetworkDenoiser:
    """A 2D U-Net of one channel in and one out, which was taught clean planes on the scale of its input.

    Planes go in with their 1st and 99.8th percentile at 0 and 1, the volume's, so that dark planes stay dark, and
    come out on the grey scale that they had. Where the card's recipe says `{"predicts": "residual"}` the network
    gives what to add to its input, else the clean plane.
    """

    name: str
    weights_sha256: str
    net: Any
    multiple_px: tuple[int, ...]
    residual: bool

    def __call__(self, planes: Floats, noise: PixelNoise) -> Floats:
        """Return the planes with less noise; `noise` is not needed."""
        low, high = (float(v) for v in np.percentile(planes, _PERCENTILES))
        if not high > low:
            return planes.copy()
        scaled = ((planes - low) / (high - low)).astype(np.float32)
        clean = np.stack([self._plane(plane) for plane in scaled])
        return (clean * (high - low) + low).astype(np.float32)

    def _plane(self, plane: Floats) -> Floats:
        """Run the network over overlapping tiles, of which the middles are kept."""
        import torch

        height, width = plane.shape
        step_y, step_x = self.multiple_px
        pad = [
            (_OVERLAP_PX, _OVERLAP_PX + (-(n + 2 * _OVERLAP_PX)) % m)
            for n, m in zip(plane.shape, (step_y, step_x))
        ]
        padded = np.pad(plane, pad, mode="symmetric")
        out = np.empty_like(plane)
        for y in range(0, height, _TILE_PX):
            for x in range(0, width, _TILE_PX):
                tile = padded[y : y + _TILE_PX + 2 * _OVERLAP_PX, x : x + _TILE_PX + 2 * _OVERLAP_PX]
                tile = tile[: tile.shape[0] // step_y * step_y, : tile.shape[1] // step_x * step_x]
                with torch.inference_mode():
                    answer = self.net(torch.from_numpy(np.ascontiguousarray(tile))[None, None])[0, 0].numpy()
                if self.residual:
                    answer = tile + answer
                rows, columns = min(_TILE_PX, height - y), min(_TILE_PX, width - x)
                out[y : y + rows, x : x + columns] = answer[
                    _OVERLAP_PX : _OVERLAP_PX + rows, _OVERLAP_PX : _OVERLAP_PX + columns
                ]
        return out


def open_network_denoiser(path: Path) -> NetworkDenoiser:
    """Load weights and card, checked (see `parfocal.learning.load_weights`).

    Raises
    ------
    BadInputError
        The file is damaged, or is no 2D network of one channel in and one out.
    """
    need_torch("the learned denoiser")
    state, card = load_weights(path)
    shape = UNetShape.from_architecture(card.architecture)
    if (shape.dims, shape.n_in, shape.n_out) != (2, 1, 1):
        raise BadInputError(
            f"{path}: a {shape.dims}D network of {shape.n_in} channels in and {shape.n_out} out; "
            "a denoiser is 2D, one in and one out"
        )
    net = build_unet(shape)
    load_into(net, state, where=str(path))
    net.eval()
    residual = card.recipe.get("predicts") == "residual"
    return NetworkDenoiser(card.name, card.weights_sha256, net, shape.multiple_px, residual)
