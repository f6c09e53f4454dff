"""The focus drive and XY stage of a Micro-Manager configuration."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from parfocal.devices.micromanager._core import in_one_line
from parfocal.errors import HardwareError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

_POLL_S = 0.001
_COMPANION_S = 0.003
_AT_ONCE_S = 0.001
_ASSUMED_VELOCITY_UM_PER_S = 1000.0
_VELOCITY = re.compile(r"(?:speed|velocity).*?\b(nm|um|mm)\s*/\s*s", re.IGNORECASE)
_UM = {"nm": 1e-3, "um": 1.0, "mm": 1e3}


class MicroManagerStage:
    """A `StageDriver` over the core's focus device (`z`) and XY stage (`x`, `y`).

    Device adapters may wait in the call that moves them, so each device has a thread that moves it; the latest
    target wins. An axis that the configuration lacks stands at 0 and can be sent nowhere else.

    Parameters
    ----------
    core : CMMCorePlus
        With a configuration loaded.
    velocity_um_per_s : mapping, optional
        Speeds by axis. Else a device property that names its unit, such as `Speed (mm/s)`, is read; else
        1000 um/s is assumed.
    """

    def __init__(self, core: CMMCorePlus, velocity_um_per_s: Mapping[str, float] | None = None) -> None:
        self._core = core
        self._told = dict(velocity_um_per_s or {})
        self._movers: dict[str, _Mover] = {}
        self._devices: dict[str, str] = {}
        if focus := core.getFocusDevice():
            self._devices["z"] = focus
            self._movers[focus] = _Mover(core, focus, lambda at: core.setPosition(focus, at["z"]), 0.0)
        if xy := core.getXYStageDevice():
            self._devices |= {"x": xy, "y": xy}
            self._movers[xy] = _Mover(core, xy, partial(self._move_xy, xy), _COMPANION_S)
        self._velocities = {axis: self._find_velocity(axis) for axis in "xyz"}

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes that the configuration has."""
        return tuple(axis for axis in "xyz" if axis in self._devices)

    def move(self, axis: str, position_um: float) -> None:
        """Start a move; x and y sent within 3 ms go as one."""
        if axis not in self._devices:
            if position_um != 0:
                raise HardwareError(f"Micro-Manager: the configuration has no stage for axis {axis}")
            return
        self._movers[self._devices[axis]].go(axis, position_um)

    def position_um(self, axis: str) -> float:
        """Return where the device says it is, um."""
        device = self._devices.get(axis)
        if device is None:
            return 0.0
        with in_one_line(f"Micro-Manager: {device} does not say where it is"):
            if axis == "z":
                return self._core.getPosition(device)
            return self._core.getXPosition(device) if axis == "x" else self._core.getYPosition(device)

    def is_moving(self, axis: str) -> bool:
        """Say whether the device is still on its way; raise what went wrong there."""
        device = self._devices.get(axis)
        return self._movers[device].is_moving() if device is not None else False

    def stop(self, axis: str) -> None:
        """Stop the device of the axis, if it moves."""
        device = self._devices.get(axis)
        if device is not None:
            self._movers[device].stop()

    def velocity_um_per_s(self, axis: str) -> float:
        """Return the axis's speed, um/s."""
        return self._velocities[axis]

    def close(self) -> None:
        """Let the threads end."""
        for mover in self._movers.values():
            mover.close()

    def _move_xy(self, device: str, target: dict[str, float]) -> None:
        x_um, y_um = self._core.getXYPosition(device) if len(target) < 2 else (0.0, 0.0)
        self._core.setXYPosition(device, target.get("x", x_um), target.get("y", y_um))

    def _find_velocity(self, axis: str) -> float:
        if axis in self._told:
            return float(self._told[axis])
        device = self._devices.get(axis)
        if device is None:
            return _ASSUMED_VELOCITY_UM_PER_S
        for name in self._core.getDevicePropertyNames(device):
            if found := _VELOCITY.search(name):
                try:
                    value = float(self._core.getProperty(device, name)) * _UM[found[1].lower()]
                except (RuntimeError, ValueError):
                    continue
                if value > 0:
                    return value
        return _ASSUMED_VELOCITY_UM_PER_S


class _Mover:
    """The thread that moves one device."""

    def __init__(
        self, core: CMMCorePlus, device: str, send: Callable[[dict[str, float]], None], companion_s: float
    ) -> None:
        self._core = core
        self._device = device
        self._send = send
        self._companion_s = companion_s
        self._target: dict[str, float] = {}
        self._error: Exception | None = None
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name=f"mm-{device}", daemon=True).start()

    def go(self, axis: str, position_um: float) -> None:
        with self._lock:
            self._target[axis] = position_um
            self._error = None
            self._idle.clear()
        self._wake.set()
        if not self._companion_s:
            # A piezo or a demo stage is there before anybody has looked: spare its moves the polling.
            self._idle.wait(_AT_ONCE_S)

    def is_moving(self) -> bool:
        if not self._idle.is_set():
            return True
        with self._lock:
            error, self._error = self._error, None
        if error is not None:
            raise HardwareError(f"Micro-Manager: {self._device} did not move: {' '.join(str(error).split())}")
        with in_one_line(f"Micro-Manager: {self._device}"):
            return self._core.deviceBusy(self._device)

    def stop(self) -> None:
        with self._lock:
            self._target.clear()
        with in_one_line(f"Micro-Manager: {self._device} cannot be stopped"):
            # Not every adapter knows Stop: one that stands still need not be asked.
            if not self._idle.is_set() or self._core.deviceBusy(self._device):
                self._core.stop(self._device)

    def close(self) -> None:
        self._closed.set()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._closed.wait(self._companion_s) if self._companion_s else self._closed.is_set():
                return
            self._wake.clear()
            try:
                # Many stages refuse a new target while they move.
                while self._core.deviceBusy(self._device):
                    if self._closed.wait(_POLL_S):
                        return
                with self._lock:
                    target, self._target = self._target, {}
                if target:
                    self._send(target)
            except Exception as error:
                with self._lock:
                    self._error, self._target = error, {}
            with self._lock:
                if not self._target:
                    self._idle.set()
