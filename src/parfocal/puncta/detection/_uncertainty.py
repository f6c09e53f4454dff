"""The textbook formulas of a position's standard error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import FitMethod

Floats = NDArray[np.float64]


def uncertainty_nm(
    photons: ArrayLike,
    background_sd: ArrayLike,
    sigma_nm: ArrayLike,
    pixel_size_nm: float,
    method: FitMethod = "mle",
    *,
    em_gain: bool = False,
    read_noise_e: float = 0.0,
    quantum_efficiency: float = 1.0,
) -> Floats:
    """Return the standard error of a position along one axis, nm, as ThunderSTORM states it.

    With N photoelectrons, b their scatter in a pixel without spot, s the width, a the pixel and
    tau = 2 pi b² (s² + a²/12) / (N a²): maximum likelihood and weighted least squares reach [1]_
    sqrt((g s² + a²/12) / N (1 + 4 tau + sqrt(2 tau / (1 + 4 tau)))), least squares [2]_
    sqrt((g s² + a²/12) / N (16/9 + 4 tau)); g is 2 with an electron multiplier, whose read noise counts as 0.

    Parameters
    ----------
    photons, background_sd, sigma_nm : array_like
        Photons of the spot, scatter of photons in a pixel, width.
    pixel_size_nm : float
    method : {"mle", "wlsq", "lsq"}
    em_gain : bool
    read_noise_e : float
    quantum_efficiency : float
        Photoelectrons a photon.

    Raises
    ------
    BadInputError
        A pixel size or quantum efficiency that is not positive.

    References
    ----------
    .. [1] B. Rieger and S. Stallinga, ChemPhysChem 15, 664 (2014).
    .. [2] K. I. Mortensen et al., Nat. Methods 7, 377 (2010); R. E. Thompson et al., Biophys. J. 82, 2775 (2002).
    """
    if not (pixel_size_nm > 0 and 0 < quantum_efficiency <= 1):
        raise BadInputError(
            f"uncertainty: pixel size {pixel_size_nm} nm and quantum efficiency {quantum_efficiency}, expected "
            "numbers above 0, the second 1 at most"
        )
    n = np.asarray(photons, np.float64) * quantum_efficiency
    b = np.asarray(background_sd, np.float64) * quantum_efficiency + (0.0 if em_gain else read_noise_e)
    s = np.asarray(sigma_nm, np.float64)
    return _formula(n, b**2, s, pixel_size_nm, method, 2.0 if em_gain else 1.0)


def uncertainty_px(
    photons: Floats,
    background: Floats,
    sigma_px: Floats,
    method: FitMethod,
    excess_noise: float = 1.0,
    read_noise_e: float = 0.0,
) -> Floats:
    """Return the same in pixels, from the variance that is expected: excess noise scales the whole of it."""
    b2 = np.maximum(background, 0.0) + read_noise_e**2 / excess_noise
    return math.sqrt(excess_noise) * _formula(photons, b2, sigma_px, 1.0, method, 1.0)


def with_next_order(se_px: Floats, photons: Floats, photons_se: Floats) -> Floats:
    """Return standard errors of positions, px, that hold for dim spots too.

    What a fit states is Cramér and Rao's bound at the light that it found. With r the relative error of that
    light, the bound itself scatters by about r, and the error exceeds it by a term of the same order: together a
    factor of sqrt(1 + 2 r²), which `parfocal bench puncta` checks (`puncta/sigma-calibration`). Of bright spots it
    is 1.
    """
    return se_px * np.sqrt(1.0 + 2.0 * np.square(photons_se / photons))


def _formula(n: Floats, b2: Floats, s: Floats, a: float, method: FitMethod, g: float) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = 2 * math.pi * b2 * (s**2 + a**2 / 12) / (n * a**2)
        if method == "lsq":
            factor = 16 / 9 + 4 * tau
        else:
            factor = 1 + 4 * tau + np.sqrt(2 * tau / (1 + 4 * tau))
        return np.sqrt((g * s**2 + a**2 / 12) / n * factor)
