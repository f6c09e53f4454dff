"""What breaks a simulated microscope on demand, as its hardware would break."""

from __future__ import annotations

import threading
from functools import partial

from parfocal.devices._faults import FaultOrder
from parfocal.devices.simulated._camera import SimulatedCamera
from parfocal.devices.simulated._spell import Spell, spells
from parfocal.devices.simulated._stage import SimulatedStage
from parfocal.errors import BadInputError


class SimulatedFaults:
    """The `FaultInjector` of a simulated world.

    Nothing above the drivers knows: a camera fails in `snap` or `next_frame`, a stage never arrives, the focal
    plane is elsewhere, a frame is dark.

    Parameters
    ----------
    stage : SimulatedStage
        Whose axes stall, and whose focal plane jumps.
    camera : SimulatedCamera
        That of the plans.
    focus_camera : SimulatedCamera, optional
        That of the lock, where it has its own.
    """

    def __init__(
        self, stage: SimulatedStage, camera: SimulatedCamera, focus_camera: SimulatedCamera | None = None
    ) -> None:
        self._stage = stage
        self._cameras = {"camera": camera} | ({"focus_camera": focus_camera} if focus_camera is not None else {})
        self._lock = threading.Lock()
        self._waiting: list[tuple[FaultOrder, int]] = []
        self._spells: list[Spell] = []
        for name, one in self._cameras.items():
            one.after_frame.append(partial(self._count, name))

    def inject(self, order: FaultOrder, /) -> None:
        """Let it happen now, or when so many frames have come."""
        if order.camera not in self._cameras:
            raise BadInputError(f"fault {order.fault}: this microscope has no camera of its own for the lock")
        if order.fault == "none":
            self._mend()
        elif order.after_frames == 0:
            self._happen(order)
        else:
            with self._lock:
                self._waiting.append((order, order.after_frames))

    def _count(self, camera: str) -> None:
        """Hear that a frame has come; in the thread of that camera."""
        if not self._waiting:
            return
        with self._lock:
            counted = [(order, left - (order.camera == camera)) for order, left in self._waiting]
            self._waiting = [(order, left) for order, left in counted if left > 0]
        for order, left in counted:
            if left == 0:
                self._happen(order)

    def _happen(self, order: FaultOrder) -> None:
        world, camera = self._stage.world, self._cameras[order.camera]
        for _ in range(order.n_times):
            if order.fault == "camera_timeout":
                camera.fail_next("timeout")
            elif order.fault == "frame_lost":
                camera.fail_next("drop")
            elif order.fault == "stage_stall":
                self._stage.fail_next("stall", order.axis)
        if not order.lasts:
            return
        begun = spells(world.now_s(), order.duration_s, order.n_times)
        with self._lock:
            self._spells = [spell for spell in self._spells if spell.end_s > world.now_s()] + begun
        for spell in begun:
            if order.fault == "lost_focus":
                world.lean(order.by_um, spell)
            elif order.fault == "bead_gone":
                self._cameras.get("focus_camera", self._cameras["camera"]).darken(spell)
            else:
                self._cameras["camera"].darken(spell)

    def _mend(self) -> None:
        now_s = self._stage.world.now_s()
        with self._lock:
            self._waiting = []
            for spell in self._spells:
                spell.end(now_s)
            self._spells = []
        for camera in self._cameras.values():
            camera.mend()
        self._stage.mend()
