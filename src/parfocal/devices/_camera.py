"""The camera as an ophyd device: a driver, a frame writer and the documents, composed."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import platformdirs
from numpy.typing import NDArray
from ophyd import Component, Device, Kind

from parfocal.devices._burst import Burst
from parfocal.devices._feed import FrameFeed
from parfocal.devices._frame_documents import ArrayDocuments
from parfocal.devices._measured_noise import MeasuredNoise
from parfocal.devices._owner import Owner
from parfocal.devices._settings import FactSignal, SettingSignal
from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import (
    CameraSettings,
    CapturedFrame,
    Codec,
    FrameRing,
    FrameSource,
    FrameWriter,
    SourceDescription,
    shared_ring,
)

Reading = OrderedDict[str, dict[str, Any]]

# The RunEngine's thread, which goes on with documents, would else keep the interpreter from the camera's threads
# until it waits: the exposure would begin later by more than this.
_HEAD_START_S = 0.00025


@dataclass
class _OpenArray:
    """The array being written, with its documents."""

    writer: FrameWriter
    documents: ArrayDocuments


@dataclass(frozen=True)
class _Pending:
    """A frame on disk that no event refers to yet."""

    index: int
    pixels: NDArray[np.generic]
    t_s: float


class Camera(Device):
    """A camera whose frames are on disk when `trigger` is done.

    Compose it from a `FrameSource` (the driver); the rest is the same for every camera. Each event carries
    the internal key `<name>_frame`, the frame's index in the array and the only key to its pixels, and
    `<name>_t_s`, the middle of the exposure. The pixels themselves are the external key `<name>`.

    `feed` gives its frames without end to a focus lock or a live view, while plans go on taking frames.

    One run, one image stream a camera: frames of a second stream in the same run go to a second array, and
    going back and forth between the two is refused.

    Parameters
    ----------
    source : FrameSource
        The driver. May be left out where the parent device has a `backend.camera`.
    frames_root : Path, optional
        Where frames go. Default: `frames` in the data folder (`PARFOCAL_DATA`, else the user's own).
    timeout_s : float
        How long to wait for a frame beyond its exposure.
    """

    exposure_s = Component(SettingSignal, setting="exposure_s", units="s", kind=Kind.config)
    gain = Component(SettingSignal, setting="gain", units="", kind=Kind.config)
    binning = Component(SettingSignal, setting="binning", units="px", kind=Kind.config)
    roi_px = Component(SettingSignal, setting="roi_px", units="px", kind=Kind.config)
    model = Component(FactSignal, fact="model", kind=Kind.config)
    frame_shape = Component(FactSignal, fact="shape", units="px", kind=Kind.config)
    frame_dtype = Component(FactSignal, fact="dtype", kind=Kind.config)
    pixel_size_um = Component(FactSignal, fact="pixel_size_um", units="um", kind=Kind.config)
    na = Component(FactSignal, fact="na", kind=Kind.config)
    wavelength_um = Component(FactSignal, fact="wavelength_um", units="um", kind=Kind.config)
    offset_adu = Component(FactSignal, fact="offset_adu", units="ADU", kind=Kind.config)
    offset_sd_adu = Component(FactSignal, fact="offset_sd_adu", units="ADU", kind=Kind.config)
    gain_adu_per_e = Component(FactSignal, fact="gain_adu_per_e", units="ADU/e-", kind=Kind.config)
    read_noise_e = Component(FactSignal, fact="read_noise_e", units="e-", kind=Kind.config)
    em_gain = Component(FactSignal, fact="em_gain", kind=Kind.config)
    saturation_adu = Component(FactSignal, fact="saturation_adu", units="ADU", kind=Kind.config)
    temperature_c = Component(FactSignal, fact="temperature_c", units="C", kind=Kind.omitted)
    simulated = Component(FactSignal, fact="simulated", kind=Kind.config)
    serial = Component(FactSignal, fact="serial", kind=Kind.config)
    noise_run = Component(FactSignal, fact="noise_run", kind=Kind.config)

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        source: FrameSource | None = None,
        frames_root: Path | str | None = None,
        timeout_s: float = 5.0,
        codec: Codec = "none",
        fsync: bool = False,
        ring: FrameRing | None = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        self.source: FrameSource = source if source is not None else parent.backend.camera
        self.owner = Owner(name)
        self._noise: MeasuredNoise | None = None
        self.facts: SourceDescription = self.source.describe()
        self.timeout_s = timeout_s
        self.codec: Codec = codec
        self.fsync = fsync
        self.ring = ring if ring is not None else shared_ring()
        self._frames_root = Path(frames_root) if frames_root is not None else None
        self._array: _OpenArray | None = None
        self._pending: _Pending | None = None
        self._in_flight: Future[Any] | None = None
        self._head_start = threading.Event()  # never set
        self._reading: Reading | None = None
        self._reconfigured = False
        kwargs.setdefault("labels", {"detectors"})  # what IPython's %ct counts
        super().__init__(prefix, name=name, parent=parent, **kwargs)
        if self.facts.temperature_c is not None:
            self.temperature_c.kind = Kind.config
        self.burst = Burst(self)
        self.feed = FrameFeed(
            self.source, self.owner, name, lambda: self.facts.settings.exposure_s + self.timeout_s
        )

    @property
    def frames_root(self) -> Path:
        """Folder under which frames are written, by date."""
        return self._frames_root if self._frames_root is not None else default_frames_root()

    @frames_root.setter
    def frames_root(self, root: Path | str) -> None:
        self._frames_root = Path(root)

    @property
    def last_frame(self) -> NDArray[np.generic] | None:
        """The frame of the last trigger `[y, x]`, read-only; None before the first."""
        return self._pending.pixels if self._pending is not None else None

    @property
    def noise(self) -> MeasuredNoise | None:
        """Its measured noise, which then counts instead of what the driver tells; None for none."""
        return self._noise

    @noise.setter
    def noise(self, noise: MeasuredNoise | None) -> None:
        self._noise = noise
        self.facts = self.owner.call(self._describe_source)

    def _describe_source(self) -> SourceDescription:
        facts = self.source.describe()
        return self._noise.into(facts) if self._noise is not None else facts

    # -- settings -----------------------------------------------------------------------------------

    def apply_settings(self, settings: CameraSettings) -> None:
        """Set exposure, gain, binning and ROI in the owner's thread.

        Raises
        ------
        BadInputError
            The camera cannot do it, or it would change the frame's shape or dtype in the middle of a run.
        HardwareError
            ROI or binning, while somebody reads the camera's feed.
        """
        before = self.facts

        def apply() -> SourceDescription:
            if self.feed.is_running:
                now = self.facts.settings
                if (settings.binning, settings.roi_px) != (now.binning, now.roi_px):
                    raise HardwareError(
                        f"{self.name} runs for a focus lock or a live view; end that, then change ROI or binning"
                    )
                self.feed.apply(settings)
            else:
                self.source.apply(settings)
            return self._describe_source()

        after = self.owner.call(apply)
        if self._array is not None and (after.shape, after.dtype) != (before.shape, before.dtype):
            self.owner.call(lambda: self.source.apply(before.settings))
            raise BadInputError(
                f"{self.name}: frames of {after.dtype} {after.shape} cannot join a run of "
                f"{before.dtype} {before.shape}; change ROI or binning between runs"
            )
        self.facts = after

    def __repr__(self) -> str:
        # The RunEngine asks for it at each message; ophyd's own lists all components, which takes its time.
        return f"{type(self).__name__}(name={self.name!r})"

    # -- one frame, one event -----------------------------------------------------------------------

    def stage(self) -> list[object]:
        """Get ready for a run: the next frame opens a new array."""
        self._close_array()
        self.facts = self.owner.call(self._describe_source)
        return super().stage()

    def unstage(self) -> list[object]:
        """Wait for a frame under way, then trim the array to the frames that events refer to."""
        if self._in_flight is not None and not self._in_flight.done():
            done = threading.Event()
            self._in_flight.add_done_callback(lambda _: done.set())
            done.wait(self.facts.settings.exposure_s + self.timeout_s)
        self.burst.close()
        self._close_array()
        return super().unstage()

    def trigger(self) -> PlainStatus:
        """Take one frame; the status is done when it is on disk, and fails where there is none."""
        status = PlainStatus(self)
        asked_s = self.feed.now_s()
        future = self.owner.submit(lambda: self._capture(asked_s))
        self._in_flight = future

        def finish(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                status.set_finished()
            else:
                status.set_exception(error)

        self._head_start.wait(_HEAD_START_S)
        if future.done() and not self.owner.is_closed:
            # Not from here: the RunEngine is to have the status before it fails.
            self.owner.submit(lambda: finish(future))
        else:
            future.add_done_callback(finish)
        return status

    def read(self) -> Reading:
        """Return the frame's index and time (not its pixels: they are external)."""
        reading: Reading = cast(Reading, super().read())
        pending = self._pending
        stamp = pending.t_s if pending is not None else time.time()
        index = pending.index if pending is not None else -1
        reading[f"{self.name}_frame"] = {"value": index, "timestamp": stamp}
        reading[f"{self.name}_t_s"] = {"value": stamp, "timestamp": stamp}
        self._reading = reading
        return reading

    def describe(self) -> Reading:
        """Describe the frame (external) and its index and time.

        The RunEngine asks once per run and stream. So a frame that is asked about after others were emitted
        belongs to a new run or stream, and is moved to an array of its own.
        """
        if self._array is not None and self._array.documents.emitted and not self._reconfigured:
            self._move_pending_to_new_array()
        self._reconfigured = False
        description = cast(Reading, super().describe())
        description[self.name] = self.describe_frames()
        description[f"{self.name}_frame"] = {
            "source": f"parfocal:{self.name}",
            "dtype": "integer",
            "dtype_numpy": "<i8",
            "shape": [],
        }
        description[f"{self.name}_t_s"] = {
            "source": f"parfocal:{self.name}",
            "dtype": "number",
            "dtype_numpy": "<f8",
            "shape": [],
            "units": "s",
        }
        return description

    def describe_frames(self) -> dict[str, Any]:
        """Return the data key of the pixels."""
        return {
            "source": f"parfocal:{self.facts.model}",
            "dtype": "array",
            "dtype_numpy": self.facts.dtype.str,
            "shape": list(self.facts.shape),
            "dims": ["y", "x"],
            "external": "STREAM:",
            "units": "ADU",
        }

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the stream datum of the frame just read, and the stream resource before the first."""
        if self._pending is None or self._array is None:
            return
        documents = self._array.documents
        yield from documents.collect(self._pending.index + 1)

    def configure(self, d: dict[str, Any]) -> tuple[Any, Any]:
        """Change settings; the frames go on into the same array."""
        self._reconfigured = True
        if self._array is not None:
            self._array.documents.allow_new_descriptor()
        return super().configure(d)

    def pause(self) -> None:
        """Do nothing: a frame that no event refers to is overwritten when the plan goes on."""

    def resume(self) -> None:
        """Do nothing: see `pause`."""

    def stop(self, *, success: bool = False) -> None:
        """Stop a burst under way; a single exposure ends by itself."""
        self.burst.stop()
        super().stop(success=success)

    def destroy(self) -> None:
        """Let go of the hardware; doing so again does nothing."""
        if not self.owner.is_closed:
            self.owner.call(self.feed.shut)
            self.owner.call(self.source.close)
            self.owner.close()
        super().destroy()

    # -- in the owner's thread ----------------------------------------------------------------------

    def _capture(self, asked_s: float) -> None:
        exposure_s = self.facts.settings.exposure_s
        if self.feed.is_running:
            frame = self.feed.fetch_since(asked_s, exposure_s)
        else:
            frame = self.source.snap(exposure_s + self.timeout_s)
        self.check_frame(frame)
        array = self._ensure_array()
        if array.documents.is_mixed:
            raise HardwareError(
                f"{self.name} was read into two streams of one run by turns; read it into one stream a run"
            )
        index = array.documents.emitted
        self._store(array, index, frame.pixels, frame.t_s)

    def check_frame(self, frame: CapturedFrame) -> None:
        """Refuse a frame that came after lost ones, or of another kind than described."""
        if frame.dropped_before:
            raise HardwareError(f"{self.name} lost {frame.dropped_before} frame(s) before this one")
        if frame.pixels.shape != self.facts.shape or frame.pixels.dtype != self.facts.dtype:
            raise HardwareError(
                f"{self.name} delivered {frame.pixels.dtype} {frame.pixels.shape}, "
                f"expected {self.facts.dtype} {self.facts.shape} as described"
            )

    def _store(self, array: _OpenArray, index: int, pixels: NDArray[np.generic], t_s: float) -> None:
        array.writer.write(index, pixels)
        self.ring.put(array.documents.location.uri, index, pixels)
        self._pending = _Pending(index, pixels, t_s)

    def _ensure_array(self) -> _OpenArray:
        if self._array is None:
            writer = self.new_writer()
            self._array = _OpenArray(writer, ArrayDocuments(self.name, writer.location))
        return self._array

    def new_writer(self, companions: tuple[str, ...] = ()) -> FrameWriter:
        """Open an OME-Zarr for frames as described now."""
        now = datetime.now()
        name = f"{self.name}_{now:%H%M%S}_{uuid4().hex[:8]}.ome.zarr"
        return FrameWriter(
            self.frames_root / f"{now:%Y/%m/%d}" / name,
            self.facts.shape,
            self.facts.dtype,
            pixel_size_um=self.facts.pixel_size_um,
            companions=companions,
            codec=self.codec,
            fsync=self.fsync,
        )

    # -- arrays -------------------------------------------------------------------------------------

    def _move_pending_to_new_array(self) -> None:
        pending, old = self._pending, self._array
        if pending is None or old is None or pending.index < old.documents.emitted:
            return

        def move() -> None:
            old.writer.close(old.documents.emitted)
            self._array = None
            self._store(self._ensure_array(), 0, pending.pixels, pending.t_s)

        self.owner.call(move)
        if self._reading is not None:
            # The RunEngine read before it asked; what it holds is this dictionary.
            self._reading[f"{self.name}_frame"]["value"] = 0

    def _close_array(self) -> None:
        array, self._array, self._pending = self._array, None, None
        if array is not None:
            self.owner.call(lambda: array.writer.close(array.documents.emitted))


def default_frames_root() -> Path:
    """Return `frames` in the data folder: `PARFOCAL_DATA`, else the user's own."""
    data = os.environ.get("PARFOCAL_DATA") or platformdirs.user_data_dir("parfocal")
    return Path(data) / "frames"
