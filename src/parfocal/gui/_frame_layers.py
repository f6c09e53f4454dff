"""Frames of a run as layers: one a camera, stream and channel, on axes that the documents tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import Catalog, remote_frames
from parfocal.errors import BadInputError
from parfocal.frames import Frames, path_of
from parfocal.gui._grid import AXES, FrameGrid, PlaneArray, TakenFrame, grid_of
from parfocal.gui._layers import Layer

_COLOURS = ("gray", "green", "magenta", "cyan", "yellow", "red")
_MAIN_STREAM = "primary"

NamedDocuments = list[tuple[str, dict[str, Any]]]


@dataclass
class RunFrames:
    """The frames of one camera in one stream of a run.

    Attributes
    ----------
    stream, data_key : str
    shape_px : (int, int)
        y, x.
    dtype : numpy dtype
    pixel_um : (float, float)
        y, x.
    uri : str
        Of their array.
    frames : dict of int to TakenFrame
        By index.
    """

    stream: str
    data_key: str
    shape_px: tuple[int, int]
    dtype: np.dtype[Any]
    pixel_um: tuple[float, float]
    uri: str = ""
    frames: dict[int, TakenFrame] = field(default_factory=dict[int, TakenFrame])

    @property
    def grid(self) -> FrameGrid:
        """The axes along which they differ."""
        return grid_of(self.frames.values())

    @property
    def channels(self) -> list[str]:
        """Channels, in the order in which they were taken."""
        return list(dict.fromkeys(self.frames[index].channel for index in sorted(self.frames)))


def frames_of(documents: NamedDocuments, frames: Frames | None = None) -> list[RunFrames]:
    """Return all frames that the documents of a run tell of; the stream that is looked at first comes first.

    Frames without events, as of a burst, stand along `plane`; with `frames` their z is read.
    """
    found: dict[tuple[str, str], RunFrames] = {}
    streams: dict[str, str] = {}
    resources: dict[str, tuple[str, str]] = {}
    ranges: dict[tuple[str, str], int] = {}
    beside: dict[tuple[str, str], str] = {}  # numbers beside the frames of a burst
    z_key = ""
    for name, doc in documents:
        if name == "start":
            z_key = str(doc.get("parfocal", {}).get("axes", {}).get("z", "stage_z"))
        elif name == "descriptor":
            streams[doc["uid"]] = doc["name"]
            for key, about in doc["data_keys"].items():
                if about.get("external") and len(about["shape"]) >= 2:
                    one = _described(doc, key, about)
                    found.setdefault((doc["name"], key), one)
        elif name == "stream_resource":
            resources[doc["uid"]] = (doc["data_key"], doc["uri"])
        elif name == "stream_datum":
            key, uri = resources[doc["stream_resource"]]
            where = (streams[doc["descriptor"]], key)
            ranges[where] = max(ranges.get(where, 0), int(doc["indices"]["stop"]))
            if where in found:
                found[where].uri = uri
            else:
                beside[where] = uri
        elif name == "event":
            for (stream, key), one in found.items():
                if stream == streams[doc["descriptor"]] and f"{key}_frame" in doc["data"]:
                    _note(one, doc, z_key)
    for where, one in found.items():
        if not one.frames and where in ranges:
            z_um = _numbers(beside.get((where[0], f"{where[1]}_z_um"), ""), ranges[where], frames)
            one.frames = {k: TakenFrame(k, (0, 0, 0, k), z_um=z_um[k]) for k in range(ranges[where])}
    there = [one for one in found.values() if one.uri and one.frames]
    return sorted(there, key=lambda one: one.stream != _MAIN_STREAM)


def frame_layers(catalog: Catalog, documents: NamedDocuments) -> tuple[list[Layer], RunFrames]:
    """Return the image layers of a run, and the frames that labels and puncta were found in.

    Raises
    ------
    BadInputError
        The run holds no frames, or they can be read neither here nor through the server.
    """
    frames = Frames(remote=remote_frames(catalog, documents))
    taken = frames_of(documents, frames)
    layers: list[Layer] = []
    for one in taken:
        is_main = one.stream == _MAIN_STREAM or one is taken[0]
        for k, channel in enumerate(one.channels):
            name = " ".join(
                word for word in (one.stream if one.stream != _MAIN_STREAM else "", one.data_key, channel) if word
            )
            colour = _COLOURS[k % len(_COLOURS)] if len(one.channels) > 1 else "gray"
            layers.append(_layer(one, channel, frames, name, colour, is_main))
    if not layers:
        raise BadInputError(f"run {documents[0][1]['uid'][:8]} holds no frames to look at")
    return layers, taken[0]


def _layer(one: RunFrames, channel: str, frames: Frames, name: str, colour: str, is_visible: bool) -> Layer:
    grid = one.grid
    index_at: dict[tuple[int, ...], TakenFrame] = {}
    for index in sorted(one.frames):
        frame = one.frames[index]
        before = index_at.get(grid.at(frame.place))
        if frame.channel == channel and (before is None or frame.attempt >= before.attempt):
            index_at[grid.at(frame.place)] = frame
    middle = list(index_at.values())[len(index_at) // 2]
    try:
        seen = np.asarray(frames.get(one.uri, middle.index), np.float32)
    except BadInputError as error:
        here = f"frames of this run are not at {path_of(one.uri)}: were they moved or removed?"
        raise BadInputError(here) from error
    low, high = np.percentile(seen, (1, 99.8))
    return Layer(
        "image",
        PlaneArray((*grid.shape, *one.shape_px), one.dtype, partial(_pixels, index_at, frames, one.uri)),
        {
            "name": name,
            **grid.placed(one.pixel_um),
            "contrast_limits": (float(low), float(max(high, low + 1))),
            "colormap": colour,
            "blending": "additive" if colour != "gray" else "translucent",
            "visible": is_visible,
            "metadata": {"uri": one.uri, "stream": one.stream, "channel": channel},
        },
    )


def _pixels(
    index_at: Mapping[tuple[int, ...], TakenFrame], frames: Frames, uri: str, where: tuple[int, ...]
) -> NDArray[Any] | None:
    taken = index_at.get(where)
    return None if taken is None else frames.get(uri, taken.index)


def _described(descriptor: dict[str, Any], key: str, about: dict[str, Any]) -> RunFrames:
    pixel = (1.0, 1.0)
    for device in descriptor.get("configuration", {}).values():
        told = device["data"].get(f"{key}_pixel_size_um")
        if told is not None:
            pixel = (float(told[0]), float(told[1]))
    height, width = (int(n) for n in about["shape"][-2:])
    return RunFrames(descriptor["name"], key, (height, width), np.dtype(about.get("dtype_numpy", "<u2")), pixel)


def _note(one: RunFrames, event: dict[str, Any], z_key: str) -> None:
    data = event["data"]
    index = int(data[f"{one.data_key}_frame"])
    if "point_plane" in data or "point_time_point" in data:
        place = tuple(int(data.get(f"point_{axis}", 0)) for axis in AXES)
    else:  # another's plan: its frames one after the other
        place = (0, 0, int(event["seq_num"]) - 1, 0)
    position, tile, time_point, plane = place
    one.frames[index] = TakenFrame(
        index,
        (position, tile, time_point, plane),
        str(data.get("point_channel", "")),
        float(data.get(z_key, math.nan)),
        float(data.get(f"{one.data_key}_t_s", event["time"])),
        int(data.get("point_attempt", 1)),
    )


def _numbers(uri: str, n: int, frames: Frames | None) -> NDArray[np.float64]:
    if not uri or frames is None:
        return np.full(n, np.nan)
    return np.asarray(frames.read_range(uri, 0, n), np.float64)
