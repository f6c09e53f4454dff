"""What a lock holds, as a Movable: plans that would move z move this while it is locked."""

from __future__ import annotations

import math
import threading
from typing import Any, Protocol

from ophyd import Signal

from parfocal.devices._stage import StageAxis
from parfocal.devices._status import PlainStatus, finished
from parfocal.devices.lock._loop import LockLoop
from parfocal.errors import HardwareError
from parfocal.focus import Command, LockController, LockState

_SETTLE_TIMEOUT_S = 10.0
_ARRIVAL_UM = 0.02
_MARGIN = 0.15  # of the calibrated range to either side: at its very end noise alone would leave it
_POLL_S = 0.002


class Lock(Protocol):
    """What a setpoint needs of the lock that it belongs to; `FocusLock` has it."""

    name: str
    axis: StageAxis
    state: Signal

    @property
    def patience_s(self) -> float:
        """How long a lost bead is waited for before the lock gives up."""
        ...

    @property
    def setpoint(self) -> LockSetpoint:
        """What it holds."""
        ...

    def need_loop(self) -> LockLoop:
        """Return the loop at work; `HardwareError` while the lock is off."""
        ...


class LockSetpoint:
    """Distance from the focus found at engage, um along z.

    Within the calibrated range the lock goes on measuring and steers to the offset. Beyond it, the lock is held:
    z goes to the offset from where the lock left it, frames are flagged as out of lock, and the way back ends
    with a look where the focus is now.
    """

    def __init__(self, lock: Lock) -> None:
        self.name = f"{lock.name}_setpoint"
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self._lock = lock
        self._offset_um = 0.0
        self._steered_um = 0.0  # the part of it that the controller knows of
        self._is_held = False
        self._must_hold = False  # somebody asked for it, whatever the offset
        self._pending: PlainStatus | None = None
        self._pending_um = 0.0
        self._guard = threading.Lock()
        self._n_steps = 0

    @property
    def position(self) -> float:
        """The offset, um."""
        return self._offset_um

    def reset(self) -> None:
        """Begin at 0, as a lock does that engages."""
        self._offset_um = self._steered_um = 0.0
        self._is_held = self._must_hold = False

    def set(self, offset_um: float, **_: Any) -> PlainStatus:
        """Hold the focus so far from where it was found; the status is done when it is held there.

        Beyond the calibrated range: when z has arrived.
        """
        try:
            return self._set(float(offset_um))
        except Exception as error:
            status = PlainStatus(self)
            status.set_exception(error)
            return status

    def _set(self, offset_um: float) -> PlainStatus:
        lock = self._lock
        loop = lock.need_loop()
        if not offset_um == offset_um:
            raise HardwareError(f"{self.name}: cannot go to {offset_um}, a distance in um was expected")
        with loop.guard:
            if self._can_steer(loop.controller, offset_um):
                return self._steer(loop, offset_um)
            if not self._is_held:
                loop.controller.hold()
            self._is_held = True
            target_um = lock.axis.setpoint_um + offset_um - self._offset_um
            loop.nudge(target_um)
            self._offset_um = offset_um
        status = PlainStatus(self)
        threading.Thread(target=self._arrive, args=(target_um, status), daemon=True).start()
        return status

    def hold(self) -> None:
        """Leave z alone but for what `set` says, and believe no frame until `look_again`."""
        loop = self._lock.need_loop()
        with loop.guard:
            loop.controller.hold()
            self._is_held = self._must_hold = True

    def look_again(self) -> PlainStatus:
        """Look where the focus is and go to the offset from there; done when locked, or at once beyond range."""
        loop = self._lock.need_loop()
        with loop.guard:
            self._must_hold = False
            if not self._can_steer(loop.controller, self._offset_um):
                return finished(self)
            return self._steer(loop, self._offset_um)

    def _can_steer(self, controller: LockController, offset_um: float) -> bool:
        low, high = (end * (1 - _MARGIN) for end in controller.domain_um)
        return not self._must_hold and low <= controller.setpoint_um + offset_um - self._steered_um <= high

    def _steer(self, loop: LockLoop, offset_um: float) -> PlainStatus:
        controller = loop.controller
        if self._is_held:  # back to where it was left, to look there, and on from there
            loop.nudge(self._lock.axis.setpoint_um + self._steered_um - self._offset_um)
            controller.resume()
        controller.move_setpoint(offset_um - self._steered_um)
        self._offset_um = self._steered_um = offset_um
        self._is_held = False
        return self.wait_settled()

    def _arrive(self, target_um: float, status: PlainStatus) -> None:
        axis, tick, waited_s = self._lock.axis, threading.Event(), 0.0
        while axis.driver.is_moving(axis.axis) or abs(axis.position - target_um) > _ARRIVAL_UM:
            waited_s += _POLL_S
            if waited_s > axis.timeout_s:
                status.set_exception(
                    HardwareError(f"{axis.name} ended at {axis.position:.3f} um, sent to {target_um:.3f} um")
                )
                return
            tick.wait(_POLL_S)
        tick.wait(axis.settle_s)
        status.set_finished()

    def wait_settled(self, timeout_s: float = _SETTLE_TIMEOUT_S) -> PlainStatus:
        """Return a status that is done when the lock says LOCKED again."""
        status = PlainStatus(self)
        with self._guard:
            before, self._pending, self._n_steps = self._pending, status, 0
            is_the_same, self._pending_um = self._pending_um == self._offset_um, self._offset_um
        if before is not None and is_the_same:  # a plan that was suspended on its way asks again when it goes on
            status.add_callback(lambda done: _end_as(before, done))
        elif before is not None:
            before.set_exception(HardwareError(f"{self.name} was sent elsewhere on its way"))
        self._watch(status, timeout_s)
        return status

    def _watch(self, status: PlainStatus, timeout_s: float) -> None:
        late = threading.Timer(timeout_s, self._too_late, (status, timeout_s))
        late.daemon = True
        late.start()
        status.add_callback(lambda _: late.cancel())

    def _too_late(self, status: PlainStatus, timeout_s: float) -> None:
        if self._lock.state.get() == LockState.LOST and math.isfinite(self._lock.patience_s):
            self._watch(status, timeout_s)  # whoever is patient with the bead is with this
            return
        status.set_exception(
            HardwareError(
                f"{self.name} was not held within {timeout_s:g} s at {self._offset_um:g} um; "
                f"the lock is {self._lock.state.get()}"
            )
        )

    def note(self, command: Command) -> None:
        """Hear of a step, in the loop's thread."""
        with self._guard:
            status = self._pending
            self._n_steps += 1
            # The first step after the move still answers a frame from before it.
            if status is None or self._n_steps < 2 or command.state != LockState.LOCKED:
                return
            self._pending = None
        status.set_finished()

    def fail(self, error: Exception) -> None:
        """Say that the lock is off: nobody goes anywhere."""
        with self._guard:
            pending, self._pending = self._pending, None
        if pending is not None:
            pending.set_exception(error)

    def locate(self) -> dict[str, float]:
        """Return setpoint and readback, which are one."""
        return {"setpoint": self._offset_um, "readback": self._offset_um}

    def stop(self, *, success: bool = False) -> None:
        """Do nothing: the lock holds what it holds."""


def _end_as(status: PlainStatus, other: Any) -> None:
    error = other.exception()
    if error is None:
        status.set_finished()
    else:
        status.set_exception(error)


class LockHolding:
    """Whether the lock leaves z alone, as a Movable: 1 while the bead is out of sight, 0 to look for it again."""

    def __init__(self, lock: Lock) -> None:
        self.name = f"{lock.name}_holding"
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self._lock = lock

    def set(self, hold: bool | int) -> PlainStatus:
        """Hold (1), done at once; or go on (0), done when it is locked again."""
        try:
            if not hold:
                return self._lock.setpoint.look_again()
            self._lock.setpoint.hold()
        except Exception as error:
            status = PlainStatus(self)
            status.set_exception(error)
            return status
        return finished(self)
