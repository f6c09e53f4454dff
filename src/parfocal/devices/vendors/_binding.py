"""In what Orca and Andor differ: a `Binding`, one file each: `_orca.py`, `_andor.py`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Binding(Protocol):
    """What one vendor's camera does in its own way. `camera` is pylablib's object."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def open(self) -> Any:
        """Open the camera, the same one each time; `HardwareError` where it is not there."""
        ...

    def release(self, camera: Any) -> None:
        """Let go of a camera whose `close` failed or that never came up; raises nothing."""
        ...

    def is_gone(self, error: Exception) -> bool:
        """Say whether an error means that the camera has to be opened again."""
        ...

    def words(self, error: Exception) -> str:
        """Return an error of the library in one line."""
        ...

    def model(self, camera: Any) -> str:
        """Return what the camera is."""
        ...

    def dtype(self, camera: Any) -> np.dtype[np.generic]:
        """Return the type of its pixels."""
        ...

    def exposure_range_s(self, camera: Any) -> tuple[float, float]:
        """Return the shortest and longest exposure."""
        ...

    def set_exposure(self, camera: Any, exposure_s: float) -> None:
        """Set the exposure, with frames as fast as it allows."""
        ...

    def binnings(self, camera: Any) -> tuple[int, ...]:
        """Return the binnings that it has."""
        ...

    def gain_range(self, camera: Any) -> tuple[float, float] | None:
        """Return the smallest and largest gain; None where it has none."""
        ...

    def gain(self, camera: Any) -> float:
        """Return the gain; 1 where it has none."""
        ...

    def set_gain(self, camera: Any, gain: float) -> None:
        """Set the gain."""
        ...

    def temperature_c(self, camera: Any) -> float | None:
        """Return the sensor's temperature; None where it has no thermometer."""
        ...

    def readout_s(self, camera: Any) -> float:
        """Return how long the sensor is read out, with the present settings."""
        ...

    def stamp_s(self, info: Any) -> float | None:
        """Return a frame's time on the device's clock; None where it has none."""
        ...

    def lost_between(self, before: Any, info: Any) -> int:
        """Return how many frames the camera took between two that came, by its own counter or clock."""
        ...
