"""Images larger than a network can take at once: tiles that overlap, blended into one output."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.grids import Region
from parfocal.segmentation.networks._net import NucleiNet

Floats = NDArray[np.float32]
Read = Callable[[Region], Floats]

TILE_PX = {2: (256, 256), 3: (64, 96, 96)}


@dataclass(frozen=True)
class TileSettings:
    """How an image is cut.

    Parameters
    ----------
    tile_px : tuple of int, optional
        Sides of a tile; by default 256x256, or 64x96x96.
    overlap : float
        Share of a tile that it has in common with its neighbour on each side.
    batch : int, optional
        Tiles asked at once: by default 1 on a cpu, 8 on cuda.
    """

    tile_px: tuple[int, ...] | None = None
    overlap: float = 0.25
    batch: int | None = None

    def __post_init__(self) -> None:
        """Refuse tiles of nothing."""
        if not 0 <= self.overlap <= 0.5 or (self.tile_px is not None and min(self.tile_px, default=0) < 8):
            raise BadInputError(
                f"tiles: tile_px {self.tile_px} and overlap {self.overlap}, expected sides of at least 8 and "
                "an overlap of 0 to 0.5"
            )


@dataclass(frozen=True)
class TileAxis:
    """Where tiles begin along an axis; the grid is the whole image's, whatever part of it is asked for."""

    length: int
    tile: int
    starts: tuple[int, ...]
    weights: Floats

    @classmethod
    def cut(cls, length: int, tile: int, overlap: float) -> TileAxis:
        """Cut an axis: the first tile at 0, the last ending with the axis, Hann ramps where two overlap."""
        tile = min(tile, length)
        step = max(1, round(tile * (1 - overlap)))
        n = 1 + max(0, -(-(length - tile) // step))
        starts = tuple(round(i * (length - tile) / (n - 1)) for i in range(n)) if n > 1 else (0,)
        weights = np.zeros((n, tile))
        ramp = tile - step
        for i in range(n):
            one = np.ones(tile)
            if ramp:
                rise = np.sin(np.pi / 2 * (np.arange(ramp) + 0.5) / ramp) ** 2
                if i > 0:
                    one[:ramp] = rise
                if i < n - 1:
                    one[tile - ramp :] = np.minimum(one[tile - ramp :], rise[::-1])
            weights[i] = one
        total = np.zeros(length)
        for start, one in zip(starts, weights):
            total[start : start + tile] += one
        for start, one in zip(starts, weights):
            one /= total[start : start + tile]
        return cls(length, tile, starts, weights.astype(np.float32))

    def meeting(self, first: int, stop: int) -> Iterator[int]:
        """Yield the tiles that have something of `first` to `stop`."""
        for i, start in enumerate(self.starts):
            if start < stop and start + self.tile > first:
                yield i


class TileMemory:
    """The tiles asked last, in half precision, for regions that overlap and the threads that work on them.

    Parameters
    ----------
    most_bytes : int
        Tiles asked longest ago are forgotten beyond it.
    """

    def __init__(self, most_bytes: int = 500_000_000) -> None:
        self.most_bytes = most_bytes
        self._tiles: OrderedDict[tuple[int, ...], NDArray[np.float16]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tile: tuple[int, ...], ask: Callable[[], Floats]) -> NDArray[np.float16]:
        """Return a tile, asked now where it is not remembered: one at a time, as the network uses all cores."""
        with self._lock:
            if (known := self._tiles.get(tile)) is None:
                known = self._tiles[tile] = ask().astype(np.float16)
                while len(self._tiles) > 1 and sum(t.nbytes for t in self._tiles.values()) > self.most_bytes:
                    self._tiles.popitem(last=False)
            self._tiles.move_to_end(tile)
            return known


def run_tiles(
    net: NucleiNet,
    read: Read,
    shape: tuple[int, ...],
    region: Region | None = None,
    settings: TileSettings | None = None,
    on_tile: Callable[[int, int], object] | None = None,
    memory: TileMemory | None = None,
) -> NetOutput:
    """Ask a network of an image, or of a region of it, tile by tile.

    Tiles lie on one grid of the whole image. So a voxel is told the same whichever region it is asked in.

    Parameters
    ----------
    net : NucleiNet
    read : callable
        Returns a region of the image, scaled, float32.
    shape : tuple of int
        Of the whole image; the network's number of axes.
    region : optional
        All by default.
    settings : TileSettings, optional
    on_tile : callable, optional
        Told how many tiles of how many are done.
    memory : TileMemory, optional
        Of this image and network: tiles that another region had asked need not be asked again. What comes out of
        it is rounded to half precision, remembered or not.
    """
    import torch

    settings = settings or TileSettings()
    if len(shape) != net.dims or 0 in shape:
        raise BadInputError(f"network: image is {shape}, expected {net.dims} axes, none of them empty")
    sides = settings.tile_px or TILE_PX[net.dims]
    multiples = net.multiple_px or (1,) * net.dims
    axes = [
        TileAxis.cut(n, max(side // m * m, m), settings.overlap) for n, side, m in zip(shape, sides, multiples)
    ]
    asked = region or tuple((0, n) for n in shape)
    out = np.zeros((net.dims + 2, *[b - a for a, b in asked]), np.float32)
    tiles = list(product(*[axis.meeting(*part) for axis, part in zip(axes, asked)]))

    def ask(some: list[tuple[int, ...]]) -> Floats:
        pixels = np.stack([_read_padded(read, axes, tile, multiples) for tile in some])
        with torch.inference_mode():
            said: Any = net.module(torch.from_numpy(pixels[:, np.newaxis]).to(net.device))
            return said.float().cpu().numpy()

    batch = 1 if memory is not None else settings.batch or (8 if net.device == "cuda" else 1)
    for first in range(0, len(tiles), batch):
        some = tiles[first : first + batch]
        answers = ask(some) if memory is None else [memory.get(some[0], partial(_first_of, ask, some))]
        for tile, one in zip(some, answers):
            _add(out, asked, axes, tile, one)
        if on_tile is not None:
            on_tile(min(first + batch, len(tiles)), len(tiles))
    return NetOutput(out[: net.dims], out[net.dims], out[net.dims + 1])


def _first_of(ask: Callable[[list[tuple[int, ...]]], Floats], tiles: list[tuple[int, ...]]) -> Floats:
    return ask(tiles)[0]


def _read_padded(read: Read, axes: list[TileAxis], tile: tuple[int, ...], multiples: tuple[int, ...]) -> Floats:
    pixels = read(tuple((axis.starts[i], axis.starts[i] + axis.tile) for axis, i in zip(axes, tile)))
    pads = [(0, -n % m) for n, m in zip(pixels.shape, multiples)]
    return np.pad(pixels, pads, mode="edge") if any(p for _, p in pads) else np.ascontiguousarray(pixels)


def _add(out: Floats, asked: Region, axes: list[TileAxis], tile: tuple[int, ...], said: NDArray[Any]) -> None:
    """Add a tile's part of the region under its weight, of which all tiles' sum is 1 at every voxel."""
    to: list[slice] = [slice(None)]
    of: list[slice] = [slice(None)]
    weights: list[Floats] = []
    for axis, i, (first, stop) in zip(axes, tile, asked):
        start = axis.starts[i]
        begin, end = max(start, first), min(start + axis.tile, stop)
        to.append(slice(begin - first, end - first))
        of.append(slice(begin - start, end - start))
        weights.append(axis.weights[i, begin - start : end - start])
    part = said[tuple(of)].astype(np.float32)
    for k, weight in enumerate(weights):
        part *= weight.reshape((-1,) + (1,) * (len(weights) - 1 - k))
    out[tuple(to)] += part
