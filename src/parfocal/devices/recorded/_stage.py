"""The stage of a recorded microscope."""

from __future__ import annotations

import math
import threading

import numpy as np

from parfocal.devices.recorded._view import DEFAULT_STEP_UM, RecordedView
from parfocal.errors import HardwareError

_VELOCITY_UM_PER_S = 1e6  # a recorded plane is there at once


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
        return float(steps.max()) / 2 if steps.size else DEFAULT_STEP_UM / 2

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
