"""A Mad City Labs piezo stage as a `StageDriver`."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from parfocal.devices.vendors._nanodrive import MadlibDrive, MemoryDrive, NanoDrive, drive_of_module, load_madlib
from parfocal.errors import BadInputError, HardwareError

_NUMBERS = {"x": 1, "y": 2, "z": 3}
_ASSUMED_VELOCITY_UM_PER_S = 1000.0
MEMORY = "in-memory stand-in, not hardware"


@dataclass
class _Axis:
    number: int
    range_um: float
    target_um: float | None = None
    arrived: bool = True


class MclStage:
    """A `StageDriver` over a Nano-Drive. It has arrived when its own sensor says so.

    Parameters
    ----------
    drive : NanoDrive
        By whichever door.
    backend : str
        What stands behind, for the documents.
    axis : {"x", "y", "z"}
        Which of the drive's axes (1, 2, 3) is our z. The others keep their names, where the drive has them.
    settle_um : float
        How near the target the sensor has to read.
    settle_s : float
        How long it has to stay there.

    Raises
    ------
    BadInputError
        The drive has no such axis.
    """

    def __init__(
        self,
        drive: NanoDrive,
        backend: str,
        axis: str = "z",
        settle_um: float = 0.02,
        settle_s: float = 0.002,
        velocity_um_per_s: float = _ASSUMED_VELOCITY_UM_PER_S,
    ) -> None:
        self.backend = backend
        self._drive = drive
        self._settle_um = settle_um
        self._settle_s = settle_s
        self._velocity = velocity_um_per_s
        self._lock = threading.Lock()
        self._inside_since: dict[str, float] = {}
        try:
            self._axes = self._find_axes(axis)
        except Exception:
            drive.close()
            raise

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(self._axes)

    def limits_um(self, axis: str) -> tuple[float, float]:
        """Return the travel of an axis, um, as its calibration says."""
        found = self._axes.get(axis)
        return (0.0, found.range_um if found is not None else 0.0)

    def move(self, axis: str, position_um: float) -> None:
        """Send an axis somewhere; refused beyond its travel."""
        found = self._axes.get(axis)
        if found is None:
            if position_um != 0:
                raise HardwareError(f"mcl stage: it has no axis {axis}, only {', '.join(self._axes)}")
            return
        if not 0 <= position_um <= found.range_um:
            raise HardwareError(
                f"mcl stage: {axis} cannot go to {position_um:g} um, its travel is 0 to {found.range_um:g} um"
            )
        with self._lock:
            self._inside_since.pop(axis, None)
            found.target_um = None
            self._drive.write_um(position_um, found.number)
            found.target_um, found.arrived = position_um, False

    def position_um(self, axis: str) -> float:
        """Return where the sensor sees the axis, um; an axis that the drive lacks stands at 0."""
        found = self._axes.get(axis)
        return self._drive.read_um(found.number) if found is not None else 0.0

    def is_moving(self, axis: str) -> bool:
        """Say whether the sensor has not yet stayed at the target for the settling time."""
        found = self._axes.get(axis)
        if found is None or found.arrived or found.target_um is None:
            return False
        target_um = found.target_um
        away_um = abs(self._drive.read_um(found.number) - target_um)
        now = time.monotonic()
        with self._lock:
            if found.target_um != target_um:
                return True
            if away_um > self._settle_um:
                self._inside_since.pop(axis, None)
                return True
            found.arrived = now - self._inside_since.setdefault(axis, now) >= self._settle_s
            return not found.arrived

    def stop(self, axis: str) -> None:
        """Hold the axis where it is, if it is on its way."""
        found = self._axes.get(axis)
        if found is None or found.arrived:
            return
        here_um = min(max(self._drive.read_um(found.number), 0.0), found.range_um)
        with self._lock:
            self._drive.write_um(here_um, found.number)
            found.target_um, found.arrived = here_um, True

    def velocity_um_per_s(self, axis: str) -> float:
        """Return the speed that is assumed of the piezo, um/s; the drive does not tell."""
        return self._velocity

    def close(self) -> None:
        """Let go of the drive; it stays where it is."""
        self._drive.close()

    def _find_axes(self, focus: str) -> dict[str, _Axis]:
        if focus not in _NUMBERS:
            raise BadInputError(f"mcl stage: axis is {focus!r}, expected x, y or z")
        ranges = {name: self._drive.range_um(number) for name, number in _NUMBERS.items()}
        if not ranges[focus] > 0:
            there = ", ".join(name for name, range_um in ranges.items() if range_um > 0) or "none"
            raise BadInputError(f"mcl stage: the drive has no axis {focus}; it has {there}")
        axes = {name: _Axis(_NUMBERS[name], ranges[name]) for name in "xy" if name != focus and ranges[name] > 0}
        return axes | {"z": _Axis(_NUMBERS[focus], ranges[focus])}


def open_mcl_stage(
    backend: str = "dll",
    *,
    axis: str = "z",
    serial: int | None = None,
    library: str | None = None,
    wrapper: str | None = None,
    wrapper_folder: str | None = None,
    range_um: float = 100.0,
    settle_um: float = 0.02,
    settle_s: float = 0.002,
    velocity_um_per_s: float = _ASSUMED_VELOCITY_UM_PER_S,
) -> MclStage:
    """Open a Mad City Labs stage by one of three doors.

    Parameters
    ----------
    backend : {"dll", "wrapper", "memory"}
        The vendor's Madlib; a Python module of yours; or nothing but memory, which every document then says.
    axis : {"x", "y", "z"}
        Which of the drive's axes is our z.
    serial : int, optional
        Which drive, by its serial number; None: the only one.
    library : str, optional
        Path of Madlib, for `dll`; default: where the system looks for libraries.
    wrapper, wrapper_folder : str, optional
        The module's name and the folder it lies in, for `wrapper`; without folder, an installed module.
    range_um : float
        Travel of the `memory` stand-in.
    settle_um, settle_s, velocity_um_per_s : float
        See `MclStage`.

    Raises
    ------
    BadInputError
        No library, no module, or no such axis.
    HardwareError
        The drive cannot be opened.
    """
    drive: NanoDrive
    if backend == "dll":
        madlib = MadlibDrive(load_madlib(library), serial)
        drive, behind = (
            madlib,
            f"Mad City Labs Nano-Drive {madlib.serial} (product {madlib.product_id:#06x}), Madlib",
        )
    elif backend == "wrapper":
        if wrapper is None:
            raise BadInputError("mcl stage: backend 'wrapper' needs `wrapper`, the name of a Python module")
        drive, behind = drive_of_module(wrapper, wrapper_folder, serial), f"module {wrapper}"
    elif backend == "memory":
        if not range_um > 0:
            raise BadInputError(f"mcl stage: range_um is {range_um:g}, expected more than 0")
        drive, behind = MemoryDrive(range_um), MEMORY
    else:
        raise BadInputError(f"mcl stage: backend is {backend!r}, expected dll, wrapper or memory")
    return MclStage(drive, behind, axis, settle_um, settle_s, velocity_um_per_s)
