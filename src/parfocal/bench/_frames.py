"""`frames`: pixels to an analysis, from memory, from the local Zarr, and through a Tiled client."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from bluesky import RunEngine
from bluesky import plans as bp

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.catalog import stop_server
from parfocal.devices import Camera
from parfocal.frames import CameraSettings, CapturedFrame, FrameRing, Frames, SourceDescription, clock_s
from parfocal.session import start_session

_SIDE_PX = 2048
_N_FRAMES = 8


def frames(rounds: int = 7) -> list[Row]:
    """Measure how long a 2048x2048 frame takes to an analysis, its pixels summed on arrival.

    Peer of both rows is a Tiled client asking the data folder's own server, as a remote user would.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        session = start_session(folder, RE=RunEngine({}, loop=asyncio.new_event_loop()))
        camera: Any = Camera(name="camera", source=_Noise())
        camera.frames_root = session.catalog.folder.frames
        try:
            uid = cast(Any, session.RE(bp.count([camera], _N_FRAMES)))[0]
            session.drain()
            uri = next(d["uri"] for n, d in session.catalog.documents(uid) if n == "stream_resource")
            memory, disk = Frames(_filled(uri)), Frames(FrameRing(1))
            run: Any = session.catalog.raw[uid]
            client = run["primary"]["camera"]
            index = _counter()
            ours_memory, ours_zarr, tiled = interleaved(
                lambda: median_seconds(lambda: np.sum(memory.get(uri, next(index))), 3),
                lambda: median_seconds(lambda: np.sum(disk.read(uri, next(index))), 3),
                lambda: median_seconds(lambda: np.sum(client[next(index)]), 3),
                rounds=rounds,
            )
        finally:
            session.close()
            camera.destroy()
            stop_server(Path(folder))
    name = "Tiled client, own server on this machine"
    return [
        Row.compared("frames/memory-ms", ours_memory * 1e3, tiled * 1e3, peer_name=name, unit="ms", goal=10),
        Row.compared("frames/zarr-ms", ours_zarr * 1e3, tiled * 1e3, peer_name=name, unit="ms", goal=10),
    ]


class _Noise:
    """A camera of random pixels: as large and as incompressible as a real one, and at no cost."""

    def __init__(self) -> None:
        self._settings = CameraSettings()
        self._rng = np.random.default_rng(0)

    def describe(self) -> SourceDescription:
        return SourceDescription("noise", (_SIDE_PX, _SIDE_PX), np.dtype(np.uint16), self._settings)

    def apply(self, settings: CameraSettings) -> None:
        self._settings = settings

    def snap(self, timeout_s: float) -> CapturedFrame:
        return CapturedFrame(self._rng.integers(0, 4096, (_SIDE_PX, _SIDE_PX), dtype=np.uint16), clock_s())

    def start_sequence(self, n_frames: int | None, z_um: Sequence[float] | None = None) -> None: ...

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        return self.snap(timeout_s)

    def stop_sequence(self) -> None: ...

    def close(self) -> None: ...


def _filled(uri: str) -> FrameRing:
    ring, disk = FrameRing(2 * _N_FRAMES * _SIDE_PX**2 * 2), Frames(FrameRing(1))
    for index in range(_N_FRAMES):
        ring.put(uri, index, disk.read(uri, index))
    return ring


def _counter() -> Any:
    while True:
        yield from range(_N_FRAMES)
