"""How well a spot can be known: Cramér-Rao's bound from the fit's own Fisher matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from parfocal.errors import BadInputError
from parfocal.fitting._defocus_model import DefocusModel
from parfocal.fitting._psf_depth import depth_search
from parfocal.fitting._psf_input import prepared
from parfocal.optics import CameraModel
from parfocal.read_only import read_only

_WIDTHS, _WIDTHS_AND_THETA, _DEPTH = 0, 1, 2


def spot_image(
    shape: tuple[int, int],
    x_px: float,
    y_px: float,
    sigma_x_px: float,
    sigma_y_px: float,
    photons: float,
    background: float = 0.0,
    theta_rad: float = 0.0,
) -> NDArray[np.float64]:
    """Return the picture that `fit_psf` fits: expected photoelectrons of an elliptical Gaussian spot.

    Each pixel's share is photons E(u) E(v), E(u) = [erf((u + 1/2) / (sqrt2 s)) - erf((u - 1/2) / (sqrt2 s))] / 2:
    exact for theta = 0, else over a pixel turned with the axes.

    Parameters
    ----------
    shape : (int, int)
        Height and width, px.
    x_px, y_px, sigma_x_px, sigma_y_px, photons, background, theta_rad : float
        As in `PsfFit`.

    Returns
    -------
    ndarray of shape `shape`, float64
    """
    y, x = np.ogrid[: shape[0], : shape[1]]
    dx, dy = x - x_px, y - y_px
    u = math.cos(theta_rad) * dx - math.sin(theta_rad) * dy if theta_rad else dx
    v = math.sin(theta_rad) * dx + math.cos(theta_rad) * dy if theta_rad else dy
    return photons * _share(u, sigma_x_px) * _share(v, sigma_y_px) + background


def _share(u: NDArray[Any], sigma_px: float) -> NDArray[np.float64]:
    scale = math.sqrt(0.5) / sigma_px
    return 0.5 * (np.asarray(erf((u + 0.5) * scale)) - np.asarray(erf((u - 0.5) * scale)))


def crlb_psf(
    sigma_x_px: float,
    sigma_y_px: float,
    photons: float,
    background: float,
    camera_model: CameraModel,
    roi_px: int | tuple[int, int] = 13,
    *,
    x_px: float | None = None,
    y_px: float | None = None,
    theta_rad: float = 0.0,
    fit_theta: bool = False,
    excess_noise: float = 1.0,
) -> NDArray[np.float64]:
    """Return the Cramér-Rao bound of a spot's parameters, a covariance matrix.

    The Fisher matrix is sum dmu dmuᵀ / (mu + v), the one that `fit_psf` climbs by.

    Parameters
    ----------
    sigma_x_px, sigma_y_px, photons, background, theta_rad : float
        The spot, as in `PsfFit`.
    camera_model : CameraModel
        Its read noise counts; a map must have the picture's shape.
    roi_px : int or (int, int)
        Side, or height and width, of the picture.
    x_px, y_px : float, optional
        Centre of the spot; that of the picture by default.
    fit_theta : bool
        Whether theta is unknown.
    excess_noise : float
        As in `fit_psf`.

    Returns
    -------
    ndarray of shape (6, 6), or (7, 7) with `fit_theta`
        In the order x, y, photons, background, sigma_x, sigma_y, theta.

    Raises
    ------
    BadInputError
        A value is out of its range, or theta is to be fitted to a round spot.
    """
    variances = _variances(camera_model, roi_px, excess_noise, "crlb_psf")
    height, width = variances.shape
    _check_positive("crlb_psf", sigma_x_px=sigma_x_px, sigma_y_px=sigma_y_px, photons=photons)
    state = np.array(
        [
            (width - 1) / 2 if x_px is None else x_px,
            (height - 1) / 2 if y_px is None else y_px,
            photons / excess_noise,
            background / excess_noise,
            sigma_x_px,
            sigma_y_px,
            theta_rad,
            0.0,
        ]
    )
    mode = _WIDTHS_AND_THETA if fit_theta else _WIDTHS
    return _bound(mode, state, np.zeros((2, 5)), variances, excess_noise, "crlb_psf")


def crlb_z(
    z_um: ArrayLike,
    photons: float,
    background: float,
    model: DefocusModel,
    camera_model: CameraModel,
    roi_px: int | tuple[int, int] = 13,
    *,
    x_px: float | None = None,
    y_px: float | None = None,
    excess_noise: float = 1.0,
) -> NDArray[np.float64]:
    """Return the Cramér-Rao bound of the defocus: the least standard error of one picture, um.

    Position, photons and background are unknown too. An estimate reaches it where it is small beside the distance
    over which the widths change: to 5 % where it is below a tenth of the curves' `depth_um`.

    Parameters
    ----------
    z_um : array_like
        Defocus, um.
    photons, background, camera_model, roi_px, x_px, y_px, excess_noise
        As in `crlb_psf`.
    model : DefocusModel
        The calibration.

    Returns
    -------
    ndarray of the shape of `z_um`

    Raises
    ------
    BadInputError
        A value is out of its range.
    """
    variances = _variances(camera_model, roi_px, excess_noise, "crlb_z")
    curves = depth_search(model).curves
    z = np.asarray(z_um, dtype=np.float64)
    out = np.empty(z.shape)
    for index in np.ndindex(z.shape):
        state = _depth_state(
            float(z[index]), photons, background, model, variances.shape, x_px, y_px, excess_noise
        )
        out[index] = math.sqrt(_bound(_DEPTH, state, curves, variances, excess_noise, "crlb_z")[4, 4])
    return out


def _depth_state(
    z_um: float,
    photons: float,
    background: float,
    model: DefocusModel,
    shape: tuple[int, ...],
    x_px: float | None,
    y_px: float | None,
    excess_noise: float,
) -> NDArray[np.float64]:
    sigma_x, sigma_y = (float(width) for width in model.widths_px(z_um))
    _check_positive("bound of z", photons=photons, sigma_x_px=sigma_x, sigma_y_px=sigma_y)
    x = (shape[1] - 1) / 2 if x_px is None else x_px
    y = (shape[0] - 1) / 2 if y_px is None else y_px
    return np.array(
        [x, y, photons / excess_noise, background / excess_noise, sigma_x, sigma_y, model.theta_rad, z_um]
    )


def _bound(
    mode: int,
    state: NDArray[np.float64],
    curves: NDArray[np.float64],
    variances: NDArray[np.float64],
    excess_noise: float,
    who: str,
) -> NDArray[np.float64]:
    from parfocal.fitting import _psf_kernel as kernel  # numba is slow to import

    n_free = kernel.N_FREE[mode]
    score, fisher = np.zeros(8), np.zeros((8, 8))
    pixels = read_only(variances)
    kernel.sums(mode, state, curves, pixels, pixels, score, fisher, kernel.workspace(*variances.shape))
    lower = np.tril(fisher[:n_free, :n_free])
    full = lower + np.tril(lower, -1).T
    scale = 1.0 / np.sqrt(np.maximum(np.diag(full), 1e-300))
    try:
        covariance = np.linalg.inv(full * np.outer(scale, scale)) * np.outer(scale, scale)
    except np.linalg.LinAlgError:
        raise BadInputError(f"{who}: the picture does not tell all {n_free} parameters apart") from None
    if not (np.diag(covariance) > 0).all():
        raise BadInputError(f"{who}: the picture does not tell all {n_free} parameters apart")
    scale = np.ones(n_free)
    scale[2:4] = excess_noise
    return covariance * np.outer(scale, scale)


def _variances(
    camera_model: CameraModel, roi_px: int | tuple[int, int], excess_noise: float, who: str
) -> NDArray[np.float64]:
    shape = (roi_px, roi_px) if isinstance(roi_px, int) else roi_px
    return prepared(np.zeros((1, *shape)), camera_model, None, excess_noise, who).variances[0]


def _check_positive(who: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise BadInputError(f"{who}: {name} is {value}, expected a number above 0")
