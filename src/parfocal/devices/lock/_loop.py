"""The loop of a lock: one frame of the bead camera in, one command to the stage out, at the camera's rate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._camera import Camera
from parfocal.devices._feed import FedFrame
from parfocal.devices._stage import StageAxis
from parfocal.devices.lock._regions import Region, RoiPx, regions_beside, shapes_of
from parfocal.devices.lock._ring import LockRing
from parfocal.devices.lock._undisturbed import undisturbed, uninterrupted
from parfocal.errors import BadInputError, HardwareError
from parfocal.fitting import DefocusModel
from parfocal.focus import (
    Command,
    LockController,
    LockSettings,
    LockState,
    Measurement,
    RoiMeasure,
    SeveralBeads,
    StageState,
)
from parfocal.optics import CameraModel

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
    settings : LockSettings
        How the region follows the bead, and how many beads there are to be.
    model : DefocusModel
        The calibration.
    command_to_motion_s : float
        How long after a command the stage is where it was sent, as if it went there at once.
    """

    camera: Camera
    axis: StageAxis
    holder: str
    roi_px: RoiPx
    settings: LockSettings
    model: DefocusModel
    command_to_motion_s: float = 0.0


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
        self._commanded_t_s = self._sending_s = 0.0
        self._regions = [self._region(target.roi_px)]
        self._beads: SeveralBeads | None = None  # from the first frame on, where there are to be several
        self._thread = threading.Thread(target=self._run, name=f"{target.holder}-loop", daemon=True)

    @property
    def rois_px(self) -> tuple[RoiPx, ...]:
        """The regions that are fitted now: y, x, height, width of each; the calibrated bead's first."""
        return tuple(region.roi_px for region in self._regions)

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
        now_s = self._target.camera.feed.now_s
        began_s = now_s()
        self._target.axis.nudge(self._target.holder, z_um)
        sent_s = now_s()
        self._commanded_t_s, self._sending_s = sent_s + self._target.command_to_motion_s, sent_s - began_s

    def step(self, fed: FedFrame) -> None:
        """Measure one frame, ask the controller, move, record."""
        camera, axis = self._target.camera, self._target.axis
        arrived_s = camera.feed.now_s()
        if self._target.settings.n_beads > 1 and self._beads is None:
            self._beads = self._look_round(fed.pixels)
        measured = [self._measure(fed.number, fed.t_s, r.cut(fed.pixels), r.camera_model) for r in self._regions]
        measurement = measured[0] if self._beads is None else self._beads.combine(measured)
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
        self._follow_spots(measured, command)

    def _region(self, roi_px: RoiPx) -> Region:
        return Region(roi_px, self._camera_model, self._target.camera.facts.shape, self._target.settings)

    def _look_round(self, frame: NDArray[np.generic]) -> SeveralBeads:
        """Find the other beads in the first frame, before anything moves."""
        beside = regions_beside(frame, self._target.roi_px, self._target.settings.n_beads - 1)
        self._regions = [*self._regions, *(self._region(roi_px) for roi_px in beside)]
        return SeveralBeads(self._target.model, self._target.settings, shapes_of(self._regions))

    def _follow_spots(self, measured: Sequence[Measurement], command: Command) -> None:
        is_tracked = command.state in _TRACKED
        for k, (region, m) in enumerate(zip(self._regions, measured, strict=True)):
            is_good = not command.flags if self._beads is None else bool(self._beads.is_good[k])
            if not region.follow(m.y_px, m.x_px, is_tracked and is_good):
                continue
            shape_px = region.roi_px[2:]
            if self._beads is None:
                self.controller.resize_roi(shape_px)
            else:
                self._beads.resize(k, shape_px)

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
            at_um, is_fault = axis.position, False
        except HardwareError:
            at_um, is_fault = commanded_um, True
        return StageState(at_um, commanded_um, self._commanded_t_s, low, high, is_fault, self._sending_s)

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        camera = self._target.camera
        try:
            if self._synchronous:
                with camera.feed.open(take=self._take):
                    self._stop.wait()
                return
            with undisturbed(), camera.feed.open() as frames:
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
            with uninterrupted():
                self.step(fed)


def _failed(error: Exception) -> Command:
    return Command(None, LockState.FAULT, float("nan"), 0.0, ("camera_fault",), " ".join(str(error).split()))
