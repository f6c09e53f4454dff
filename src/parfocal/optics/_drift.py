"""How a sample drifts: a ramp, a thermal wave and a random walk, as one function of time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics._random import BROWNIAN_SPAN_S, brownian


@dataclass(frozen=True)
class Drift:
    """Drift of the sample relative to the objective, axes (z, y, x).

    Displacement at time t is ``linear t + thermal (1 - cos(2 pi t / period)) / 2 + random_walk W(t)``, W
    being a Brownian path drawn by successive halving, so that it can be asked for at any time in any order.

    Parameters
    ----------
    linear_um_per_s : (float, float, float)
        Steady drift, um/s.
    random_walk_um_per_sqrt_s : (float, float, float)
        Standard deviation of the walk after one second, um.
    thermal_um : (float, float, float)
        Peak-to-peak amplitude of the wave of the room's air conditioning, um.
    thermal_period_s : float
        Its period, s.
    seed : int
        Which walk.
    """

    linear_um_per_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    random_walk_um_per_sqrt_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    thermal_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    thermal_period_s: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.thermal_period_s <= 0 or min(self.random_walk_um_per_sqrt_s) < 0:
            raise BadInputError("drift: thermal_period_s must be above 0 and the random walk 0 or more")

    def at(self, t_s: float) -> NDArray[np.float64]:
        """Return the displacement (z, y, x) at `t_s` seconds after the start, um; zero at 0.

        Raises
        ------
        BadInputError
            If t_s is negative or beyond 194 days.
        """
        if not 0 <= t_s < BROWNIAN_SPAN_S:
            raise BadInputError(f"drift: t_s is {t_s:g}, expected 0 to {BROWNIAN_SPAN_S:g} s after the start")
        wave = (1 - math.cos(2 * math.pi * t_s / self.thermal_period_s)) / 2
        shift = np.array(self.linear_um_per_s) * t_s + np.array(self.thermal_um) * wave
        for axis, scale in enumerate(self.random_walk_um_per_sqrt_s):
            if scale > 0:
                shift[axis] += scale * brownian(
                    float(t_s), np.uint64(self.seed % 2**62) * np.uint64(3) + np.uint64(axis)
                )
        return shift
