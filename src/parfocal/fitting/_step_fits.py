"""Each step of a sweep, measured: the parametric fit where there is one, moments where not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from parfocal.fitting._fit_defocus import WidthSamples
from parfocal.fitting._moments import moments_error, spot_moments
from parfocal.fitting._psf_fit import fit_psfs
from parfocal.fitting._sweep import Sweep
from parfocal.fitting._theta_line import ThetaLine, theta_line

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what is being done."""

_CHUNK = 16


@dataclass(frozen=True, eq=False)
class StepFits:
    """What was measured at each step of a sweep; arrays of n.

    Attributes
    ----------
    z_um, t_s : ndarray, float64
        Encoder, um; middle of the exposure, s.
    direction : ndarray, int8
        1 up, -1 down.
    is_parametric : ndarray, bool
        Sample class: `parametric_fit` where True, else `moment_fallback`, which is kept for diagnostics and
        never fitted to.
    reason : ndarray of str
        Why it is a fallback; "" where it is not.
    sigma_px : ndarray of shape (n, 2)
        sigma_x and sigma_y, px.
    covariance_px2 : ndarray of shape (n, 2, 2)
        Of the widths, by the frame's bound, px²; NaN in a fallback.
    x_px, y_px : ndarray, float64
        Centre in the ROI, px.
    photons, background : ndarray, float64
        Photoelectrons of the spot, and per pixel.
    deviance : ndarray, float64
        Of the fit; NaN in a fallback.
    degrees_of_freedom : int
        Of the deviance.
    signal : ndarray, float64
        `moments_error` along the axes of the astigmatism.
    weight : ndarray, float64
        Light above background in the ROI, ADU: the seed's weight.
    fit_r2 : ndarray, float64
        Share of the ROI's variance that the fit explains; NaN in a fallback. For the seed's CSV: it falls with
        the light at a perfect fit, so nothing here is judged by it.
    is_saturated : ndarray, bool
        A pixel is at the camera's limit.
    light_outside : ndarray, float64
        Share of the fitted spot beyond the ROI's edges.
    """

    z_um: NDArray[np.float64]
    t_s: NDArray[np.float64]
    direction: NDArray[np.int8]
    is_parametric: NDArray[np.bool_]
    reason: NDArray[np.str_]
    sigma_px: NDArray[np.float64]
    covariance_px2: NDArray[np.float64]
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    photons: NDArray[np.float64]
    background: NDArray[np.float64]
    deviance: NDArray[np.float64]
    degrees_of_freedom: int
    signal: NDArray[np.float64]
    weight: NDArray[np.float64]
    fit_r2: NDArray[np.float64]
    is_saturated: NDArray[np.bool_]
    light_outside: NDArray[np.float64]

    def __len__(self) -> int:
        return self.z_um.size

    @property
    def q(self) -> NDArray[np.float64]:
        """ln(sigma_x / sigma_y) of each step; NaN where a width is nothing, as by moments in an empty frame."""
        x, y = self._widths()
        return np.log(x / y)

    @property
    def q_se(self) -> NDArray[np.float64]:
        """Standard error of `q`."""
        c, (x, y) = self.covariance_px2, self._widths()
        return np.sqrt(c[:, 0, 0] / x**2 + c[:, 1, 1] / y**2 - 2 * c[:, 0, 1] / (x * y))

    def _widths(self) -> NDArray[np.float64]:
        return np.where(self.sigma_px > 0, self.sigma_px, np.nan).T

    def samples(self) -> WidthSamples:
        """Return the parametric fits' widths."""
        which = self.is_parametric
        return WidthSamples(self.z_um[which], self.sigma_px[which], self.covariance_px2[which])


def measure_steps(
    sweep: Sweep, *, theta_rad: float | None = None, on_progress: Progress | None = None
) -> tuple[StepFits, ThetaLine | None, float]:
    """Fit every step of a sweep with the one angle that the whole sweep tells.

    Parameters
    ----------
    sweep : Sweep
        ROIs and where the stage was.
    theta_rad : float, optional
        Angle of the axes, where it is known; by default by `theta_line`.
    on_progress : callable, optional
        Told steps done, steps in all and what is done.

    Returns
    -------
    StepFits, ThetaLine or None, float
        The fits, the line where it was found, and the angle used, rad.
    """
    n, height, width = sweep.rois.shape
    electrons = np.asarray(sweep.camera_model.to_electrons(sweep.rois), dtype=np.float64)
    moments = spot_moments(electrons)
    line = None
    quadrupole = moments.quadrupole()
    if np.isfinite(quadrupole).all(axis=1).sum() >= 3:
        line = theta_line(quadrupole)
    theta = theta_rad if theta_rad is not None else (0.0 if line is None else line.theta_rad)
    parts: list[dict[str, NDArray[np.generic]]] = []
    dof = height * width - 6
    for start in range(0, n, _CHUNK):
        if on_progress is not None:
            on_progress(start, n, "fitting")
        fits = fit_psfs(sweep.rois[start : start + _CHUNK], sweep.camera_model, theta_rad=theta)
        dof = fits.degrees_of_freedom
        parts.append(
            {
                "sigma": np.stack([fits.sigma_x_px, fits.sigma_y_px], axis=1),
                "covariance": fits.covariance[:, 4:6, 4:6],
                "centre": np.stack([fits.x_px, fits.y_px], axis=1),
                "light": np.stack([fits.photons, fits.background, fits.deviance], axis=1),
                "is_mle": fits.is_mle,
                "reason": fits.reason,
            }
        )
    if on_progress is not None:
        on_progress(n, n, "fitting")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    sigma, covariance, centre, light = (
        np.asarray(whole[name], dtype=np.float64) for name in ("sigma", "covariance", "centre", "light")
    )
    parametric, reason = _judged(
        whole["is_mle"].astype(np.bool_), whole["reason"].astype(str), sigma, covariance, centre, (height, width)
    )
    var_u, var_v = moments.along(theta)
    fallback = np.sqrt(np.maximum(np.stack([var_u, var_v], axis=1), 0))
    sigma = np.where(parametric[:, None], sigma, fallback)
    covariance = np.where(parametric[:, None, None], covariance, np.nan)
    r2, outside = _shown(electrons, sigma, centre, light[:, 0], light[:, 1], theta)
    gain = float(np.mean(sweep.camera_model.gain_adu_per_e))
    raw = np.asarray(sweep.rois, dtype=np.float64)
    steps = StepFits(
        z_um=np.asarray(sweep.z_um, dtype=np.float64),
        t_s=np.asarray(sweep.t_s, dtype=np.float64),
        direction=np.asarray(sweep.direction, dtype=np.int8),
        is_parametric=parametric,
        reason=reason,
        sigma_px=sigma,
        covariance_px2=covariance,
        x_px=centre[:, 0],
        y_px=centre[:, 1],
        photons=light[:, 0],
        background=light[:, 1],
        deviance=np.where(parametric, light[:, 2], np.nan),
        degrees_of_freedom=dof,
        signal=moments_error(electrons, theta_rad=theta),
        weight=np.maximum(np.nan_to_num(moments.light), 0) * gain,
        fit_r2=np.where(parametric, r2, np.nan),
        is_saturated=np.asarray((raw >= sweep.camera_model.saturation_adu).any(axis=(1, 2)), dtype=np.bool_),
        light_outside=np.where(parametric, outside, np.nan),
    )
    return steps, line, theta


def _judged(
    is_mle: NDArray[np.bool_],
    reason: NDArray[np.str_],
    sigma: NDArray[np.float64],
    covariance: NDArray[np.float64],
    centre: NDArray[np.float64],
    shape: tuple[int, int],
) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    """Return which fits are of a spot in the ROI, and why the others are not: it is not enough to converge."""
    said = reason.astype(object)
    good = is_mle.copy()
    relative = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)) / sigma
    middle = (np.array([shape[1], shape[0]]) - 1) / 2
    checks = (
        (~np.isfinite(relative).all(axis=1) | (relative > 0.5).any(axis=1), "widths not told by the light"),
        ((np.abs(centre - middle) > middle + 0.5).any(axis=1), "centre outside the ROI"),
        ((sigma > min(shape) / 2).any(axis=1), "wider than the ROI"),
    )
    for bad, words in checks:
        said[good & bad] = words
        good &= ~bad
    said[good] = ""
    return good, said.astype(np.str_)


def _shown(
    electrons: NDArray[np.float64],
    sigma: NDArray[np.float64],
    centre: NDArray[np.float64],
    photons: NDArray[np.float64],
    background: NDArray[np.float64],
    theta: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return R² of each spot's picture and the share of its light beyond the ROI."""
    n, height, width = electrons.shape
    cos, sin = np.cos(theta), np.sin(theta)
    dx = np.arange(width) - centre[:, 0, None, None]
    dy = np.arange(height)[:, None] - centre[:, 1, None, None]
    root = np.sqrt(2) * np.maximum(np.nan_to_num(sigma, nan=1.0), 1e-3)[:, :, None, None]
    share = np.ones((n, height, width))
    for at, scale in ((cos * dx - sin * dy, root[:, 0]), (sin * dx + cos * dy, root[:, 1])):
        share *= 0.5 * (erf((at + 0.5) / scale) - erf((at - 0.5) / scale))
    shown = photons[:, None, None] * share + background[:, None, None]
    left = np.square(electrons - shown).sum(axis=(1, 2))
    total = np.square(electrons - electrons.mean(axis=(1, 2), keepdims=True)).sum(axis=(1, 2))
    return 1 - left / np.maximum(total, 1e-300), 1 - share.sum(axis=(1, 2))
