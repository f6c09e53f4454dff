"""Which plane of a recorded stack is in view."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import Stack

DEFAULT_STEP_UM = 1.0


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
        return np.arange(n) * (self.stack.voxel_size_um[0] or DEFAULT_STEP_UM)

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
