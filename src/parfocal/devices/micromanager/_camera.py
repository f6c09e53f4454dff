"""The camera of a Micro-Manager configuration."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._device_clock import DeviceClock
from parfocal.devices._owner import Owner
from parfocal.devices._told_optics import OpticsTold
from parfocal.devices.micromanager._core import SIMULATED_LIBRARIES, in_one_line
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, SourceDescription, clock_s
from parfocal.optics import CameraModel

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pymmcore_plus import CMMCorePlus, Metadata

_POLL_S = 0.0003
_EARLIEST = 0.75  # of the interval between frames
_LOOK_S = 0.05  # so often it is seen whether the camera still runs
_SERIALS = ("SerialNumber", "Serial Number", "CameraSerialNumber", "Camera Serial", "CameraID")
_DTYPES: dict[int, np.dtype[np.generic]] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16)}


@dataclass
class _Sequence:
    """A sequence under way."""

    clock: DeviceClock
    n_frames: int | None
    z_um: Sequence[float] | None
    fetched: int = 0
    came_s: float = 0.0
    intervals_s: tuple[float, float] = (0.0, 0.0)

    def note_arrival(self) -> None:
        """Note that a frame came, and how long after the one before."""
        now_s = clock_s()
        self.intervals_s = (self.intervals_s[1], now_s - self.came_s if self.fetched else 0.0)
        self.came_s = now_s

    def pause_s(self) -> float:
        """Return how long to wait before the core is asked again."""
        # Each question takes time from who else computes. The shorter of two intervals: after a camera's
        # hiccup, the next frame is not late.
        surely_not_yet_s = self.came_s + _EARLIEST * min(self.intervals_s) - clock_s()
        return min(max(surely_not_yet_s, _POLL_S), _LOOK_S)


class MicroManagerCamera:
    """A `FrameSource` over the core's camera; its focus device is stepped by hardware where it can be.

    `snap` runs in a thread of its own, so that a camera that never answers can be given up on.

    Parameters
    ----------
    core : CMMCorePlus
        With a configuration loaded.
    told : OpticsTold
        What the configuration does not say.
    buffer_mb : int
        Largest size of the core's sequence buffer, MB; it grows up to there as bursts need it.

    Raises
    ------
    BadInputError
        The configuration has no camera, or one whose images are colour or of 32 bits.
    """

    def __init__(self, core: CMMCorePlus, told: OpticsTold | None = None, buffer_mb: int = 1024) -> None:
        self._core = core
        self._told = told if told is not None else OpticsTold()
        self._buffer_mb = buffer_mb
        self._sequence: _Sequence | None = None
        self._snapping: Future[Any] | None = None
        self._camera = core.getCameraDevice()
        if not self._camera:
            raise BadInputError("Micro-Manager: the configuration has no camera (Core-Camera)")
        self.name = f"Micro-Manager {self._camera}"
        self._snapper = Owner(f"mm-{self._camera}")
        with in_one_line(self.name):
            self._gain = "Gain" if core.hasProperty(self._camera, "Gain") else None
            self._binnings = self._find_binnings()
            x, y, width, height = core.getROI(self._camera)
            core.clearROI()
            full = (core.getImageHeight(), core.getImageWidth())
            roi_px = (y, x, height, width) if (height, width) != full else None
            if roi_px is not None:
                core.setROI(self._camera, x, y, width, height)
            self._settings = self._read_back(CameraSettings(roi_px=roi_px))
        self.describe()

    def describe(self) -> SourceDescription:
        """Return what the camera is and delivers now."""
        core, camera = self._core, self._camera
        with in_one_line(self.name):
            n_bytes, n_components = core.getBytesPerPixel(), core.getNumberOfComponents()
            if n_components != 1 or n_bytes not in _DTYPES:
                kind = "colour" if n_components != 1 else f"{8 * n_bytes} bit"
                raise BadInputError(
                    f"{self.name}: images are {kind}, 8 or 16 bit grey was expected; "
                    "set the camera's PixelType in the configuration"
                )
            self._settings = self._read_back(self._settings)
            binning = self._settings.binning
            # The core's own figure includes magnification and binning.
            pixel_um = self._told.pixel_size_um * binning if self._told.pixel_size_um else core.getPixelSizeUm()
            if not pixel_um > 0:
                raise BadInputError(
                    f"{self.name}: the configuration tells no pixel size for the present objective; "
                    "add one, or give pixel_size_um"
                )
            return SourceDescription(
                model=f"{core.getDeviceLibrary(camera)} {core.getDeviceName(camera)}",
                shape=(core.getImageHeight(), core.getImageWidth()),
                dtype=_DTYPES[n_bytes],
                settings=self._settings,
                pixel_size_um=(pixel_um, pixel_um),
                na=self._told.na,
                wavelength_um=self._told.wavelength_um,
                camera_model=self._camera_model(),
                temperature_c=self._temperature_c(),
                can_sequence_z=self._can_sequence_z(),
                simulated=core.getDeviceLibrary(camera) in SIMULATED_LIBRARIES,
                serial=self._serial(),
            )

    def apply(self, settings: CameraSettings) -> None:
        """Set exposure, gain, binning and ROI; what is recorded is what the camera then says it has."""
        if self._sequence is not None:
            raise HardwareError(f"{self.name}: a sequence is running, stop it before changing settings")
        before = self._settings
        try:
            with in_one_line(f"{self.name} refuses"):
                self._put(settings)
        except Exception:
            with in_one_line(f"{self.name} cannot go back to its settings"):
                self._settings = replace(before, binning=0)  # unknown: geometry must be set again
                self._put(before)
            raise

    def snap(self, timeout_s: float) -> CapturedFrame:
        """Take one frame."""
        if self._snapping is not None and not self._snapping.done():
            raise HardwareError(f"{self.name}: still waits for an exposure that it was given up on")
        self._snapping = future = self._snapper.submit(self._snap)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            raise HardwareError(
                f"{self.name}: no frame within {timeout_s:g} s; check the camera and its trigger"
            ) from None

    def start_sequence(self, n_frames: int | None, z_um: Sequence[float] | None = None) -> None:
        """Start a sequence; at `z_um` each, stepped by the camera's own trigger."""
        core, focus = self._core, self._core.getFocusDevice()
        if self._sequence is not None:
            raise HardwareError(f"{self.name}: a sequence is running already")
        if z_um is not None:
            self._check_planes(focus, n_frames, z_um)
        with in_one_line(f"{self.name} cannot start a sequence"):
            if n_frames is not None:
                self._make_room(n_frames)
            if z_um is not None:
                core.setPosition(focus, z_um[0])
                core.waitForDevice(focus)
                core.loadStageSequence(focus, list(z_um))
                core.startStageSequence(focus)
            self._sequence = sequence = _Sequence(DeviceClock(), n_frames, z_um)
            # A counted burst ends with its first lost frame. An endless one goes on with the newest.
            if n_frames is not None:
                core.startSequenceAcquisition(n_frames, 0.0, True)
            else:
                core.startContinuousSequenceAcquisition(0.0)
            # The camera counts time from within the call that starts it, which may take a second for buffers.
            sequence.clock = DeviceClock(clock_s())

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame of the sequence."""
        core, sequence = self._core, self._sequence
        if sequence is None:
            raise HardwareError(f"{self.name}: no sequence is running")
        deadline, pause = clock_s() + timeout_s, threading.Event()
        with in_one_line(self.name):
            while not core.getRemainingImageCount():
                self._check_alive(sequence)
                if clock_s() > deadline:
                    raise HardwareError(
                        f"{self.name}: no frame within {timeout_s:g} s; {sequence.fetched} of the sequence came"
                    )
                pause.wait(sequence.pause_s())
            pixels, metadata = core.popNextImageAndMD()
        sequence.note_arrival()
        return self._with_its_time(sequence, pixels, metadata)

    def stop_sequence(self) -> None:
        """Stop the sequence, if one is running, and let go of the stage."""
        sequence, self._sequence = self._sequence, None
        if sequence is None:
            return
        with in_one_line(f"{self.name} cannot stop its sequence"):
            self._core.stopSequenceAcquisition()
            if sequence.z_um is not None:
                self._core.stopStageSequence(self._core.getFocusDevice())
            self._core.clearCircularBuffer()

    def close(self) -> None:
        """Stop what runs; the core itself belongs to the backend."""
        self.stop_sequence()
        self._snapper.close()

    # -- settings -----------------------------------------------------------------------------------

    def _put(self, settings: CameraSettings) -> None:
        core, camera, now = self._core, self._camera, self._settings
        if not settings.exposure_s > 0:
            raise BadInputError(f"{self.name}: exposure_s is {settings.exposure_s}, a time above 0 was expected")
        if settings.binning not in self._binnings:
            known = ", ".join(str(b) for b in self._binnings)
            raise BadInputError(f"{self.name}: binning is {settings.binning}, expected one of {known}")
        if settings.gain != now.gain:
            self._put_gain(settings.gain)
        if (settings.binning, settings.roi_px) != (now.binning, now.roi_px):
            core.clearROI()
            if settings.binning != now.binning and len(self._binnings) > 1:
                core.setProperty(camera, "Binning", self._binnings[settings.binning])
            if settings.roi_px is not None:
                self._put_roi(settings.roi_px)
        if settings.exposure_s != now.exposure_s:
            core.setExposure(settings.exposure_s * 1000)
        self._settings = self._read_back(settings)

    def _put_roi(self, roi_px: tuple[int, int, int, int]) -> None:
        y, x, height, width = roi_px
        full_height, full_width = self._core.getImageHeight(), self._core.getImageWidth()
        inside = y >= 0 and x >= 0 and y + height <= full_height and x + width <= full_width
        if not inside or height < 1 or width < 1:
            raise BadInputError(
                f"{self.name}: roi_px (y, x, height, width) is {roi_px}, "
                f"expected one inside {full_height} x {full_width} px"
            )
        self._core.setROI(self._camera, x, y, width, height)

    def _put_gain(self, gain: float) -> None:
        core, camera = self._core, self._camera
        if self._gain is None:
            raise BadInputError(f"{self.name}: has no Gain to set to {gain:g}")
        if core.hasPropertyLimits(camera, self._gain):
            low, high = (
                core.getPropertyLowerLimit(camera, self._gain),
                core.getPropertyUpperLimit(camera, self._gain),
            )
            if not low <= gain <= high:
                raise BadInputError(f"{self.name}: gain is {gain:g}, expected {low:g} to {high:g}")
        core.setProperty(camera, self._gain, int(gain) if float(gain).is_integer() else gain)

    def _read_back(self, settings: CameraSettings) -> CameraSettings:
        core, camera = self._core, self._camera
        roi_px = settings.roi_px
        if roi_px is not None:
            x, y, width, height = core.getROI(camera)
            roi_px = (y, x, height, width)
        binning = _leading_int(core.getProperty(camera, "Binning")) if len(self._binnings) > 1 else 1
        gain = 1.0
        if self._gain is not None:
            try:
                gain = float(core.getProperty(camera, self._gain))
            except ValueError:  # a gain by name, such as "High": not ours to set
                self._gain = None
        return CameraSettings(core.getExposure() / 1000, gain, binning, roi_px)

    def _find_binnings(self) -> Mapping[int, str]:
        if not self._core.hasProperty(self._camera, "Binning"):
            return {1: "1"}
        labels = self._core.getAllowedPropertyValues(self._camera, "Binning")
        return dict(sorted((_leading_int(label), label) for label in labels)) or {1: "1"}

    def _camera_model(self) -> CameraModel | None:
        model = self._told.camera_model
        if model is None:
            return None
        model = model.binned(self._settings.binning)
        if self._settings.roi_px is not None:
            model = model.cropped(self._settings.roi_px)
        return replace(model, saturation_adu=min(model.saturation_adu, 2.0 ** self._core.getImageBitDepth() - 1))

    def _temperature_c(self) -> float | None:
        if not self._core.hasProperty(self._camera, "CCDTemperature"):
            return None
        try:
            return float(self._core.getProperty(self._camera, "CCDTemperature"))
        except ValueError:
            return None

    def _serial(self) -> str:
        """Return what tells this camera from others of its kind; its label where no property does."""
        for name in _SERIALS:
            if self._core.hasProperty(self._camera, name) and (told := self._core.getProperty(self._camera, name)):
                return str(told)
        return str(self._camera)

    # -- frames -------------------------------------------------------------------------------------

    def _snap(self) -> CapturedFrame:
        with in_one_line(f"{self.name} took no frame"):
            start_s = clock_s()
            self._core.snapImage()
            end_s = clock_s()
            pixels = self._core.getImage()
        # The core returns when the exposure is over; reading out comes with `getImage`.
        middle_s = max(end_s - self._settings.exposure_s / 2, (start_s + end_s) / 2)
        return CapturedFrame(pixels, middle_s)

    def _can_sequence_z(self) -> bool:
        focus = self._core.getFocusDevice()
        return bool(focus) and self._core.isStageSequenceable(focus)

    def _check_planes(self, focus: str, n_frames: int | None, z_um: Sequence[float]) -> None:
        if not self._can_sequence_z():
            raise BadInputError(f"{self.name}: the focus device {focus or '(none)'} cannot be stepped by hardware")
        if n_frames != len(z_um):
            raise BadInputError(f"{self.name}: {len(z_um)} planes for {n_frames} frames, one a frame was expected")
        longest = self._core.getStageSequenceMaxLength(focus)
        if len(z_um) > longest:
            raise BadInputError(f"{self.name}: {len(z_um)} planes, {focus} can hold {longest}; take fewer a burst")

    def _make_room(self, n_frames: int) -> None:
        """Grow the core's buffer, so that a burst fits whole where it may."""
        need_mb = 1 + int(1.1 * n_frames * self._core.getImageBufferSize() / 2**20)
        size_mb = min(need_mb, self._buffer_mb)
        if size_mb > self._core.getCircularBufferMemoryFootprint():
            self._core.setCircularBufferMemoryFootprint(size_mb)

    def _check_alive(self, sequence: _Sequence) -> None:
        of = f"{sequence.fetched} of {sequence.n_frames} frames" if sequence.n_frames else "a sequence"
        if self._core.isBufferOverflowed():
            size_mb = self._core.getCircularBufferMemoryFootprint()
            raise HardwareError(
                f"{self.name}: frames were lost after {of}, the buffer of {size_mb} MB was full; "
                "take fewer frames, a smaller ROI or a larger buffer_mb"
            )
        # In this order: the last frame may come between the two questions.
        if not self._core.isSequenceRunning() and not self._core.getRemainingImageCount():
            raise HardwareError(f"{self.name}: the sequence ended after {of}")

    def _with_its_time(
        self, sequence: _Sequence, pixels: NDArray[np.generic], metadata: Metadata
    ) -> CapturedFrame:
        now_s = clock_s()
        number = int(metadata.get("ImageNumber", sequence.fetched))
        elapsed_ms = metadata.get("ElapsedTime-ms")
        end_s = now_s if elapsed_ms is None else sequence.clock.ready_s(float(elapsed_ms) / 1000, now_s)
        dropped = max(0, number - sequence.fetched)
        sequence.fetched = max(number, sequence.fetched) + 1
        planes = sequence.z_um
        z_um = float(planes[number]) if planes is not None and number < len(planes) else None
        return CapturedFrame(pixels, end_s - self._settings.exposure_s / 2, z_um, dropped)


def _leading_int(label: str) -> int:
    """Return 2 for a binning of `2` or `2x2`."""
    return int(label.lower().split("x")[0])
