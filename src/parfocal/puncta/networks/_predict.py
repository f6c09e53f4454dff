"""What a network says of a movie, frame after frame: each is encoded once, and seen with both its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta.networks._net import PunctaNet
from parfocal.puncta.networks._normalise import Floats, SeenFrame, no_frame, seen_frame

TILE_PX = 768


@dataclass(frozen=True)
class Answer:
    """What a network says of one frame.

    Parameters
    ----------
    index : int
        Of the frame, from 0.
    planes : float32[planes, y, x]
        See `_shape.OUTPUTS`.
    seen : SeenFrame
        Of the puncta channel.
    frame : ndarray[y, x]
        The raw frame.
    """

    index: int
    planes: Floats
    seen: SeenFrame
    frame: NDArray[Any]


def answers(
    frames: Iterable[NDArray[Any]],
    net: PunctaNet,
    camera_model: CameraModel,
    *,
    calcium: Iterable[NDArray[Any]] | None = None,
    calcium_camera: CameraModel | None = None,
    excess_noise: float | None = None,
    batch: int | None = None,
    tile_px: int = TILE_PX,
) -> Iterator[Answer]:
    """Yield what a network says of each frame, in order; two frames more than a batch are held at a time.

    Parameters
    ----------
    frames : ndarray[frame, y, x] or iterable of ndarray[y, x]
        Raw ADU, all of one shape.
    net : PunctaNet
    camera_model : CameraModel
    calcium : iterable of ndarray[y, x], optional
        The second channel, frame by frame; for a network that looks at it.
    calcium_camera : CameraModel, optional
        Of the second channel; the same by default.
    excess_noise : float, optional
        Other than the camera model's.
    batch : int, optional
        Frames asked at once: by default 1 on a cpu, 16 on cuda.
    tile_px : int
        Larger frames are asked in tiles that overlap by what the network sees.

    Raises
    ------
    BadInputError
        Frames differ in shape, or a channel is missing, ends early or is one too many.
    """
    if (calcium is None) == (net.shape.n_channels == 2):
        wanted = "puncta and calcium" if net.shape.n_channels == 2 else "puncta alone"
        raise BadInputError(
            f"puncta network {net.name or 'given'}: looks at {wanted}; open the one for your channels"
        )
    channels = _seen_channels(frames, camera_model, calcium, calcium_camera or camera_model, excess_noise)
    size = batch or usual_batch(net)
    stream = AnswerStream(net, tile_px)
    while chunk := list(islice(channels, size)):
        yield from stream.add(chunk)
    yield from stream.finish()


def usual_batch(net: PunctaNet) -> int:
    """Return how many frames are asked at once where nobody says."""
    return 16 if net.device != "cpu" else 1


class AnswerStream:
    """Asks a network frame after frame as they come; the last stays until the one after it is there.

    Parameters
    ----------
    net : PunctaNet
    tile_px : int
        As in `answers`.
    """

    def __init__(self, net: PunctaNet, tile_px: int = TILE_PX) -> None:
        self._net, self._tile_px = net, tile_px
        self._coded: list[tuple[NDArray[Any], SeenFrame, list[Any]]] = []
        self._tiles: list[_Tile] = []
        self._blank: list[Any] = []
        self._before: list[Any] = []
        self._first = 0

    def add(self, chunk: list[tuple[NDArray[Any], SeenFrame, Floats]]) -> Iterator[Answer]:
        """Yield the answers of all frames but the last; frames as `_seen_channels` gives them."""
        net = self._net
        if not chunk:
            return
        if not self._tiles:
            shape = chunk[0][0].shape
            self._tiles = _tiles_of(shape, self._tile_px, net.shape.multiple_px, net.shape.reach_px)
            planes = np.concatenate([no_frame(shape)] * net.shape.n_channels)
            self._blank = self._before = _encoded(net, [planes], self._tiles)[0]
        features = _encoded(net, [planes for _, _, planes in chunk], self._tiles)
        self._coded += [(frame, seen, code) for (frame, seen, _), code in zip(chunk, features, strict=True)]
        if len(self._coded) > 1:
            ready, last = self._coded[:-1], self._coded[-1]
            yield from _decoded(net, ready, self._before, last[2], self._tiles, self._first)
            self._first, self._before, self._coded = self._first + len(ready), ready[-1][2], [last]

    def finish(self) -> Iterator[Answer]:
        """Yield the answer of the last frame, after which none comes."""
        if self._coded:
            yield from _decoded(self._net, self._coded, self._before, self._blank, self._tiles, self._first)
            self._coded = []


def _seen_channels(
    frames: Iterable[NDArray[Any]],
    camera: CameraModel,
    calcium: Iterable[NDArray[Any]] | None,
    calcium_camera: CameraModel,
    excess_noise: float | None,
) -> Iterator[tuple[NDArray[Any], SeenFrame, Floats]]:
    second = None if calcium is None else iter(calcium)
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        if shape is not None and frame.shape != shape:
            raise BadInputError(f"frame {index}: shape {frame.shape}, expected {shape} as of those before it")
        shape = frame.shape
        seen = seen_frame(frame, camera, excess_noise)
        planes = seen.planes
        if second is not None:
            other = next(second, None)
            if other is None or other.shape != shape:
                there = "is missing" if other is None else f"has shape {other.shape}"
                raise BadInputError(f"calcium: frame {index} {there}, expected {shape} as of the puncta channel")
            planes = np.concatenate([planes, seen_frame(other, calcium_camera, excess_noise).planes])
        yield frame, seen, planes


@dataclass(frozen=True)
class _Tile:
    """A part of the frame: what is read, padded to the multiple, and what of the answer is kept."""

    read: tuple[slice, slice]
    pad: tuple[int, int]
    kept: tuple[slice, slice]
    to: tuple[slice, slice]


def _tiles_of(shape: tuple[int, ...], tile_px: int, multiple: int, reach: int) -> list[_Tile]:
    margin = -(-reach // multiple) * multiple
    axes: list[list[tuple[slice, int, slice, slice]]] = []
    for length in shape:
        parts: list[tuple[slice, int, slice, slice]] = []
        step = length if length <= tile_px else max(multiple, (tile_px - 2 * margin) // multiple * multiple)
        for begin in range(0, length, step):
            end = min(begin + step, length)
            low, high = max(0, begin - margin), min(length, end + margin)
            parts.append(
                (slice(low, high), -(high - low) % multiple, slice(begin - low, end - low), slice(begin, end))
            )
        axes.append(parts)
    return [
        _Tile(*[(a, b) for a, b in zip(y, x, strict=True)])  # pyright: ignore[reportArgumentType]
        for y, x in product(*axes)
    ]


def _encoded(net: PunctaNet, planes: list[Floats], tiles: list[_Tile]) -> list[list[Any]]:
    """Return of each frame the features of each tile, as tensors on the device."""
    import torch

    by_tile: list[Any] = []
    with torch.inference_mode():
        for tile in tiles:
            pads = [(0, 0), (0, tile.pad[0]), (0, tile.pad[1])]
            pixels = np.stack([np.pad(p[:, *tile.read], pads, mode="edge") for p in planes])
            by_tile.append(net.module.encode(torch.from_numpy(pixels).to(net.device)))
    return [[features[k : k + 1] for features in by_tile] for k in range(len(planes))]


def _decoded(
    net: PunctaNet,
    coded: list[tuple[NDArray[Any], SeenFrame, list[Any]]],
    before: list[Any],
    after: list[Any],
    tiles: list[_Tile],
    first: int,
) -> Iterator[Answer]:
    import torch

    codes = [before, *[code for _, _, code in coded], after]
    out = np.empty((len(coded), net.shape.n_out, *coded[0][0].shape), np.float32)
    with torch.inference_mode():
        for number, tile in enumerate(tiles):
            triples = [torch.cat([code[number] for code in codes[k : k + 3]], dim=1) for k in range(len(coded))]
            said = net.module.decode(torch.cat(triples)).cpu().numpy()
            out[:, :, *tile.to] = said[:, :, *tile.kept]
    for k, (frame, seen, _) in enumerate(coded):
        yield Answer(first + k, out[k], seen, frame)
