"""A microscope that shows a recorded stack: z picks the plane, x and y the site, repeats the time point.

::

    stack = open_stack("embryo.tif")
    microscope = RecordedMicroscope(stack)
    microscope.stage     a StageDriver: axes x, y, z
    microscope.light     its channels: the recorded ones
    microscope.camera    a FrameSource: the plane where the stage stands

One view, `(time, position, channel, z)`, is shared by both. Where the recording has time points, a plane that
has been shown at the present one and is asked for again begins the next one: passes of a z-stack, or frames
of a time-lapse without z, walk through the recorded times, and after the last one begin again.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError, HardwareError
from parfocal.files import Stack
from parfocal.frames import CameraSettings, CapturedFrame, SourceDescription, clock_s

_DEFAULT_STEP_UM = 1.0
_VELOCITY_UM_PER_S = 1e6  # a recorded plane is there at once
_EXPOSURE_S = 0.001  # nobody waits for photons that were caught long ago; set it longer to play a camera's pace


class RecordedView:
    """Which plane of a stack is in view; used from the stage's and the camera's threads alike."""

    def __init__(self, stack: Stack, advance_time: bool = True) -> None:
        self.stack = stack
        self.advance_time = advance_time
        self._lock = threading.Lock()
        self._index = {"T": 0, "P": 0, "C": 0}
        self._shown: set[tuple[int, int, int]] = set()
        self._z_um = 0.0
        self._z_um = float(self.planes_z_um(0)[0])

    def planes_z_um(self, position: int | None = None) -> NDArray[np.float64]:
        """Return the z of each plane at a position (the present one by default), um, in file order.

        As recorded in the file; else multiples of the z step; of 1 um where that is unknown too.
        """
        n = self.stack.size("Z")
        if self.stack.z_um is not None:
            rows = self.stack.z_um
            row = rows[min(self.index("P") if position is None else position, len(rows) - 1)]
            if len(row) == n:
                return np.array(row)
        return np.arange(n) * (self.stack.voxel_size_um[0] or _DEFAULT_STEP_UM)

    def index(self, axis: str) -> int:
        """Return the index in view along "T", "P" or "C"."""
        with self._lock:
            return self._index[axis]

    def look(self, axis: str, index: int) -> None:
        """Choose the time point, position or channel in view.

        Raises
        ------
        BadInputError
            The recording has no such index.
        """
        n = self.stack.size(axis)
        if not 0 <= index < n:
            raise BadInputError(f"{self.stack.source}: no {axis} {index}; recorded are 0 to {n - 1}")
        with self._lock:
            self._index[axis] = int(index)
            if axis == "T":
                self._shown.clear()

    def look_z(self, z_um: float) -> None:
        """Choose the plane nearest to z, um."""
        with self._lock:
            self._z_um = z_um

    def z_plane(self, z_um: float | None = None) -> int:
        """Return the plane nearest to z (where the view stands by default)."""
        planes = self.planes_z_um()
        with self._lock:
            wanted = self._z_um if z_um is None else z_um
        return int(np.argmin(np.abs(planes - wanted)))

    def show(self, z_um: float | None = None) -> tuple[NDArray[Any], float]:
        """Return the plane in view, or at `z_um`, with its true z; may begin the next time point."""
        z = self.z_plane(z_um)
        with self._lock:
            plane = (self._index["P"], self._index["C"], z)
            if plane in self._shown and self.advance_time:
                self._index["T"] = (self._index["T"] + 1) % self.stack.size("T")
                self._shown.clear()
            self._shown.add(plane)
            at = dict(self._index)
        pixels = self.stack.plane(t=at["T"], p=at["P"], c=at["C"], z=z)
        return pixels, float(self.planes_z_um(at["P"])[z])


class RecordedStage:
    """The stage of a recorded microscope: a `StageDriver` whose moves take no time.

    z reads back the true z of the plane in view, so it is where it was sent only to within `z_tolerance_um`.
    x and y go anywhere; where the recording knows its sites' positions, the nearest site comes into view.
    """

    def __init__(self, view: RecordedView) -> None:
        self.view = view
        self._lock = threading.Lock()
        sites = view.stack.xy_um
        first = sites[0] if sites else (0.0, 0.0)
        self._xy_um = {"x": first[0], "y": first[1]}

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes the stage has."""
        return ("x", "y", "z")

    @property
    def z_range_um(self) -> tuple[float, float]:
        """Lowest and highest recorded z of the site in view, um: soft limits for the axis."""
        planes = self.view.planes_z_um()
        return float(planes.min()), float(planes.max())

    @property
    def z_tolerance_um(self) -> float:
        """The farthest that a z between recorded planes can be from the nearest one, um."""
        steps = np.diff(np.sort(self.view.planes_z_um()))
        return float(steps.max()) / 2 if steps.size else _DEFAULT_STEP_UM / 2

    def move(self, axis: str, position_um: float) -> None:
        """Bring the plane or site nearest to an absolute position, um, into view."""
        self._check(axis)
        if not math.isfinite(position_um):
            raise HardwareError(f"recorded stage: cannot move {axis} to {position_um}, expected um")
        if axis == "z":
            self.view.look_z(position_um)
            return
        with self._lock:
            self._xy_um[axis] = float(position_um)
            x, y = self._xy_um["x"], self._xy_um["y"]
        sites = self.view.stack.xy_um
        if sites and len(sites) == self.view.stack.size("P"):
            self.view.look("P", int(np.argmin([math.hypot(x - sx, y - sy) for sx, sy in sites])))

    def position_um(self, axis: str) -> float:
        """Return where the axis is, um; for z the recorded z of the plane in view."""
        self._check(axis)
        if axis == "z":
            return float(self.view.planes_z_um()[self.view.z_plane()])
        with self._lock:
            return self._xy_um[axis]

    def is_moving(self, axis: str) -> bool:
        """Say whether the axis is still on its way: never."""
        self._check(axis)
        return False

    def stop(self, axis: str) -> None:
        """Stop the axis where it is."""
        self._check(axis)

    def velocity_um_per_s(self, axis: str) -> float:
        """Return the axis's speed, um/s: high enough to count as none."""
        self._check(axis)
        return _VELOCITY_UM_PER_S

    def _check(self, axis: str) -> None:
        if axis not in self.axes:
            raise HardwareError(f"recorded stage: no axis {axis!r}; there are x, y and z")


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


class RecordedLight:
    """The light of a recorded microscope: choosing a channel brings the recorded one into view."""

    def __init__(self, view: RecordedView) -> None:
        self._view = view
        n = view.stack.size("C")
        named = view.stack.channels
        self._channels = tuple(named) if len(set(named)) == n else tuple(f"c{i}" for i in range(n))
        self._is_on = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels: as recorded, else c0, c1 ..."""
        return self._channels

    @property
    def channel(self) -> str:
        """The channel in view."""
        return self._channels[self._view.index("C")]

    @property
    def is_on(self) -> bool:
        """Whether light was asked for; a recording is lit either way."""
        return self._is_on

    def set_channel(self, channel: str, /) -> None:
        """Bring a channel into view."""
        if channel not in self._channels:
            raise BadInputError(f"no channel {channel!r} was recorded, there are {', '.join(self._channels)}")
        self._view.look("C", self._channels.index(channel))

    def set_on(self, on: bool, /) -> None:
        """Remember whether light was asked for."""
        self._is_on = on


class RecordedMicroscope:
    """A stage and a camera over one recorded stack.

    Parameters
    ----------
    stack : Stack
        From `parfocal.files.open_stack`.
    advance_time : bool
        Begin the next recorded time point when a plane is asked for again; else `time_index` alone moves it.
    """

    def __init__(self, stack: Stack, *, advance_time: bool = True) -> None:
        self.stack = stack
        self.view = RecordedView(stack, advance_time)
        self.stage = RecordedStage(self.view)
        self.camera = RecordedCamera(self.view)
        self.light = RecordedLight(self.view)

    @property
    def time_index(self) -> int:
        """The time point in view, 0-based; may be set."""
        return self.view.index("T")

    @time_index.setter
    def time_index(self, index: int) -> None:
        self.view.look("T", index)

    @property
    def position_index(self) -> int:
        """The site in view, 0-based; may be set."""
        return self.view.index("P")

    @position_index.setter
    def position_index(self, index: int) -> None:
        self.view.look("P", index)

    @property
    def channel(self) -> int:
        """The channel in view, 0-based; may be set."""
        return self.view.index("C")

    @channel.setter
    def channel(self, index: int) -> None:
        self.view.look("C", index)

    @property
    def z_positions_um(self) -> NDArray[np.float64]:
        """The z of every plane of the site in view, um: what a plan visits to see the whole stack."""
        return self.view.planes_z_um()
