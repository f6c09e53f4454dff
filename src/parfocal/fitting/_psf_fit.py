"""One spot, or many: position, widths, photons and background with their errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._psf_input import as_centers, as_prior, prepared
from parfocal.fitting._psf_run import REASONS, Solved, solved
from parfocal.fitting._table_row import row_of, rows_of
from parfocal.optics import CameraModel

FitKind = Literal["mle", "moment_fallback"]
FitMethod = Literal["mle", "wlsq", "lsq"]

_WIDTHS, _WIDTHS_AND_THETA, _ROUND, _WIDTHS_SQUARES, _ROUND_SQUARES = 0, 1, 3, 4, 5
_STARTS_PX = (0.9, 1.5, 2.5, 4.2)


@dataclass(frozen=True, slots=True)
class PsfFit:
    """An elliptical spot in one picture.

    Attributes
    ----------
    x_px, y_px : float
        Centre; a pixel's centre is its integer index in the picture.
    sigma_x_px, sigma_y_px : float
        Widths along u and v (see `DefocusModel`), px.
    photons : float
        Photoelectrons of the whole spot, those beyond the picture's edge included.
    background : float
        Photoelectrons per pixel.
    theta_rad : float
        Angle of the axes, given or fitted.
    covariance : ndarray of shape (6, 6), or (7, 7) with theta fitted
        Inverse Fisher matrix in the order x, y, photons, background, sigma_x, sigma_y, theta; NaN in a fallback.
    deviance : float
        Twice the log-likelihood below that of a model with a mean for each pixel; NaN in a fallback.
    degrees_of_freedom : int
        Pixels less parameters.
    n_iterations : int
        Evaluations of the image model.
    kind : {"mle", "moment_fallback"}
        Maximum of the likelihood, or windowed moments where there is none in the picture: to be looked at, never
        to be calibrated or locked with.
    reason : str
        Why it is a fallback; "" where it is not.
    """

    x_px: float
    y_px: float
    sigma_x_px: float
    sigma_y_px: float
    photons: float
    background: float
    theta_rad: float
    covariance: NDArray[np.float64]
    deviance: float
    degrees_of_freedom: int
    n_iterations: int
    kind: FitKind = "mle"
    reason: str = ""

    @property
    def q(self) -> float:
        """Ellipticity, ln(sigma_x / sigma_y)."""
        return math.log(self.sigma_x_px / self.sigma_y_px)

    @property
    def q_se(self) -> float:
        """Standard error of `q`."""
        c, sx, sy = self.covariance, self.sigma_x_px, self.sigma_y_px
        return math.sqrt(c[4, 4] / sx**2 + c[5, 5] / sy**2 - 2 * c[4, 5] / (sx * sy))

    @property
    def x_se_px(self) -> float:
        """Standard error of `x_px`."""
        return math.sqrt(self.covariance[0, 0])

    @property
    def y_se_px(self) -> float:
        """Standard error of `y_px`."""
        return math.sqrt(self.covariance[1, 1])

    @property
    def photons_se(self) -> float:
        """Standard error of `photons`."""
        return math.sqrt(self.covariance[2, 2])

    @property
    def background_se(self) -> float:
        """Standard error of `background`."""
        return math.sqrt(self.covariance[3, 3])

    @property
    def sigma_x_se_px(self) -> float:
        """Standard error of `sigma_x_px`."""
        return math.sqrt(self.covariance[4, 4])

    @property
    def sigma_y_se_px(self) -> float:
        """Standard error of `sigma_y_px`."""
        return math.sqrt(self.covariance[5, 5])

    @property
    def excess_deviance(self) -> float:
        """(deviance - dof) / sqrt(2 dof): about standard normal where the picture is such a spot."""
        return (self.deviance - self.degrees_of_freedom) / math.sqrt(2 * self.degrees_of_freedom)


@dataclass(frozen=True, slots=True)
class PsfFits:
    """Spots of many pictures: the fields of `PsfFit` as arrays of n; `fits[k]` is the k-th as a `PsfFit`.

    Of round spots the covariance is (n, 5, 5), in the order x, y, photons, background, sigma. Of least squares the
    deviance is the weighted squares, the covariance the inverse of their curvature times deviance over degrees of
    freedom.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    sigma_x_px: NDArray[np.float64]
    sigma_y_px: NDArray[np.float64]
    photons: NDArray[np.float64]
    background: NDArray[np.float64]
    theta_rad: NDArray[np.float64]
    covariance: NDArray[np.float64]
    deviance: NDArray[np.float64]
    degrees_of_freedom: int
    n_iterations: NDArray[np.int64]
    kind: NDArray[np.str_]
    reason: NDArray[np.str_]

    def __len__(self) -> int:
        return self.x_px.size

    def __getitem__(self, index: int) -> PsfFit:
        return row_of(PsfFit, self, index)

    def __iter__(self) -> Iterator[PsfFit]:
        return (self[k] for k in range(len(self)))

    def take(self, rows: NDArray[np.int64]) -> PsfFits:
        """Return the fits of some pictures, in that order."""
        return rows_of(self, rows)

    @property
    def is_mle(self) -> NDArray[np.bool_]:
        """Which are maxima of the likelihood (or least squares) rather than moments."""
        return self.kind == "mle"

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard errors (n, 5 to 7) in the order of `covariance`."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def q(self) -> NDArray[np.float64]:
        """Ellipticities, ln(sigma_x / sigma_y)."""
        return np.log(self.sigma_x_px / self.sigma_y_px)

    @property
    def q_se(self) -> NDArray[np.float64]:
        """Standard errors of `q`; NaN where spots are taken as round."""
        if self.covariance.shape[1] == 5:
            return np.full(len(self), np.nan)
        c, sx, sy = self.covariance, self.sigma_x_px, self.sigma_y_px
        return np.sqrt(c[:, 4, 4] / sx**2 + c[:, 5, 5] / sy**2 - 2 * c[:, 4, 5] / (sx * sy))

    @property
    def excess_deviance(self) -> NDArray[np.float64]:
        """(deviance - dof) / sqrt(2 dof)."""
        return (self.deviance - self.degrees_of_freedom) / math.sqrt(2 * self.degrees_of_freedom)


def fit_psf(
    roi: ArrayLike,
    camera_model: CameraModel,
    *,
    theta_rad: float | None = 0.0,
    excess_noise: float = 1.0,
) -> PsfFit:
    """Fit a pixel-integrated elliptical Gaussian to one picture by maximum likelihood.

    The camera's noise is taken as Huang et al. [1]_ do: with n photoelectrons read in a pixel of read variance v,
    n + v is Poisson with mean mu + v. The climb is Levenberg-Marquardt on the Fisher matrix.

    Parameters
    ----------
    roi : array_like of shape (height, width)
        Raw ADU; 5 to 64 px a side.
    camera_model : CameraModel
        Offset, gain and read noise; maps must have the picture's shape (`CameraModel.cropped`). Read noise is to
        contain the rounding of the camera's converter, as dark frames measure it.
    theta_rad : float or None
        Angle of the axes; below 0.01 rad they are taken as those of the camera, which is 5 times as fast. None:
        fit it too; it comes out in (-pi/4, pi/4], and is unknown where the spot is round.
    excess_noise : float
        Variance over mean of amplified electrons: 2 for an EMCCD (its gain belongs into the camera model).

    Returns
    -------
    PsfFit

    Raises
    ------
    BadInputError
        Shape or dtype cannot be used, or a camera map has another shape. A picture with NaN, with saturated pixels
        or without a spot is no error but a labelled `moment_fallback`.

    References
    ----------
    .. [1] F. Huang et al., Nat. Methods 10, 653 (2013).
    """
    pictures = prepared(np.asarray(roi)[None], camera_model, None, excess_noise, "fit_psf")
    result = solved(pictures, *_how(theta_rad, pictures.counts.shape, "fit_psf"), excess_noise=excess_noise)
    x, y, photons, background, sigma_x, sigma_y, theta, _ = result.states[0].tolist()
    status = int(result.status[0])
    return PsfFit(
        x,
        y,
        sigma_x,
        sigma_y,
        photons,
        background,
        theta,
        result.covariances[0],
        float(result.deviances[0]),
        pictures.counts.size - result.covariances.shape[1],
        int(result.n_iterations[0]),
        "moment_fallback" if status else "mle",
        REASONS[status],
    )


def fit_psfs(
    rois: ArrayLike,
    camera_model: CameraModel,
    *,
    theta_rad: float | None = 0.0,
    corners_px: ArrayLike | None = None,
    excess_noise: float = 1.0,
    n_threads: int | None = None,
    is_round: bool = False,
    at_px: ArrayLike | None = None,
    sigma_px: float | None = None,
    known_light: ArrayLike | None = None,
    method: FitMethod = "mle",
    width_prior_px: tuple[float, float] | None = None,
) -> PsfFits:
    """Fit many pictures as `fit_psf` does one, on all usable cores.

    Parameters
    ----------
    rois : array_like of shape (n, height, width)
        Raw ADU.
    camera_model : CameraModel
        Maps of the picture's shape, of shape (n, height, width), or of the whole frame with `corners_px`.
    theta_rad, excess_noise
        As in `fit_psf`.
    corners_px : array_like of shape (n, 2), optional
        (y, x) of each picture's first pixel in the camera model's maps.
    n_threads : int, optional
        Threads to use; all usable cores by default.
    is_round : bool
        One width for both axes: five parameters, and twice as fast.
    at_px : array_like of shape (n, 2), optional
        (y, x) in each picture to start from; the top of the smoothed picture by default. Say it where a picture
        may hold another, brighter spot.
    sigma_px : float, optional
        Width to start from; several are tried by default.
    known_light : array_like of shape (n, height, width) or (height, width), optional
        Photoelectrons expected beside the spot and its level background: a structured background, or neighbours.
    method : {"mle", "wlsq", "lsq"}
        Maximum likelihood, or least squares with weights 1 / photoelectrons (at most 1000 / the brightest) or
        equal ones. The least squares are what ThunderSTORM offers; they know nothing of read noise.
    width_prior_px : (float, float), optional
        Mean and standard deviation of what is known of the width beforehand, for round spots fitted by `mle`: the
        fit is where likelihood times that (a Gaussian) is highest; see `common_width`.

    Returns
    -------
    PsfFits

    Raises
    ------
    BadInputError
        As `fit_psf`, or least squares are asked of turned axes, or a width is told beforehand of others than round
        spots fitted by `mle`.
    """
    pictures = prepared(np.asarray(rois), camera_model, corners_px, excess_noise, "fit_psfs", known_light)
    shape = pictures.counts.shape
    mode, candidates = _how(theta_rad, shape, "fit_psfs")
    if is_round:
        mode, candidates = _ROUND, _round_candidates(min(shape[1:]))
    if sigma_px is not None:
        if not (math.isfinite(sigma_px) and sigma_px > 0):
            raise BadInputError(f"fit_psfs: sigma_px is {sigma_px}, expected a number above 0")
        candidates = np.array([(sigma_px, sigma_px, theta_rad or 0.0, 0.0)])
    centers = as_centers(at_px, shape[0], "fit_psfs")
    if width_prior_px is not None and not (is_round and method == "mle"):
        raise BadInputError("fit_psfs: width_prior_px is of round spots fitted by mle")
    weights = None
    if method != "mle":
        if theta_rad is None or abs(theta_rad) > 0.01:
            raise BadInputError(f"fit_psfs: method {method!r} fits along the camera's axes, expected theta_rad 0")
        mode = _ROUND_SQUARES if is_round else _WIDTHS_SQUARES
        counts = pictures.counts - pictures.variances
        weights = _weights(counts, method)
        pictures = replace(pictures, counts=counts, variances=np.zeros((1, *shape[1:])))
    result = solved(
        pictures,
        mode,
        candidates,
        limits=as_prior(width_prior_px, "fit_psfs"),
        excess_noise=excess_noise,
        n_threads=n_threads,
        centers=centers,
        weights=weights,
    )
    fits = _as_fits(result, shape)
    if weights is not None:
        fits.covariance[:] *= (fits.deviance / fits.degrees_of_freedom)[:, None, None]
    return fits


def _weights(counts: NDArray[np.float64], method: FitMethod) -> NDArray[np.float64]:
    """Return weights of pixels: 1 / count up to 1000 / the largest, or all alike and about 1 / variance."""
    most = np.maximum(counts.max(axis=(1, 2), keepdims=True), 1e-9)
    if method == "lsq":
        level = np.maximum(np.abs(counts).mean(axis=(1, 2), keepdims=True), 1e-9)
        return np.ascontiguousarray(np.broadcast_to(1.0 / level, counts.shape))
    return 1.0 / np.maximum(counts, most / 1000.0)


def _as_fits(result: Solved, shape: tuple[int, ...]) -> PsfFits:
    x, y, photons, background, sigma_x, sigma_y, theta, _ = np.ascontiguousarray(result.states.T)
    return PsfFits(
        x,
        y,
        sigma_x,
        sigma_y,
        photons,
        background,
        theta,
        result.covariances,
        result.deviances,
        shape[1] * shape[2] - result.covariances.shape[1],
        result.n_iterations,
        np.where(result.status == 0, "mle", "moment_fallback"),
        np.array(REASONS)[result.status],
    )


def _how(theta_rad: float | None, shape: tuple[int, ...], who: str) -> tuple[int, NDArray[np.float64]]:
    """Return mode and start candidates."""
    if theta_rad is not None and not math.isfinite(theta_rad):
        raise BadInputError(f"{who}: theta_rad is {theta_rad}, expected a number, or None to fit it")
    mode = _WIDTHS_AND_THETA if theta_rad is None else _WIDTHS
    return mode, _candidates(theta_rad, min(shape[1:]))


@lru_cache(maxsize=64)
def _round_candidates(side_px: int) -> NDArray[np.float64]:
    return np.array([(width, width, 0.0, 0.0) for width in _STARTS_PX if width <= side_px / 3])


@lru_cache(maxsize=64)
def _candidates(theta_rad: float | None, side_px: int) -> NDArray[np.float64]:
    widths = [width for width in _STARTS_PX if width <= side_px / 3]
    angles = (0.0, math.pi / 4) if theta_rad is None else (theta_rad,)
    return np.array([(sx, sy, angle, 0.0) for angle in angles for sx in widths for sy in widths])
