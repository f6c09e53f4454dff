"""How the two widths of an astigmatic spot change with z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class WidthCurve:
    """One axis of a spot: s(z) = s0 sqrt(1 + X² + A X³ + B X⁴), X = (z - c) / d.

    Parameters
    ----------
    sigma0_px : float
        Width at this axis' own focus, px.
    center_um : float
        z of this axis' own focus, um.
    depth_um : float
        Distance over which the width grows by sqrt(2), um.
    a, b : float
        Coefficients of the third and fourth order.

    References
    ----------
    .. [1] B. Huang, W. Wang, M. Bates, X. Zhuang, "Three-dimensional super-resolution imaging by stochastic
       optical reconstruction microscopy", Science 319, 810 (2008).
    """

    sigma0_px: float
    center_um: float
    depth_um: float
    a: float = 0.0
    b: float = 0.0

    def __post_init__(self) -> None:
        if not (self.sigma0_px > 0 and self.depth_um > 0):
            raise BadInputError(
                f"width curve: sigma0_px={self.sigma0_px} and depth_um={self.depth_um} must be above 0"
            )

    def width_px(self, z_um: ArrayLike) -> NDArray[np.float64]:
        """Return sigma at z, px; NaN where the polynomial is not positive."""
        x = (np.asarray(z_um, dtype=np.float64) - self.center_um) / self.depth_um
        square = 1 + x**2 * (1 + x * (self.a + x * self.b))
        return self.sigma0_px * np.sqrt(np.where(square > 0, square, np.nan))

    def slope_px_per_um(self, z_um: ArrayLike) -> NDArray[np.float64]:
        """Return d sigma / dz, px/um."""
        x = (np.asarray(z_um, dtype=np.float64) - self.center_um) / self.depth_um
        growth = x * (2 + x * (3 * self.a + x * 4 * self.b))
        return self.sigma0_px**2 * growth / (2 * self.depth_um * self.width_px(z_um))


@dataclass(frozen=True)
class DefocusModel:
    """Both widths over z, calibrated.

    z is counted as the stage counts it, from where both widths are equal: when the stage moves by +0.1 um, a
    spot at rest in the sample is measured 0.1 um higher. Widths are along axes turned by `theta_rad`:
    u = cos(theta) (x - x0) - sin(theta) (y - y0), v = sin(theta) (x - x0) + cos(theta) (y - y0).

    Parameters
    ----------
    x, y : WidthCurve
        The widths along u and along v.
    theta_rad : float
        In (-pi/4, pi/4].
    usable_um : (float, float)
        Where q = ln(sigma_x / sigma_y) is monotone and calibrated; z outside is not to be trusted.
    pixel_size_um : float
        Of the camera that was calibrated, at the sample.
    """

    x: WidthCurve
    y: WidthCurve
    theta_rad: float
    usable_um: tuple[float, float]
    pixel_size_um: float

    def widths_px(self, z_um: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sigma_x and sigma_y at z, px."""
        return self.x.width_px(z_um), self.y.width_px(z_um)

    def q(self, z_um: ArrayLike) -> NDArray[np.float64]:
        """Return ln(sigma_x / sigma_y) at z."""
        sigma_x_px, sigma_y_px = self.widths_px(z_um)
        return np.log(sigma_x_px / sigma_y_px)

    def coefficients(self) -> NDArray[np.float64]:
        """Return the curves as a (2, 5) array, for kernels: sigma0_px, center_um, depth_um, a, b of x, then y."""
        return np.array([[c.sigma0_px, c.center_um, c.depth_um, c.a, c.b] for c in (self.x, self.y)])
