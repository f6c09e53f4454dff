"""The camera of a recorded microscope."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from parfocal.devices.recorded._view import RecordedView
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, SourceDescription, clock_s

_EXPOSURE_S = 0.001  # nobody waits for photons that were caught long ago; set it longer to play a camera's pace


class RecordedCamera:
    """The camera of a recorded microscope: a `FrameSource` that gives the plane in view.

    Frames come at the pace of the exposure, as from a camera, with shape and dtype as recorded. A sequence
    may bring its own z (`can_sequence_z`). The recording's gain and binning cannot be changed; a ROI is cut
    out. Its noise is not known, so it has no camera model: scores estimate the noise from the image.
    """

    def __init__(self, view: RecordedView) -> None:
        self.view = view
        self._settings = CameraSettings(exposure_s=_EXPOSURE_S)
        self._stopped = threading.Event()
        self._running = False
        self._left: int | None = None
        self._z_um: deque[float] | None = None
        self._free_at_s = 0.0

    def describe(self) -> SourceDescription:
        """Return what the camera is and delivers now."""
        stack = self.view.stack
        roi = self._settings.roi_px
        _, y_um, x_um = stack.voxel_size_um
        return SourceDescription(
            model=f"recorded: {Path(stack.source).name}",
            shape=(stack.shape[-2], stack.shape[-1]) if roi is None else (roi[2], roi[3]),
            dtype=stack.dtype,
            settings=self._settings,
            pixel_size_um=(y_um or 1.0, x_um or 1.0),
            na=stack.na,
            wavelength_um=stack.wavelength_um,
            can_sequence_z=True,
            simulated=False,
        )

    def apply(self, settings: CameraSettings) -> None:
        """Set exposure and ROI; `BadInputError` names what a recording cannot do."""
        if self._running:
            raise HardwareError("recorded camera: settings cannot change while a sequence runs; stop it first")
        if not (math.isfinite(settings.exposure_s) and settings.exposure_s > 0):
            raise BadInputError(f"recorded camera: exposure {settings.exposure_s} s, expected more than 0")
        if settings.binning != 1 or settings.gain != 1.0:
            raise BadInputError(
                f"recorded camera: binning {settings.binning} and gain {settings.gain:g}; "
                "a recording has binning 1 and gain 1"
            )
        if settings.roi_px is not None:
            y, x, height, width = settings.roi_px
            full = self.view.stack.shape[-2:]
            if min(y, x) < 0 or min(height, width) < 1 or y + height > full[0] or x + width > full[1]:
                raise BadInputError(
                    f"recorded camera: ROI (y, x, height, width) = {settings.roi_px} does not fit into {full}"
                )
        self._settings = replace(settings)

    def snap(self, timeout_s: float) -> CapturedFrame:
        """Take one frame."""
        if self._running:
            raise HardwareError("recorded camera: a sequence runs; stop it before a single frame")
        self._stopped.clear()
        self._free_at_s = clock_s()
        return self._expose(timeout_s, None)

    def start_sequence(self, n_frames: int | None, z_um: Sequence[float] | None = None) -> None:
        """Start `n_frames` back-to-back frames (None: until stopped), at `z_um` each where given."""
        if self._running:
            raise HardwareError("recorded camera: a sequence runs already; stop it first")
        if n_frames is not None and n_frames < 1:
            raise BadInputError(f"recorded camera: a sequence of {n_frames} frames, expected 1 or more")
        if z_um is not None and (n_frames is None or len(z_um) != n_frames):
            raise BadInputError(
                f"recorded camera: {len(z_um)} z positions for {n_frames} frames, expected as many"
            )
        self._left = n_frames
        self._z_um = None if z_um is None else deque(float(z) for z in z_um)
        self._stopped.clear()
        self._running = True
        self._free_at_s = clock_s()

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame of the sequence."""
        if not self._running or self._left == 0:
            raise HardwareError("recorded camera: no frame to come; no sequence runs")
        frame = self._expose(timeout_s, self._z_um[0] if self._z_um else None)
        if self._z_um:
            self.view.look_z(self._z_um.popleft())
        if self._left is not None:
            self._left -= 1
            self._running = self._left > 0
        return frame

    def stop_sequence(self) -> None:
        """Stop the sequence; frames not fetched are lost."""
        self._stopped.set()
        self._running = False

    def close(self) -> None:
        """Let go: no frame comes after this."""
        self.stop_sequence()

    def _expose(self, timeout_s: float, z_um: float | None) -> CapturedFrame:
        exposure_s = self._settings.exposure_s
        # the sensor is free at the earliest when the exposure before has ended; a late reader loses no frame
        start_s = self._free_at_s
        wait_s = start_s + exposure_s - clock_s()
        if wait_s > timeout_s:
            self._stopped.wait(max(0.0, timeout_s))
            raise HardwareError(
                f"recorded camera: no frame within {timeout_s:g} s; the exposure is {exposure_s:g} s"
            )
        if wait_s > 0 and self._stopped.wait(wait_s):
            raise HardwareError("recorded camera: stopped while waiting for a frame")
        pixels, true_z_um = self.view.show(z_um)
        roi = self._settings.roi_px
        if roi is not None:
            y, x, height, width = roi
            pixels = np.ascontiguousarray(pixels[y : y + height, x : x + width])
        end_s = max(clock_s(), start_s + exposure_s)
        self._free_at_s = end_s
        return CapturedFrame(pixels=pixels, t_s=end_s - exposure_s / 2, z_um=true_z_um)
