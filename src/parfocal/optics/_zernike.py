"""Zernike polynomials on the unit disc in Noll's order, each of unit RMS."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError


def noll_to_nm(j: int) -> tuple[int, int]:
    """Return radial order n and signed azimuthal order m of Noll index j (from 1).

    m is above 0 for cosine terms and below 0 for sine terms: 4 is defocus, 5 oblique (45 deg) and 6 vertical
    (0/90 deg) astigmatism, 7 and 8 coma along y and x, 11 primary and 22 secondary spherical aberration.

    Raises
    ------
    BadInputError
        If j is below 1.
    """
    if j < 1:
        raise BadInputError(f"Zernike term: Noll index is {j}, expected 1 or more")
    n = int((math.sqrt(8 * j - 7) - 1) / 2)
    k = j - n * (n + 1) // 2  # 1 .. n+1 inside the row
    m = 2 * (k // 2) if n % 2 == 0 else 2 * ((k - 1) // 2) + 1
    return n, (m if j % 2 == 0 else -m)


def zernike_polynomial(j: int, rho: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Noll's polynomial j at polar pupil coordinates (rho from 0 to 1; theta from +x towards +y).

    Normalized so that the mean square over the unit disc is 1; not masked outside the disc.

    References
    ----------
    .. [1] R. J. Noll, "Zernike polynomials and atmospheric turbulence", J. Opt. Soc. Am. 66, 207 (1976).
    """
    n, signed_m = noll_to_nm(j)
    m = abs(signed_m)
    radial = np.zeros_like(rho)
    for s in range((n - m) // 2 + 1):
        factor = (-1) ** s * math.factorial(n - s)
        factor //= math.factorial(s) * math.factorial((n + m) // 2 - s) * math.factorial((n - m) // 2 - s)
        radial += factor * rho ** (n - 2 * s)
    if m == 0:
        return math.sqrt(n + 1) * radial
    angular = np.cos(m * theta) if signed_m > 0 else np.sin(m * theta)
    return math.sqrt(2 * (n + 1)) * radial * angular
