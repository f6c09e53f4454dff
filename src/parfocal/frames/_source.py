"""What a camera must do to be one of ours: the `FrameSource` protocol and the three small types it speaks.

A new camera is one small file: a class with these methods (no base class needed), handed to
`parfocal.devices.Camera`. All calls come from one thread, the camera's owner; none needs a lock.

::

    describe()                      any time: shape, dtype, optics, limits
    apply(settings)                 while idle: exposure, gain, binning, ROI  -> describe() changes
    snap(timeout_s)                 while idle: one frame
    start_sequence(n, z_um)         idle -> running: n frames as fast as the exposure allows,
    next_frame(timeout_s)             in order; n=None runs until stopped
    stop_sequence()                 running -> idle (also when already idle)
    close()                         the end
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import CameraModel


@dataclass(frozen=True)
class CameraSettings:
    """What a person sets on a camera.

    `roi_px` is (y, x, height, width) in binned pixels of the full sensor; None is the whole sensor.
    """

    exposure_s: float = 0.02
    gain: float = 1.0
    binning: int = 1
    roi_px: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class SourceDescription:
    """What a camera is and delivers with its present settings.

    `pixel_size_um` is at the sample, (y, x), binning included. `temperature_c` is None where there is none.
    `camera_model` is None where nobody has measured it: then scores estimate the noise from the image.
    `serial` tells one camera from another of its model, where the driver knows. `noise_run` is the run that
    `camera_model` was measured in; empty where it was told, or is known otherwise.
    `can_sequence_z` says that `start_sequence(n, z_um)` moves z itself, in hardware, frame by frame.
    """

    model: str
    shape: tuple[int, int]
    dtype: np.dtype[np.generic]
    settings: CameraSettings
    pixel_size_um: tuple[float, float] = (1.0, 1.0)
    na: float | None = None
    wavelength_um: float | None = None
    camera_model: CameraModel | None = None
    temperature_c: float | None = None
    can_sequence_z: bool = False
    simulated: bool = False
    serial: str = ""
    noise_run: str = ""


@dataclass(frozen=True)
class CapturedFrame:
    """One frame as it leaves the driver.

    `pixels` is `[y, x]` and owned by the receiver. `t_s` is the middle of the exposure, seconds since the
    Unix epoch on a clock that never steps back (`parfocal.frames.clock_s`). `z_um` is given by sources that
    move z themselves. `dropped_before` counts the frames lost between the one before and this one.
    """

    pixels: NDArray[np.generic]
    t_s: float
    z_um: float | None = None
    dropped_before: int = 0


@runtime_checkable
class FrameSource(Protocol):
    """A camera driver. See the module's first lines for the order of calls.

    `snap` and `next_frame` raise `parfocal.errors.HardwareError` when no frame came within `timeout_s`
    (seconds), saying which camera and how long was waited.
    """

    def describe(self) -> SourceDescription:
        """Return what the camera is and delivers now."""
        ...

    def apply(self, settings: CameraSettings) -> None:
        """Set exposure, gain, binning and ROI; `BadInputError` names what the camera cannot do."""
        ...

    def snap(self, timeout_s: float) -> CapturedFrame:
        """Take one frame."""
        ...

    def start_sequence(self, n_frames: int | None, z_um: Sequence[float] | None = None) -> None:
        """Start `n_frames` back-to-back frames (None: until stopped), at `z_um` each where the source can."""
        ...

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame of the sequence."""
        ...

    def stop_sequence(self) -> None:
        """Stop the sequence; frames not fetched are lost."""
        ...

    def close(self) -> None:
        """Let go of the hardware."""
        ...
