"""A camera behind pylablib's bindings: what Orca and Andor have in common."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._device_clock import DeviceClock
from parfocal.devices._told_optics import OpticsTold
from parfocal.devices.vendors._binding import Binding
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, SourceDescription, clock_s
from parfocal.optics import CameraModel

_POLL_S = 0.001
_SLICE_S = 0.1
_SMALLEST_RING = 16
_RING = 200


@dataclass
class _Sequence:
    n_frames: int | None
    clock: DeviceClock
    readout_s: float
    ring: int | None
    fetched: int = 0
    index: int = 0
    before: Any = None


class VendorCamera:
    """A `FrameSource` over one of pylablib's cameras.

    A camera that is unplugged fails the call under way and is opened again, with its settings, by the next one.
    Frame times: the moment a frame was ready, by the camera's clock where it stamps its frames, less half the
    readout (a rolling shutter's middle row) and half the exposure.

    Parameters
    ----------
    binding : Binding
        The vendor's side.
    told : OpticsTold
        What a camera does not know: pixel size at the sample, objective, light, its own noise.
    buffer_mb : int
        Largest size of the ring of frames, MB.

    Raises
    ------
    BadInputError
        The extra or the vendor's library is missing, or no pixel size is told.
    HardwareError
        The camera cannot be opened.
    """

    def __init__(self, binding: Binding, told: OpticsTold, buffer_mb: int = 512) -> None:
        self.name = binding.name
        if not told.pixel_size_um or not told.pixel_size_um > 0:
            raise BadInputError(
                f"{self.name}: pixel_size_um is {told.pixel_size_um}, that at the sample was expected"
            )
        self._binding = binding
        self._told = told
        self._buffer_mb = buffer_mb
        self._sequence: _Sequence | None = None
        self._closed = False
        self._camera: Any = binding.open()
        try:
            with self._words("cannot be set up"):
                exposure_s = float(self._camera.get_exposure())
                self._settings = CameraSettings(exposure_s=exposure_s, gain=binding.gain(self._camera))
                self._put(self._camera, self._settings)
                self._description = self._describe(self._camera)
        except Exception:
            self._let_go()
            raise

    def describe(self) -> SourceDescription:
        """Return what the camera is and delivers now; of one that is unplugged, what it last was."""
        temperature_c = None
        if self._camera is not None:
            with suppress(Exception):
                temperature_c = self._binding.temperature_c(self._camera)
        return replace(self._description, temperature_c=temperature_c)

    def apply(self, settings: CameraSettings) -> None:
        """Set exposure, gain, binning and ROI; what is recorded is what the camera then says it has."""
        if self._sequence is not None:
            raise HardwareError(f"{self.name}: a sequence is running, stop it before changing settings")
        camera = self._opened()
        with self._words("refuses its settings"):
            self._check(camera, settings)
            before = self._settings
            try:
                self._put(camera, settings)
            except Exception as error:
                if not self._binding.is_gone(error):
                    self._put(camera, before)
                raise
            self._description = self._describe(camera)

    def snap(self, timeout_s: float) -> CapturedFrame:
        """Take one frame."""
        self._begin("snap", 1, 1)
        try:
            frame = self.next_frame(timeout_s)
        except Exception:
            with suppress(HardwareError):  # the first error says more
                self.stop_sequence()
            raise
        self.stop_sequence()
        return frame

    def start_sequence(self, n_frames: int | None, z_um: Sequence[float] | None = None) -> None:
        """Start a sequence."""
        if z_um is not None:
            raise BadInputError(f"{self.name}: it cannot step z by itself")
        if n_frames is not None and n_frames < 1:
            raise BadInputError(f"{self.name}: a sequence of {n_frames} frames, expected 1 or more, or None")
        height, width = self._description.shape
        fit = self._buffer_mb * 2**20 // (height * width * self._description.dtype.itemsize)
        self._begin("sequence", max(_SMALLEST_RING, min(n_frames or _RING, fit)), n_frames)

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame of the sequence; older frames that the ring lost are counted in it."""
        sequence, camera = self._sequence, self._camera
        if sequence is None:
            raise HardwareError(f"{self.name}: no sequence is running, start one first")
        if sequence.n_frames is not None and sequence.fetched >= sequence.n_frames:
            raise HardwareError(
                f"{self.name}: the {sequence.n_frames} frames of the sequence have all been fetched"
            )
        with self._words(f"failed after {sequence.fetched} frames"):
            pixels, info, arrival_s = self._wait(camera, sequence, timeout_s)
            lost = max(0, int(info.frame_index) - sequence.index)
            if sequence.before is not None:
                lost = max(lost, self._binding.lost_between(sequence.before, info))
            stamp_s = self._binding.stamp_s(info)
        sequence.index = int(info.frame_index) + 1
        sequence.before = info
        sequence.fetched += 1 + lost
        ready_s = arrival_s if stamp_s is None else sequence.clock.ready_s(stamp_s, arrival_s)
        middle_s = ready_s - (sequence.readout_s + self._settings.exposure_s) / 2
        # Andor pads its rows, and pylablib 1.4.3 leaves the padding in.
        height, width = self._description.shape
        return CapturedFrame(np.ascontiguousarray(pixels[:height, :width]), middle_s, None, lost)

    def stop_sequence(self) -> None:
        """Stop the sequence, if one is running."""
        sequence, self._sequence = self._sequence, None
        if sequence is None or self._camera is None:
            return
        try:
            with self._words("cannot be stopped"):
                self._camera.stop_acquisition()
        except HardwareError:
            self._let_go()
            raise

    def close(self) -> None:
        """Stop what runs and let go of the camera."""
        self._closed = True
        try:
            self.stop_sequence()
        finally:
            self._let_go()

    # -- opening and losing -------------------------------------------------------------------------

    def _opened(self) -> Any:
        if self._closed:
            raise HardwareError(f"{self.name}: it was closed")
        if self._camera is None:
            self._camera = self._binding.open()
            try:
                with self._words("cannot be set up again"):
                    self._put(self._camera, self._settings)
            except Exception:
                self._let_go()
                raise
        return self._camera

    def _let_go(self) -> None:
        camera, self._camera, self._sequence = self._camera, None, None
        if camera is not None:
            try:
                camera.close()
            except Exception:  # it is unplugged: whatever says so here has been said before
                self._binding.release(camera)

    @contextmanager
    def _words(self, what: str) -> Generator[None]:
        """Turn what the library raises into one line; let go of a camera that is gone."""
        try:
            yield
        except (HardwareError, BadInputError):
            raise
        except Exception as error:
            gone = self._binding.is_gone(error)
            if gone:
                self._let_go()
            hint = "; plug it in again, it is then opened by itself" if gone else ""
            raise HardwareError(f"{self.name} {what}: {self._binding.words(error)}{hint}") from error

    # -- frames -------------------------------------------------------------------------------------

    def _begin(self, mode: str, ring: int, n_frames: int | None) -> None:
        if self._sequence is not None:
            raise HardwareError(f"{self.name}: a sequence is running already, stop it first")
        camera = self._opened()
        with self._words("cannot start"):
            readout_s = self._binding.readout_s(camera)
            try:
                camera.start_acquisition(mode=mode, nframes=ring)
            except Exception:
                with suppress(Exception):
                    camera.stop_acquisition()
                raise
        # A snap's camera stops when its ring is full: nothing in it is ever written over.
        self._sequence = _Sequence(n_frames, DeviceClock(), readout_s, None if mode == "snap" else ring)

    def _wait(self, camera: Any, sequence: _Sequence, timeout_s: float) -> tuple[NDArray[np.generic], Any, float]:
        deadline_s, pause = clock_s() + timeout_s, threading.Event()
        while True:
            try:
                # pylablib asks once whether the camera is there and then waits: in slices, unplugging is seen.
                running = camera.wait_for_frame(timeout=min(max(0.0, deadline_s - clock_s()), _SLICE_S))
            except camera.TimeoutError:
                running = True
            arrival_s = clock_s()
            # A camera that has stopped after its last frame may still be handing it over.
            got = camera.read_oldest_image(return_info=True)
            if got is not None and sequence.ring is not None:
                got = self._whole(camera, sequence.ring, *got)
            if got is not None:
                return got[0], got[1], arrival_s
            if arrival_s > deadline_s:
                came = f"{sequence.fetched} of the sequence came; " if sequence.fetched else ""
                raise HardwareError(
                    f"{self.name}: no frame within {timeout_s:g} s; {came}check the camera and its trigger"
                )
            if not running:
                pause.wait(_POLL_S)

    def _whole(self, camera: Any, ring: int, pixels: Any, info: Any) -> tuple[Any, Any] | None:
        """Return a frame that the camera did not write over while it was copied; None if there is none just now.

        pylablib looks at the ring before it copies: the oldest frame of a full ring may hold a newer one's rows.
        A reader that is this late is set half a ring ahead: frame by frame it would stay at the edge.
        """
        n_acquired = int(camera.get_frames_status().acquired)
        if n_acquired < int(info.frame_index) + ring:
            return pixels, info
        first = n_acquired - ring // 2
        got, infos = camera.read_multiple_images(rng=(first, first + 1), return_info=True)
        if not got:
            return None
        n_acquired = int(camera.get_frames_status().acquired)
        return (got[0], infos[0]) if n_acquired < int(infos[0].frame_index) + ring else None

    # -- settings -----------------------------------------------------------------------------------

    def _check(self, camera: Any, settings: CameraSettings) -> None:
        """Say what the camera cannot do, before anything is changed."""
        low_s, high_s = self._binding.exposure_range_s(camera)
        if not (math.isfinite(settings.exposure_s) and low_s <= settings.exposure_s <= high_s):
            raise BadInputError(
                f"{self.name}: exposure_s is {settings.exposure_s:g}, expected {low_s:g} to {high_s:g}"
            )
        gains = self._binding.gain_range(camera)
        if gains is None and settings.gain != 1:
            raise BadInputError(f"{self.name}: gain is {settings.gain:g}, but it has none: only 1 is possible")
        if gains is not None and not gains[0] <= settings.gain <= gains[1]:
            raise BadInputError(f"{self.name}: gain is {settings.gain:g}, expected {gains[0]:g} to {gains[1]:g}")
        binnings = self._binding.binnings(camera)
        if settings.binning not in binnings:
            raise BadInputError(f"{self.name}: binning is {settings.binning}, expected one of {list(binnings)}")
        if settings.roi_px is not None:
            self._check_roi(camera, settings.roi_px, settings.binning)

    def _check_roi(self, camera: Any, roi_px: tuple[int, int, int, int], binning: int) -> None:
        y, x, height, width = (value * binning for value in roi_px)
        across, down = camera.get_roi_limits(hbin=binning, vbin=binning)
        for start, size, limit in ((x, width, across), (y, height, down)):
            inside = start >= 0 and size >= max(1, limit.min) and start + size <= limit.max
            if inside and start % limit.pstep == 0 and size % limit.sstep == 0:
                continue
            raise BadInputError(
                f"{self.name}: ROI (y, x, height, width) is {roi_px}, expected inside "
                f"{down.max // binning} x {across.max // binning} px; at binning 1, places are multiples of "
                f"{down.pstep} and {across.pstep} px, sizes of {down.sstep} and {across.sstep} px, "
                f"at least {down.min} x {across.min} px"
            )

    def _put(self, camera: Any, settings: CameraSettings) -> None:
        binning = settings.binning
        if settings.roi_px is None:
            camera.set_roi(0, None, 0, None, binning, binning)
        else:
            y, x, height, width = (value * binning for value in settings.roi_px)
            camera.set_roi(x, x + width, y, y + height, binning, binning)
        self._binding.set_exposure(camera, settings.exposure_s)
        if self._binding.gain_range(camera) is not None:
            self._binding.set_gain(camera, settings.gain)
        left, right, top, bottom, across, down = camera.get_roi()
        if (across, down) != (binning, binning):
            raise BadInputError(f"{self.name}: binning is {binning}, the camera made it {down} x {across}")
        roi_px = settings.roi_px
        if roi_px is not None:
            got = (top // binning, left // binning, (bottom - top) // binning, (right - left) // binning)
            if got != tuple(roi_px):
                raise BadInputError(
                    f"{self.name}: ROI (y, x, height, width) is {roi_px}, the camera made it {got}"
                )
        self._settings = CameraSettings(float(camera.get_exposure()), self._binding.gain(camera), binning, roi_px)

    def _describe(self, camera: Any) -> SourceDescription:
        height, width = camera.get_data_dimensions()
        pixel_um = float(self._told.pixel_size_um or 1.0) * self._settings.binning
        dtype = self._binding.dtype(camera)
        return SourceDescription(
            model=self._binding.model(camera),
            shape=(int(height), int(width)),
            dtype=dtype,
            settings=self._settings,
            pixel_size_um=(pixel_um, pixel_um),
            na=self._told.na,
            wavelength_um=self._told.wavelength_um,
            camera_model=self._camera_model(),
            temperature_c=self._binding.temperature_c(camera),
        )

    def _camera_model(self) -> CameraModel | None:
        model = self._told.camera_model
        if model is None:
            return None
        model = model.binned(self._settings.binning)
        return model if self._settings.roi_px is None else model.cropped(self._settings.roi_px)
