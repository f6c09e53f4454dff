"""Radial profiles of diffraction spots, in and out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_V_END, _V_STEP = 44.0, 0.05
_CORE = 1.32  # v = 2 pi NA r / lambda at r = sigma = 0.21 lambda / NA, the Gaussian of the same core
_DEFOCUS_RAD = (0.0, 0.0, 0.8, -1.1, 1.4, 1.8)
_SPHERICAL_RAD = (0.0, 0.35, 0.2, 0.4, -0.4, 0.3)


@dataclass(frozen=True)
class SpotProfiles:
    """Radial densities of spots, all of energy 1.

    Parameters
    ----------
    density : float64[kind, v]
        Per unit of v², at v = 0, 0.05, ... ; kind 0 is Airy's.
    """

    density: NDArray[np.float64]

    def per_px(self, sigma_px: float) -> float:
        """Return how many entries one pixel spans, for a spot whose core is as wide as that Gaussian."""
        return _CORE / (_V_STEP * sigma_px)

    def in_pixels(self, kind: int, sigma_px: float) -> NDArray[np.float64]:
        """Return the density per px²."""
        return self.density[kind] * (_CORE / sigma_px) ** 2


@cache
def spot_profiles() -> SpotProfiles:
    """Return spots of a round pupil with defocus and spherical aberration.

    I(v) = |2 ∫ J0(v rho) exp(i phi(rho)) rho drho|² / 4 pi, with phi = a (2 rho² - 1) + b (6 rho⁴ - 6 rho² + 1).
    """
    from scipy.special import j0

    v = np.arange(0.0, _V_END, _V_STEP)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    rho, weight = 0.5 * (nodes + 1.0), 0.25 * weights * (nodes + 1.0)
    bessel = j0(v[:, None] * rho) * weight
    kinds: list[NDArray[np.float64]] = []
    for defocus, spherical in zip(_DEFOCUS_RAD, _SPHERICAL_RAD, strict=True):
        phase = defocus * (2 * rho**2 - 1) + spherical * (6 * rho**4 - 6 * rho**2 + 1)
        kinds.append(np.abs(2 * bessel @ np.exp(1j * phase)) ** 2 / (4 * np.pi))
    return SpotProfiles(np.array(kinds))
