"""`orchestration`: what a plan, its documents and its analyses add to each frame, beside a bare runner."""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._table import Row
from parfocal.callbacks import FocusScores
from parfocal.catalog import stop_server
from parfocal.devices import micromanager_microscope
from parfocal.plans import z_burst, z_stack
from parfocal.session import Session, start_session

_EXPOSURE_S = 0.001
_N_PLANES = 81
_N_FRAMES = 200
_WARM_UP_BURSTS = 6  # 1,200 frames: the ring of 256 MB keeps 1,024 of these


def orchestration(rounds: int = 7) -> list[Row]:
    """Measure ms per frame of stacks and bursts beside pymmcore-plus' MDA runner and a synchronous TiledWriter.

    The same 512x512 frames of Micro-Manager's C++ demo camera at 1 ms. Ours has everything on: OME-Zarr,
    documents into the catalog, focus scored live. The runner writes OME-Zarr; the synchronous writer has Tiled's
    own server, and once more ours, which is quicker. Opening and closing of runs count; the first frames of a
    session do not, for which its ring of frames finds new memory.
    """
    with (
        tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder,
        Peer("pymmcore_mda") as peer,
        Peer("sync_tiledwriter", python=Path(sys.executable)) as writer,
        Peer("sync_tiledwriter", python=Path(sys.executable)) as writer_on_ours,
        _everything_on(Path(folder) / "ours") as (session, microscope),
    ):
        peer.call("prepare", exposure_ms=_EXPOSURE_S * 1e3)
        writer.call("prepare", folder=str(Path(folder) / "synchronous"), exposure_s=_EXPOSURE_S)
        raw = session.catalog.raw
        writer_on_ours.call(
            "prepare",
            folder=str(session.catalog.folder.root),
            exposure_s=_EXPOSURE_S,
            uri=raw.uri,
            api_key=raw.context.api_key,
        )
        number = itertools.count()

        def theirs(kind: str, **size: int) -> float:
            path = Path(folder) / f"theirs-{next(number)}.ome.zarr"
            return peer.call(kind, path=str(path), **size)["seconds"]

        def ours(plan: Callable[[], Any]) -> float:
            began = time.perf_counter()
            session.RE(plan())
            seconds = time.perf_counter() - began
            session.drain(60)
            return seconds

        for _ in range(_WARM_UP_BURSTS):
            ours(lambda: z_burst(microscope, n_frames=_N_FRAMES))
            theirs("burst", n_frames=_N_FRAMES)
        half_range_um = (_N_PLANES - 1) * 0.25
        stack = interleaved(
            lambda: ours(lambda: z_stack(microscope, half_range_um, 0.5)),
            lambda: theirs("stack", n_planes=_N_PLANES),
            rounds=rounds,
        )
        burst = interleaved(
            lambda: ours(lambda: z_burst(microscope, n_frames=_N_FRAMES)),
            lambda: theirs("burst", n_frames=_N_FRAMES),
            rounds=rounds,
        )
        synchronous = interleaved(
            lambda: ours(lambda: z_stack(microscope, half_range_um, 0.5)),
            *(
                lambda peer=peer: peer.call("stack", half_range_um=half_range_um, n_planes=_N_PLANES)["seconds"]
                for peer in (writer, writer_on_ours)
            ),
            rounds=rounds,
        )
        name = f"MDA runner of {peer.name}"
        written_by = f"bp.scan with TiledWriter(batch_size=1) in the RunEngine: {writer.name}, same camera"
        on_ours = f"the same, on our server in place of Tiled's own, {len(raw)} runs in it"

    def row(id: str, ours_s: float, theirs_s: float, n_frames: int, peer_name: str, goal: float = 1.0) -> Row:
        ms = 1e3 / n_frames
        return Row.compared(
            f"orchestration/{id}", ours_s * ms, theirs_s * ms, peer_name=peer_name, unit="ms/frame", goal=goal
        )

    return [
        row("vs-sync-tiledwriter", synchronous[0], synchronous[1], _N_PLANES, written_by, 10),
        row("vs-sync-tiledwriter-on-our-server", synchronous[0], synchronous[2], _N_PLANES, on_ours),
        row("vs-pymmcore-mda", stack[0], stack[1], _N_PLANES, name, 0.5),
        row("burst-vs-pymmcore-mda", burst[0], burst[1], _N_FRAMES, f"{name}, hardware sequence"),
    ]


@contextlib.contextmanager
def _everything_on(folder: Path) -> Generator[tuple[Session, Any]]:
    """Open a session with its catalog and live analysis, on the demo camera."""
    microscope = micromanager_microscope("microscope")
    session = start_session(folder, analyses=[FocusScores])
    try:
        session.use(microscope)
        microscope.camera.exposure_s.put(_EXPOSURE_S)
        yield session, microscope
    finally:
        session.close()
        microscope.destroy()
        stop_server(folder)
