"""`replay`: stored frames through an analysis beside reading them alone, and many runs on one and two workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import zarr
from bluesky import RunEngine
from bluesky import plans as bp
from ophyd.sim import SynAxis

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.callbacks import Analysis, Replayed, RunAnalysis, RunView, replay
from parfocal.catalog import Catalog, CatalogWriter, find_server, open_catalog, stop_server
from parfocal.devices import Camera
from parfocal.errors import BadInputError
from parfocal.frames import CameraSettings, CapturedFrame, Frame, SourceDescription, clock_s, path_of

_N_FRAMES = {2048: 400, 512: 2000}  # a run
_N_RUNS_READ = 1
_N_RUNS, _N_FRAMES_EACH, _SCALED_SIZE_PX = 8, 40, 2048  # so that the analysis is most of the work


def replay_rates(rounds: int = 5) -> list[Row]:
    """Measure frames/s of a replay beside zarr alone, and of many runs on two Dask workers beside one."""
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        catalog = open_catalog(folder)
        try:
            beside = [_beside_zarr(catalog, size_px, rounds) for size_px in _N_FRAMES]
            return [*beside, *_two_workers(catalog, max(2, rounds // 2))]
        finally:
            catalog.close()
            stop_server(Path(folder))


def _beside_zarr(catalog: Catalog, size_px: int, rounds: int) -> Row:
    """Return frames/s of a replay that looks at each, its derived runs written, beside `array[i]`."""
    n_frames = _N_FRAMES[size_px]
    uids = take_runs(catalog, _N_RUNS_READ, n_frames, size_px)
    paths = [_frames_of(catalog, uid) for uid in uids]
    n_all = n_frames * len(uids)
    writer = CatalogWriter(catalog)

    def ours() -> float:
        began = time.perf_counter()
        done = replay(uids, FrameMeans, catalog=catalog, writer=writer, if_done="supersede")
        seconds = time.perf_counter() - began
        _all_done(done)
        return n_all / seconds

    def bare() -> float:
        began = time.perf_counter()
        for path in paths:
            array: Any = zarr.open_array(path, mode="r")
            for index in range(n_frames):
                array[index]
        return n_all / (time.perf_counter() - began)

    try:
        ours_per_s, bare_per_s = interleaved(ours, bare, rounds=rounds)
    finally:
        writer.close()
    return Row.compared(
        "replay/vs-bare-zarr" + ("" if size_px == 2048 else f"-{size_px}"),
        ours_per_s,
        bare_per_s,
        peer_name=f"zarr-python {zarr.__version__} reading the same {n_all} frames, {size_px}x{size_px}, no more",
        unit="frames/s",
        goal=0.7,
        higher_is_better=True,
    )


def _two_workers(catalog: Catalog, rounds: int) -> list[Row]:
    """Return frames/s of runs through the focus scores on two worker processes, beside one.

    Each worker has one thread, and its kernels one core, so that what grows with their number is what they do at
    the same time. The server that they share, and the processes that give them work, need cores too: how many
    cores were busy is in the row's name, for whoever judges whether there were enough.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        return []
    uids = take_runs(catalog, _N_RUNS, _N_FRAMES_EACH, _SCALED_SIZE_PX)
    n_frames = _N_RUNS * _N_FRAMES_EACH
    server = find_server(catalog.folder)
    busy: dict[int, list[float]] = {1: [], 2: []}

    def cluster(n_workers: int) -> Any:
        return LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50)

    def pids(address: str) -> list[int]:
        with Client(address, set_as_default=False) as client:
            ran: Any = client.run(os.getpid)
            return [*ran.values(), *([server.pid] if server else [])]

    def frames_per_s(address: str, n_workers: int, processes: list[psutil.Process]) -> float:
        cpu_s, began = _cpu_s(processes), time.perf_counter()
        done = replay(uids, "focus_scores", catalog=catalog, if_done="supersede", scheduler=address)
        seconds = time.perf_counter() - began
        _all_done(done)
        busy[n_workers].append((_cpu_s(processes) - cpu_s) / seconds)
        return n_frames / seconds

    with cluster(2) as two, cluster(1) as one:
        clusters = ((two.scheduler_address, 2), (one.scheduler_address, 1))
        timed = [partial(frames_per_s, at, n, [psutil.Process(pid) for pid in pids(at)]) for at, n in clusters]
        two_per_s, one_per_s = interleaved(*timed, rounds=rounds)
    told = "; ".join(
        f"{n} worker(s): {per_s:.0f} frames/s, {median(busy[n][1:]):.1f} cores busy with them and the server"
        for n, per_s in ((1, one_per_s), (2, two_per_s))
    )
    return [
        Row.compared(
            "replay/two-workers",
            two_per_s,
            one_per_s,
            peer_name=f"one worker. {told}; {os.cpu_count()} cores; {_SCALED_SIZE_PX} px, focus scores",
            unit="frames/s",
            goal=1.5,
            higher_is_better=True,
        )
    ]


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def _all_done(done: list[Replayed]) -> None:
    for one in done:
        if one.status != "done":
            raise BadInputError(f"bench: the replay of {one.uid[:8]} ended as {one.status}: {one.reason}")


def _frames_of(catalog: Catalog, uid: str) -> Path:
    return path_of(next(doc["uri"] for name, doc in catalog.documents(uid) if name == "stream_resource"))


def take_runs(catalog: Catalog, n_runs: int, n_frames: int, size_px: int = 512) -> list[str]:
    """Take runs of a camera that is always ready, and return their uids when the catalog has them."""
    writer = CatalogWriter(catalog)
    engine = RunEngine({}, loop=asyncio.new_event_loop(), call_returns_result=True)
    engine.subscribe(writer)
    z: Any = SynAxis(name="z")
    with _camera(catalog, size_px) as camera:
        taken: list[Any] = [engine(bp.scan([camera], z, -10.0, 10.0, n_frames)) for _ in range(n_runs)]
    uids: list[str] = [one.run_start_uids[0] for one in taken]
    if not writer.close(120):
        raise BadInputError(f"bench: the catalog does not hold the runs: {writer.last_error}")
    return uids


@contextlib.contextmanager
def _camera(catalog: Catalog, size_px: int) -> Generator[Any]:
    camera = Camera(name="camera", source=ReadyCamera((size_px, size_px)), frames_root=catalog.folder.frames)
    try:
        yield camera
    finally:
        camera.destroy()


class ReadyCamera:
    """A `FrameSource` that hands out noise at once: what is measured is what comes after a camera."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._frames = np.random.default_rng(0).integers(100, 4000, (4, *shape), dtype=np.uint16)
        self._settings = CameraSettings(exposure_s=0.001)
        self._n = 0

    def describe(self) -> SourceDescription:
        """Return what it is."""
        return SourceDescription("ready", self._frames.shape[1:], self._frames.dtype, self._settings)  # pyright: ignore[reportArgumentType]  (two axes)

    def apply(self, settings: CameraSettings) -> None:
        """Take settings, of which only the exposure is told on."""
        self._settings = settings

    def snap(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame."""
        del timeout_s
        self._n += 1
        return CapturedFrame(self._frames[self._n % len(self._frames)].copy(), clock_s())

    def start_sequence(self, n_frames: int | None, z_um: Any = None) -> None:
        """Begin, which it always has."""

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame."""
        return self.snap(timeout_s)

    def stop_sequence(self) -> None:
        """End; nothing runs."""

    def close(self) -> None:
        """Let go of nothing."""


class FrameMeans(Analysis):
    """As cheap as an analysis gets: the mean of every sixteenth pixel, each way, of each frame."""

    name = "frame_means"
    version = "1"

    def open(self, run: RunView) -> RunAnalysis:
        """Return the science of one run."""
        del run
        return _Means()


class _Means:
    columns: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
        "means": {"mean_adu": {"dtype": "number", "dtype_numpy": "<f8", "shape": []}}
    }
    verdict = ""

    def frame(self, frame: Frame) -> Iterable[tuple[str, Mapping[str, Any]]]:
        yield "means", {"mean_adu": float(frame.pixels[::16, ::16].mean())}

    def finish(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return ()
