"""The loop of a lock: one frame of the bead camera in, one command to the stage out, at the camera's rate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from parfocal.devices._camera import Camera
from parfocal.devices._feed import FedFrame
from parfocal.devices._stage import StageAxis
from parfocal.devices.lock._ring import LockRing
from parfocal.errors import BadInputError, HardwareError
from parfocal.focus import Command, LockController, LockState, Roi, RoiMeasure, RoiTracker, StageState
from parfocal.optics import CameraModel

RoiPx = tuple[int, int, int, int]
_RESTARTS = 3
_TRACKED = (LockState.LOCKED, LockState.LOCKING, LockState.RECOVERY)


@dataclass(frozen=True)
class LockTarget:
    """What a loop looks at and moves.

    Parameters
    ----------
    camera : Camera
        Sees the bead.
    axis : StageAxis
        Focuses.
    holder : str
        Who holds the axis's lease.
    roi_px : (int, int, int, int)
        y, x, height, width in the frame.
    """

    camera: Camera
    axis: StageAxis
    holder: str
    roi_px: RoiPx


class LockLoop:
    """Runs a controller on a camera's frames, in a thread of its own.

    Parameters
    ----------
    target : LockTarget
        Camera, stage axis, region.
    controller : LockController
        Already engaged.
    measure : callable
        From a region to a measurement; see `parfocal.focus.RoiMeasure`.
    camera_model : CameraModel
        Of the whole frame.
    ring : LockRing
        Gets a sample a frame.
    on_step : callable
        Told the command, in the loop's thread: must be quick.
    synchronous : bool
        Step in the camera's thread, so that the next frame is not taken before: for a simulated world that does
        not run in real time.
    """

    def __init__(
        self,
        target: LockTarget,
        controller: LockController,
        measure: RoiMeasure,
        camera_model: CameraModel,
        ring: LockRing,
        on_step: Callable[[Command], None],
        synchronous: bool = False,
    ) -> None:
        self.controller = controller
        self.guard = threading.RLock()  # around the controller: plans move its setpoint from their own thread
        self._target = target
        self._measure = measure
        self._camera_model = camera_model
        self._ring = ring
        self._on_step = on_step
        self._synchronous = synchronous
        self._stop = threading.Event()
        self._commanded_t_s = 0.0
        self._roi_px = target.roi_px
        self._roi_model = camera_model.cropped(target.roi_px)
        self._tracker = RoiTracker(Roi(*target.roi_px), target.camera.facts.shape, controller.settings)
        self._thread = threading.Thread(target=self._run, name=f"{target.holder}-loop", daemon=True)

    @property
    def roi_px(self) -> RoiPx:
        """The region that is fitted now: y, x, height, width."""
        return self._roi_px

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End, and wait until nothing moves the stage any more."""
        self._stop.set()
        if threading.current_thread() is not self._thread and self._thread.is_alive():
            self._thread.join(timeout_s)

    def nudge(self, z_um: float) -> None:
        """Send the stage somewhere, and note when: how much of the move a frame has seen is told by time."""
        self._target.axis.nudge(self._target.holder, z_um)
        self._commanded_t_s = self._target.camera.feed.now_s()

    def step(self, fed: FedFrame) -> None:
        """Measure one frame, ask the controller, move, record."""
        camera, axis = self._target.camera, self._target.axis
        arrived_s = camera.feed.now_s()
        y, x, height, width = self._roi_px
        roi = fed.pixels[y : y + height, x : x + width]
        measurement = self._measure(fed.number, fed.t_s, roi, self._roi_model)
        measurement = replace(measurement, exposure_s=camera.facts.settings.exposure_s)
        fitted_s = camera.feed.now_s()
        with self.guard:
            stage = self._stage_state()
            command = self.controller.step(measurement, stage)
            command = self._send(command)
            setpoint_um = self.controller.setpoint_um
        answered_s = camera.feed.now_s()
        latency_s = (arrived_s - fed.t_s, fitted_s - fed.t_s, answered_s - fed.t_s)
        self._ring.put(measurement, command, setpoint_um, stage.z_um, axis.setpoint_um, latency_s)
        self._on_step(command)
        self._follow_spot(measurement.y_px, measurement.x_px, command)

    def _follow_spot(self, y_px: float, x_px: float, command: Command) -> None:
        """Move the region, never the stage, after a bead that wanders sideways."""
        found = self._tracker.follow(y_px, x_px, command.state in _TRACKED and not command.flags)
        roi_px = (found.y_px, found.x_px, found.height_px, found.width_px)
        if roi_px == self._roi_px:
            return
        if roi_px[2:] != self._roi_px[2:]:
            self.controller.resize_roi(roi_px[2:])
        self._roi_px = roi_px
        self._roi_model = self._camera_model.cropped(roi_px)

    def _send(self, command: Command) -> Command:
        if command.z_um is None or self._stop.is_set():
            return command
        try:
            self.nudge(command.z_um)
        except (HardwareError, BadInputError) as error:
            return Command(
                None, LockState.FAULT, command.error_um, 0.0, ("stage_refused", *command.flags), str(error)
            )
        return command

    def _stage_state(self) -> StageState:
        axis = self._target.axis
        low, high = axis.limits_um if axis.limits_um is not None else (float("-inf"), float("inf"))
        commanded_um = axis.setpoint_um
        try:
            return StageState(axis.position, commanded_um, self._commanded_t_s, low, high)
        except HardwareError:
            return StageState(commanded_um, commanded_um, self._commanded_t_s, low, high, is_fault=True)

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        camera = self._target.camera
        try:
            if self._synchronous:
                with camera.feed.open(take=self._take):
                    self._stop.wait()
                return
            with camera.feed.open() as frames:
                self._follow(lambda: frames.newest(camera.facts.settings.exposure_s + camera.timeout_s))
        except Exception as error:  # the loop must say why it ended, whatever it was
            self._on_step(_failed(error))

    def _take(self, fed: FedFrame) -> None:
        if not self._stop.is_set():
            self.step(fed)

    def _follow(self, newest: Callable[[], FedFrame]) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                fed = newest()
            except HardwareError:
                failures += 1
                if failures > _RESTARTS:
                    raise
                self._target.camera.feed.restart()
                continue
            failures = 0
            self.step(fed)


def _failed(error: Exception) -> Command:
    return Command(None, LockState.FAULT, float("nan"), 0.0, ("camera_fault",), " ".join(str(error).split()))
