"""`frames`: pixels to an analysis, from memory, from the local Zarr, and through a Tiled client."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.frames import FrameRing, Frames
from parfocal.plans import time_lapse
from parfocal.session import start_session

_SIDE_PX = 2048
_N_FRAMES = 8


def frames(rounds: int = 7) -> list[Row]:
    """Measure how long a 2048x2048 frame takes to an analysis, its pixels summed on arrival.

    Peer of both rows is a Tiled client asking the data folder's own server, as a remote user would.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        session = start_session(folder, RE=RunEngine({}, loop=asyncio.new_event_loop()))
        microscope: Any = simulated_microscope(
            "microscope", sample="puncta", height_px=_SIDE_PX, width_px=_SIDE_PX, realtime=False
        )
        try:
            session.use(microscope)
            uid = session.RE(time_lapse(microscope, _N_FRAMES, 0.0))[0]  # pyright: ignore[reportIndexIssue]
            session.drain()
            uri = next(d["uri"] for n, d in session.catalog.documents(uid) if n == "stream_resource")
            memory, disk = Frames(_filled(uri)), Frames(FrameRing(1))
            client: Any = session.catalog.raw[uid]["primary"]["camera"]
            index = _counter()
            ours_memory, ours_zarr, tiled = interleaved(
                lambda: median_seconds(lambda: np.sum(memory.get(uri, next(index))), 3),
                lambda: median_seconds(lambda: np.sum(disk.read(uri, next(index))), 3),
                lambda: median_seconds(lambda: np.sum(client[next(index)]), 3),
                rounds=rounds,
            )
        finally:
            session.close()
            microscope.destroy()
            stop_server(Path(folder))
    name = "Tiled client, own server on this machine"
    return [
        Row.compared("frames/memory-ms", ours_memory * 1e3, tiled * 1e3, peer_name=name, unit="ms", goal=10),
        Row.compared("frames/zarr-ms", ours_zarr * 1e3, tiled * 1e3, peer_name=name, unit="ms", goal=10),
    ]


def _filled(uri: str) -> FrameRing:
    ring, disk = FrameRing(2 * _N_FRAMES * _SIDE_PX**2 * 2), Frames(FrameRing(1))
    for index in range(_N_FRAMES):
        ring.put(uri, index, disk.read(uri, index))
    return ring


def _counter() -> Any:
    while True:
        yield from range(_N_FRAMES)
