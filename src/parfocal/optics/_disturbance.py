"""What spoils one exposure: a sample that moves while the shutter is open, light that falls unevenly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Path = tuple[tuple[float, float, float], ...]


class Illumination(Protocol):
    """How the light falls on the sensor's field."""

    def factor(self, y_px: NDArray[np.float64], x_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor on all light at pixels of the sensor: `y_px` `[y, 1]`, `x_px` `[1, x]`."""
        ...


@dataclass(frozen=True)
class OffCentreLamp:
    """A Gaussian beam that has slipped: `floor` of the light is left far from its centre."""

    y_px: float
    x_px: float
    width_px: float
    floor: float = 0.1

    def factor(self, y_px: NDArray[np.float64], x_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return floor + (1 - floor) exp(-r² / 2 width²); see `Illumination`."""
        r2 = (y_px - self.y_px) ** 2 + (x_px - self.x_px) ** 2
        return self.floor + (1 - self.floor) * np.exp(-r2 / (2 * self.width_px**2))


@dataclass(frozen=True)
class Obstruction:
    """Something far out of focus before the lamp, such as an air bubble: a dark disc with a soft edge."""

    y_px: float
    x_px: float
    radius_px: float
    edge_px: float = 20.0
    left: float = 0.15

    def factor(self, y_px: NDArray[np.float64], x_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `left` inside, 1 outside, a logistic step between; see `Illumination`."""
        r = np.hypot(y_px - self.y_px, x_px - self.x_px)
        inside = 1 / (1 + np.exp(np.clip((r - self.radius_px) / (self.edge_px / 4), -50, 50)))
        return 1 - (1 - self.left) * inside


@dataclass(frozen=True)
class Disturbance:
    """What is wrong during one exposure, and over afterwards.

    Attributes
    ----------
    path_um : tuple of (dz, dy, dx)
        Where the sample is, from where it would be, at even times through the exposure; empty: it is still.
    illumination : Illumination, optional
        How unevenly the light falls.
    """

    path_um: Path = ()
    illumination: Illumination | None = None


def straight_path(by_um: tuple[float, float, float], step_um: float = 0.12) -> Path:
    """Return a motion at constant speed through the exposure, its middle where the sample would be.

    `by_um` (dz, dy, dx) is the whole way; it is cut into steps of `step_um`, below a pixel, so that they do not
    show.
    """
    n = max(2, math.ceil(math.hypot(*by_um) / step_um) + 1)
    return tuple((s * by_um[0], s * by_um[1], s * by_um[2]) for s in np.linspace(-0.5, 0.5, n).tolist())
