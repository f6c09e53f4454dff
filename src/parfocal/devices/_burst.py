"""Many frames at the camera's own rate: a flyer beside the step-by-step camera."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ophyd.status import DeviceStatus

from parfocal.devices._feed import FrameFeed
from parfocal.devices._frame_documents import ArrayDocuments
from parfocal.devices._owner import Owner
from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CapturedFrame, FrameRing, FrameSource, FrameWriter, SourceDescription

COMPANIONS = ("z_um", "t_s")
_FLUSH_EVERY = 128
_FLUSH_S = 0.25
_IN_FLIGHT = 8


@dataclass(frozen=True)
class BurstSettings:
    """A burst: how many frames, and at which planes (um, one a frame).

    A driver that can moves z itself, in hardware; with others `z_um` is only recorded.
    """

    n_frames: int
    z_um: Sequence[float] | None = None


class BurstCamera(Protocol):
    """What a burst needs of the camera that it is beside; `Camera` has it."""

    source: FrameSource
    owner: Owner
    feed: FrameFeed
    facts: SourceDescription
    ring: FrameRing
    timeout_s: float

    @property
    def name(self) -> str:
        """Its name, the data key of its pixels."""
        ...

    def describe_frames(self) -> dict[str, Any]:
        """Return the data key of the pixels."""
        ...

    def read_configuration(self) -> Any:
        """Return the settings that the frames were taken with."""
        ...

    def describe_configuration(self) -> Any:
        """Describe them."""
        ...

    def check_frame(self, frame: CapturedFrame) -> None:
        """Refuse a frame that came after lost ones, or of another kind than described."""
        ...

    def new_writer(self, companions: tuple[str, ...] = ()) -> FrameWriter:
        """Open an array for frames as described now."""
        ...


class Burst:
    """Take many frames back to back: `prepare`, `kickoff`, `complete`, `collect`.

    One StreamDatum holds many frames; there are no events. Beside the pixels (`<camera>`) lie two 1-D arrays,
    `<camera>_z_um` (NaN where the driver does not move z itself and nobody told) and `<camera>_t_s` (middle
    of each exposure).
    """

    def __init__(self, camera: BurstCamera) -> None:
        self.camera = camera
        self.parent = None
        self.hints: dict[str, Any] = {}
        self._settings = BurstSettings(1)
        self._stop = threading.Event()
        self._writer: FrameWriter | None = None
        self._documents: list[ArrayDocuments] = []
        self._written = 0
        self._status: DeviceStatus | None = None

    @property
    def name(self) -> str:
        """Name of the flyer: the camera's, and `_burst`."""
        return f"{self.camera.name}_burst"

    def prepare(self, value: BurstSettings) -> PlainStatus:
        """Say what the next burst shall be: `bps.prepare(camera.burst, BurstSettings(...), wait=True)`."""
        status = PlainStatus(self)
        if value.n_frames < 1 or (value.z_um is not None and len(value.z_um) != value.n_frames):
            planes = "no" if value.z_um is None else len(value.z_um)
            status.set_exception(
                BadInputError(
                    f"{self.name}: {value.n_frames} frames with {planes} planes: "
                    "at least one frame was expected, and one plane a frame"
                )
            )
            return status
        self._settings = value
        status.set_finished()
        return status

    def kickoff(self) -> PlainStatus:
        """Start the burst; the status is done when the camera is running."""
        n_frames, z_um = self._settings.n_frames, self._settings.z_um
        started = PlainStatus(self)
        self._stop.clear()
        self._status = DeviceStatus(self.camera)
        # A burst that is repeated after a pause starts again at the first frame no document refers to.
        self._written = self._documents[0].emitted if self._documents else 0
        self.camera.owner.submit(lambda: self._run(n_frames, z_um, started, self._status))
        return started

    def complete(self) -> DeviceStatus:
        """Return the status that is done when all frames are on disk."""
        if self._status is None:
            raise HardwareError(f"{self.name}: complete was asked before kickoff")
        return self._status

    def describe_collect(self) -> dict[str, dict[str, Any]]:
        """Describe pixels, z and time: all external."""
        described = {self.camera.name: self.camera.describe_frames()}
        for name, unit in zip(COMPANIONS, ("um", "s"), strict=True):
            described[f"{self.camera.name}_{name}"] = {
                "source": f"parfocal:{self.camera.name}",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [1],
                "external": "STREAM:",
                "units": unit,
            }
        return described

    def read_configuration(self) -> dict[str, Any]:
        """Return the camera's configuration: a burst has none of its own."""
        return dict(self.camera.read_configuration())

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the camera's configuration."""
        return dict(self.camera.describe_configuration())

    def get_index(self) -> int:
        """Return the number of frames on disk."""
        return self._written

    def collect_asset_docs(self, index: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents of the frames that came since the last call."""
        stop = self._written if index is None else min(index, self._written)
        for documents in self._documents:
            yield from documents.collect(stop)

    def stop(self, *, success: bool = False) -> None:
        """End the burst with the frames it has; they can still be collected."""
        self._stop.set()

    def close(self) -> None:
        """End the burst and trim its arrays to the frames that documents refer to."""
        self._stop.set()
        self.camera.owner.call(self._close)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close(self._documents[0].emitted)
        self._writer, self._documents, self._written = None, [], 0

    def _run(
        self, n_frames: int, z_um: Sequence[float] | None, started: PlainStatus, status: DeviceStatus | None
    ) -> None:
        if status is None:
            return
        source = self.camera.source
        shared = self.camera.feed.is_running
        try:
            if self._writer is None:
                self._writer = self.camera.new_writer(COMPANIONS)
                self._documents = [
                    ArrayDocuments(self.camera.name, self._writer.location),
                    *(
                        ArrayDocuments(f"{self.camera.name}_{name}", self._writer.companion_location(name))
                        for name in COMPANIONS
                    ),
                ]
            moves_z = z_um is not None and self.camera.facts.can_sequence_z
            if shared and moves_z:
                raise HardwareError(
                    f"{self.camera.name} runs for a focus lock or a live view; end that before it moves z itself"
                )
            if not shared:
                source.start_sequence(n_frames, z_um if moves_z else None)
            started.set_finished()
            self._fetch(self._writer, n_frames, z_um, self._from_feed() if shared else source.next_frame)
            status.set_finished()
        except Exception as error:
            if not started.done:
                started.set_exception(error)
            status.set_exception(error)
        finally:
            if not shared:
                source.stop_sequence()

    def _from_feed(self) -> Callable[[float], CapturedFrame]:
        """Return what brings the frames of a camera that runs already: those exposed from now on."""
        feed, exposure_s = self.camera.feed, self.camera.facts.settings.exposure_s
        since_s: list[float] = [feed.now_s()]

        def next_frame(_: float) -> CapturedFrame:
            return feed.fetch_since(since_s.pop(), exposure_s) if since_s else feed.fetch()

        return next_frame

    def _fetch(
        self,
        writer: FrameWriter,
        n_frames: int,
        z_um: Sequence[float] | None,
        next_frame: Callable[[float], CapturedFrame],
    ) -> None:
        camera = self.camera
        timeout_s = camera.facts.settings.exposure_s + camera.timeout_s
        first = self._written
        sink = _Sink(writer, camera.ring, first)
        flushed_s = time.monotonic()
        try:
            for k in range(n_frames):
                if self._stop.is_set():
                    raise HardwareError(f"{self.name} was stopped after {k} of {n_frames} frames")
                frame = next_frame(timeout_s)
                camera.check_frame(frame)
                sink.take(first + k, frame, z_um[k] if z_um is not None else float("nan"))
                if sink.waiting >= _FLUSH_EVERY or time.monotonic() - flushed_s > _FLUSH_S:
                    self._written = sink.flush()
                    flushed_s = time.monotonic()
        finally:
            self._written = sink.flush()


class _Sink:
    """Frames on their way to the disk: several writes in flight, so that the camera never waits for one."""

    def __init__(self, writer: FrameWriter, ring: FrameRing, first: int) -> None:
        self._writer = writer
        self._ring = ring
        self._uri = writer.location.uri
        self._on_disk = first
        self._in_flight: deque[Callable[[], None]] = deque()
        self._companions: list[tuple[float, float]] = []

    @property
    def waiting(self) -> int:
        """Frames since the last flush."""
        return len(self._companions)

    def take(self, index: int, frame: CapturedFrame, told_z_um: float) -> None:
        """Begin to write a frame; wait for the oldest when too many are on their way."""
        self._in_flight.append(self._writer.pixels.write_later(index, frame.pixels[np.newaxis]))
        self._ring.put(self._uri, index, frame.pixels)
        self._companions.append((frame.z_um if frame.z_um is not None else told_z_um, frame.t_s))
        if len(self._in_flight) > _IN_FLIGHT:
            self._in_flight.popleft()()

    def flush(self) -> int:
        """Wait for all frames, write their z and time, and return how many frames are on disk."""
        while self._in_flight:
            self._in_flight.popleft()()
        if self._companions:
            values = np.array(self._companions, dtype=np.float64)
            for column, name in enumerate(COMPANIONS):
                self._writer.companions[name].write_many(self._on_disk, values[:, column])
            self._on_disk += len(self._companions)
            self._companions.clear()
        return self._on_disk
