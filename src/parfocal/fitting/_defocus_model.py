"""How the two widths of an astigmatic spot change with z."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

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

    def is_plain(self, z_um: ArrayLike) -> NDArray[np.bool_]:
        """Return where the curve is positive and grows away from its focus, as a spot does."""
        x = (np.asarray(z_um, dtype=np.float64) - self.center_um) / self.depth_um
        grows = 2 + x * (3 * self.a + x * 4 * self.b) > 0
        return grows & (1 + x**2 * (1 + x * (self.a + x * self.b)) > 0)

    def gradient(self, z_um: ArrayLike) -> NDArray[np.float64]:
        """Return d sigma / d (sigma0_px, center_um, depth_um, a, b) at each z, shape (n, 5)."""
        x = (np.atleast_1d(np.asarray(z_um, dtype=np.float64)) - self.center_um) / self.depth_um
        width, slope = self.width_px(np.atleast_1d(z_um)), self.slope_px_per_um(np.atleast_1d(z_um))
        scale = self.sigma0_px**2 / (2 * width)
        return np.stack([width / self.sigma0_px, -slope, -slope * x, scale * x**3, scale * x**4], axis=-1)

    def square_of(self, span_um: float) -> NDArray[np.float64]:
        """Return the coefficients of sigma² as a polynomial of z / span, lowest order first."""
        x = np.polynomial.Polynomial([-self.center_um / self.depth_um, span_um / self.depth_um])
        square = self.sigma0_px**2 * (1 + x**2 + self.a * x**3 + self.b * x**4)
        coefficients = np.zeros(5)
        coefficients[: square.coef.size] = square.coef
        return coefficients


@dataclass(frozen=True)
class ZCorrection:
    """From z that the model says to z that the stage said, learnt in a sweep; a plain shift outside its nodes.

    No real spot is a Gaussian, so an estimate is off by some nanometres, the same way in every frame of the same
    light: the more light stands against the noise of the background, the more the spot's wings count. So the curve
    depends on the contrast, photons / (background + read variance), which alone says how pixels are weighed; it
    is interpolated in its logarithm.

    Parameters
    ----------
    model_um : tuple of float
        Nodes, growing, um.
    stage_um : tuple of tuple of float
        What the stage said at each node, growing, um: one tuple for each contrast.
    contrast : tuple of tuple of float
        At each node, above 0: one tuple for each row of `stage_um`, each above the one before.
    usual : int
        Which row is that of the sweep's own light.
    read_variance_e2 : float
        Of a pixel, photoelectrons².
    se_factor : float
        Scatter of the sweep's estimates over their standard errors, at least 1: the bound of a Gaussian spot is
        too small for a real one.
    """

    model_um: tuple[float, ...]
    stage_um: tuple[tuple[float, ...], ...]
    contrast: tuple[tuple[float, ...], ...]
    usual: int
    read_variance_e2: float = 0.0
    se_factor: float = 1.0

    def __post_init__(self) -> None:
        n, n_rows = len(self.model_um), len(self.stage_um)
        if n < 2 or not 0 <= self.usual < n_rows or len(self.contrast) != n_rows:
            raise BadInputError(
                "z correction: expected 2 or more nodes, and a row of contrast for each of stage_um"
            )
        if any(len(row) != n for row in (*self.stage_um, *self.contrast)):
            raise BadInputError(f"z correction: expected {n} values in each row, as there are nodes")
        levels = np.array(self.contrast)
        if not all(np.all(np.diff(row) > 0) for row in (self.model_um, *self.stage_um)):
            raise BadInputError("z correction: model_um and each row of stage_um must grow")
        if not (np.all(levels > 0) and np.all(np.diff(levels, axis=0) > 0)):
            raise BadInputError("z correction: contrast must be above 0, and grow from row to row")

    def contrast_of(self, photons: ArrayLike, background: ArrayLike) -> NDArray[np.float64]:
        """Return photons / (background + read variance)."""
        floor = np.maximum(np.asarray(background, dtype=np.float64) + self.read_variance_e2, 1e-3)
        return np.maximum(np.asarray(photons, dtype=np.float64), 1e-3) / floor

    def z_um(self, z_um: ArrayLike, contrast: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the stage's z of a model's z, um, at a contrast (that of the sweep by default)."""
        z = np.asarray(z_um, dtype=np.float64)
        inside = np.clip(z, self.model_um[0], self.model_um[-1])
        return self._at(inside, self._curves(inside), contrast) + (z - inside)

    def slope(self, z_um: ArrayLike, contrast: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return d stage / d model: standard errors are multiplied by it."""
        z = np.asarray(z_um, dtype=np.float64)
        within = (z >= self.model_um[0]) & (z <= self.model_um[-1])
        inside = np.clip(z, self.model_um[0], self.model_um[-1])
        return np.where(within, self._at(inside, self._slopes(inside), contrast), 1.0)

    def _at(
        self, z_um: NDArray[np.float64], rows: NDArray[np.float64], contrast: ArrayLike | None
    ) -> NDArray[np.float64]:
        """Interpolate (..., n rows) at a contrast; the ends hold beyond."""
        if contrast is None or len(self.contrast) == 1:
            return np.asarray(rows[..., self.usual if contrast is None else 0], dtype=np.float64)
        level = np.log(np.asarray(contrast, dtype=np.float64))[..., np.newaxis]
        levels = np.asarray(self._levels(z_um), dtype=np.float64)
        low = np.clip((levels <= level).sum(axis=-1, keepdims=True) - 1, 0, levels.shape[-1] - 2)
        floor, ceiling = (np.take_along_axis(levels, low + i, -1) for i in (0, 1))
        share = np.clip((level - floor) / (ceiling - floor), 0, 1)
        below, above = (np.take_along_axis(rows, low + i, -1) for i in (0, 1))
        return np.asarray(below + share * (above - below), dtype=np.float64)[..., 0]

    @cached_property
    def _curves(self) -> PchipInterpolator:
        return PchipInterpolator(self.model_um, np.array(self.stage_um).T)

    @cached_property
    def _levels(self) -> PchipInterpolator:
        return PchipInterpolator(self.model_um, np.log(self.contrast).T)

    @cached_property
    def _slopes(self) -> PchipInterpolator:
        return self._curves.derivative()


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
    covariance : ndarray of shape (10, 10), optional
        Of `coefficients().ravel()`, as the sweep left them uncertain; None where unknown.
    correction : ZCorrection, optional
        What a direct-z estimate is passed through; see `corrected_um`.
    """

    x: WidthCurve
    y: WidthCurve
    theta_rad: float
    usable_um: tuple[float, float]
    pixel_size_um: float
    covariance: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    correction: ZCorrection | None = field(default=None, repr=False)

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

    def q_slope_per_um(self, z_um: ArrayLike) -> NDArray[np.float64]:
        """Return dq / dz, 1/um."""
        sigma_x_px, sigma_y_px = self.widths_px(z_um)
        return self.x.slope_px_per_um(z_um) / sigma_x_px - self.y.slope_px_per_um(z_um) / sigma_y_px

    def corrected_um(
        self, z_um: ArrayLike, photons: ArrayLike | None = None, background: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return a direct-z estimate with the correction learnt in the sweep, um; unchanged without one.

        Photons and background of the spot say which light the correction is for; that of the sweep by default.
        """
        if self.correction is None:
            return np.asarray(z_um, dtype=np.float64)
        contrast = None
        if photons is not None and background is not None:
            contrast = self.correction.contrast_of(photons, background)
        return self.correction.z_um(z_um, contrast)

    @cached_property
    def search_um(self) -> tuple[float, float]:
        """Where z is to be looked for, um: up to half the usable range beyond it.

        It ends before a curve is not positive or a width turns a second time: of its higher orders nothing is
        known there, and a spot may look like one on the usable side.
        """
        low, high = self.usable_um
        reach = 0.5 * (high - low)
        z = np.linspace(low - reach, high + reach, 2001)
        good = self.x.is_plain(z) & self.y.is_plain(z)
        first = int(np.flatnonzero(~good & (z < low)).max(initial=-1)) + 1
        last = int(np.flatnonzero(~good & (z > high)).min(initial=z.size)) - 1
        return min(float(z[first]), low), max(float(z[last]), high)

    def z_of_q(self, q: ArrayLike) -> NDArray[np.float64]:
        """Return z by the monotone cubic through 1024 nodes of q(z), um; NaN outside the usable range."""
        return np.asarray(self._inverse(np.asarray(q, dtype=np.float64)), dtype=np.float64)

    def z_of_q_analytic(self, q: float) -> float:
        """Return z as a root of the quartic exp(2 q) sigma_y(z)² = sigma_x(z)², um; NaN where none is usable.

        Of the real roots (|Im| below 1e-7 (1 + |Re|): exact tests drop some) in the usable range, the one
        nearest to focus.
        """
        span, numerator, denominator = self._quartics
        low, high = self.usable_um
        ratio = np.exp(2 * q)
        poly = numerator - ratio * denominator
        lead = np.flatnonzero(np.abs(poly) > 1e-13 * np.abs(poly).max())
        if lead.size == 0 or not np.isfinite(ratio):
            return float("nan")
        roots = _roots(poly[: lead[-1] + 1])
        real = roots.real[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots.real))] * span
        tolerance = 1e-7 * (high - low)
        inside = real[(real >= low - tolerance) & (real <= high + tolerance)]
        return float(inside[np.argmin(np.abs(inside))]) if inside.size else float("nan")

    def calibration_sd_um(self, z_um: ArrayLike) -> NDArray[np.float64]:
        """Return how well z is known for the calibration's own uncertainty, um; NaN without a covariance.

        sqrt((dz/dp)' Cov (dz/dp)) of a direct-z estimate at z, in which each width counts by its photon bound
        sigma² / 2N (N drops out), relative to focus at 0, which is where the same errors put it. Systematic:
        more frames do not lower it.
        """
        z = np.atleast_1d(np.asarray(z_um, dtype=np.float64))
        if self.covariance is None:
            return np.full(np.shape(z_um), np.nan)
        shift = self._z_gradient(z) - self._z_gradient(np.zeros(1))
        variance = np.einsum("ni,ij,nj->n", shift, self.covariance, shift)
        return np.sqrt(np.maximum(variance, 0)).reshape(np.shape(z_um))

    @cached_property
    def _inverse(self) -> PchipInterpolator:
        z = np.linspace(*self.usable_um, 1024)
        q = self.q(z)
        order = slice(None) if q[-1] > q[0] else slice(None, None, -1)
        q, z = q[order], z[order]
        if not np.all(np.diff(q) > 0):
            raise BadInputError(
                f"defocus model: sigma_x / sigma_y is not monotone over {self.usable_um} um: shorten usable_um"
            )
        return PchipInterpolator(q, z, extrapolate=False)

    @cached_property
    def _quartics(self) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """The squares of both widths as polynomials of z / span, lowest order first."""
        span = max(self.x.depth_um, self.y.depth_um)
        return span, self.x.square_of(span), self.y.square_of(span)

    def _z_gradient(self, z_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return dz / d coefficients of a direct-z estimate at z, shape (n, 10)."""
        weights = [1 / np.square(w) for w in self.widths_px(z_um)]
        slopes = [c.slope_px_per_um(z_um) for c in (self.x, self.y)]
        information = sum(w * s * s for w, s in zip(weights, slopes))
        parts = [
            (-(w * s) / information)[:, np.newaxis] * c.gradient(z_um)
            for w, s, c in zip(weights, slopes, (self.x, self.y))
        ]
        return np.concatenate(parts, axis=1)


def usable_range(x: WidthCurve, y: WidthCurve, swept_um: tuple[float, float]) -> tuple[float, float]:
    """Return where q is monotone around 0, limited to where it was swept, um.

    The ends are the stationary points of q nearest to 0, roots of X'Y - XY' with X and Y the squares of the
    widths: the one polynomial of degree 7 or less. Where the curves are not positive, the range ends too.
    """
    span = max(x.depth_um, y.depth_um)
    big_x, big_y = (np.polynomial.Polynomial(curve.square_of(span)) for curve in (x, y))
    stationary = _real_roots((big_x.deriv() * big_y - big_x * big_y.deriv()).coef) * span
    zeros = np.concatenate([_real_roots(big_x.coef), _real_roots(big_y.coef)]) * span
    ends = np.concatenate([stationary, zeros])
    # a root of even order (a flat spot) is no turn, yet there q says nothing: it ends the range as well
    low = max(swept_um[0], float(np.max(ends[ends < 0], initial=-np.inf)))
    high = min(swept_um[1], float(np.min(ends[ends > 0], initial=np.inf)))
    # just inside the turn, where q still grows by more than rounding
    shrink = 1e-4 * (high - low)
    return (low + (low > swept_um[0]) * shrink, high - (high < swept_um[1]) * shrink)


def _real_roots(poly: NDArray[np.float64]) -> NDArray[np.float64]:
    lead = np.flatnonzero(np.abs(poly) > 1e-13 * np.abs(poly).max(initial=0))
    if lead.size == 0 or lead[-1] == 0:
        return np.empty(0)
    roots = _roots(poly[: lead[-1] + 1])
    return roots.real[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots.real))]


def _roots(poly: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the roots of a polynomial, lowest order first, as eigenvalues of its companion matrix."""
    degree = poly.size - 1
    if degree < 1:
        return np.empty(0, np.complex128)
    companion = np.zeros((degree, degree))
    companion[np.arange(1, degree), np.arange(degree - 1)] = 1
    companion[:, -1] = -poly[:-1] / poly[-1]
    return np.linalg.eigvals(companion).astype(np.complex128, copy=False)
