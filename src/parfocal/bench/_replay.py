"""`replay`: stored frames through an analysis beside reading them alone, and many runs on one and two workers."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from bluesky import RunEngine
from bluesky import plans as bp

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.callbacks import Analysis, RunAnalysis, RunView, replay
from parfocal.catalog import Catalog, CatalogWriter, open_catalog, stop_server
from parfocal.devices import Camera
from parfocal.errors import BadInputError
from parfocal.frames import CameraSettings, CapturedFrame, Frame, SourceDescription, clock_s, path_of

_SHAPE = (512, 512)
_N_FRAMES = 400
_N_RUNS, _N_FRAMES_EACH = 12, 60


def replay_rates(rounds: int = 5) -> list[Row]:
    """Measure frames/s of a replay beside zarr alone, and of many runs on two Dask workers beside one."""
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        catalog = open_catalog(folder)
        try:
            return [_beside_zarr(catalog, rounds), *_two_workers(catalog, max(2, rounds // 2))]
        finally:
            catalog.close()
            stop_server(Path(folder))


def _beside_zarr(catalog: Catalog, rounds: int) -> Row:
    """Return frames/s of a replay that takes the mean of each, its derived run written, beside `array[i]`."""
    (uid,) = take_runs(catalog, 1, _N_FRAMES)
    address = next(doc["uri"] for name, doc in catalog.documents(uid) if name == "stream_resource")
    array: Any = zarr.open_array(path_of(address), mode="r")
    writer = CatalogWriter(catalog)

    def ours() -> float:
        began = time.perf_counter()
        (done,) = replay([uid], FrameMeans, catalog=catalog, writer=writer, if_done="supersede")
        seconds = time.perf_counter() - began
        if done.status != "done":
            raise BadInputError(f"bench: the replay ended as {done.status}: {done.reason}")
        return _N_FRAMES / seconds

    def bare() -> float:
        began = time.perf_counter()
        for index in range(_N_FRAMES):
            array[index]
        return _N_FRAMES / (time.perf_counter() - began)

    try:
        ours_per_s, bare_per_s = interleaved(ours, bare, rounds=rounds)
    finally:
        writer.close()
    return Row.compared(
        "replay/vs-bare-zarr",
        ours_per_s,
        bare_per_s,
        peer_name=f"zarr-python {zarr.__version__} reading the same {_N_FRAMES} frames of 512x512, nothing else",
        unit="frames/s",
        goal=0.7,
        higher_is_better=True,
    )


def _two_workers(catalog: Catalog, rounds: int) -> list[Row]:
    """Return s for twelve runs through the focus scores on two worker processes, beside one."""
    try:
        from distributed import LocalCluster
    except ImportError:
        return []
    uids = take_runs(catalog, _N_RUNS, _N_FRAMES_EACH)

    def cluster(n_workers: int) -> Any:
        return LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        )

    def seconds(address: str) -> float:
        began = time.perf_counter()
        done = replay(uids, "focus_scores", catalog=catalog, if_done="supersede", scheduler=address)
        if {one.status for one in done} != {"done"}:
            raise BadInputError(f"bench: a replay failed: {next(one.reason for one in done if one.reason)}")
        return time.perf_counter() - began

    with cluster(2) as two, cluster(1) as one:
        two_s, one_s = interleaved(
            lambda: seconds(two.scheduler_address), lambda: seconds(one.scheduler_address), rounds=rounds
        )
    n = _N_RUNS * _N_FRAMES_EACH
    return [
        Row.compared(
            "replay/two-workers",
            two_s,
            one_s,
            peer_name=f"one worker: {n / one_s:.0f} frames/s, two: {n / two_s:.0f}; 512x512, focus scores",
            unit="s",
            goal=1.5,
        )
    ]


def take_runs(catalog: Catalog, n_runs: int, n_frames: int) -> list[str]:
    """Take runs of a camera that is always ready, and return their uids when the catalog has them."""
    writer = CatalogWriter(catalog)
    engine = RunEngine({}, loop=asyncio.new_event_loop(), call_returns_result=True)
    engine.subscribe(writer)
    with _camera(catalog) as camera:
        uids = [uid for _ in range(n_runs) for uid in engine(bp.count([camera], n_frames)).run_start_uids]
    if not writer.close(120):
        raise BadInputError(f"bench: the catalog does not hold the runs: {writer.last_error}")
    return uids


@contextlib.contextmanager
def _camera(catalog: Catalog) -> Generator[Camera]:
    camera = Camera(name="camera", source=ReadyCamera(), frames_root=catalog.folder.frames)
    try:
        yield camera
    finally:
        camera.destroy()


class ReadyCamera:
    """A `FrameSource` that hands out noise at once: what is measured is what comes after a camera."""

    def __init__(self, shape: tuple[int, int] = _SHAPE) -> None:
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
    """The cheapest analysis: the mean of each frame."""

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
        yield "means", {"mean_adu": float(frame.pixels.mean())}

    def finish(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return ()
