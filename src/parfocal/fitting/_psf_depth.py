"""Defocus straight from the pixels: one z behind both widths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._defocus_model import DefocusModel, WidthCurve
from parfocal.fitting._psf_fit import FitKind
from parfocal.fitting._psf_input import as_centers, prepared
from parfocal.fitting._psf_run import REASONS, solved
from parfocal.fitting._table_row import row_of, rows_of
from parfocal.optics import CameraModel

_DEPTH = 2
_N_STARTS = 13


@dataclass(frozen=True, slots=True)
class ZEstimate:
    """Defocus of one spot.

    Attributes
    ----------
    z_um, z_se_um : float
        Defocus as `DefocusModel` counts it, and its standard error from the photons (not from the calibration);
        NaN in a fallback.
    x_px, y_px, photons, background : float
        As in `PsfFit`.
    sigma_x_px, sigma_y_px : float
        The model's widths at z; moments in a fallback.
    covariance : ndarray of shape (5, 5)
        Inverse Fisher matrix in the order x, y, photons, background, z; NaN in a fallback.
    deviance, degrees_of_freedom, n_iterations
        As in `PsfFit`.
    in_range : bool
        Whether z is in the model's usable range.
    kind, reason : str
        As in `PsfFit`.
    """

    z_um: float
    z_se_um: float
    x_px: float
    y_px: float
    photons: float
    background: float
    sigma_x_px: float
    sigma_y_px: float
    covariance: NDArray[np.float64]
    deviance: float
    degrees_of_freedom: int
    n_iterations: int
    in_range: bool
    kind: FitKind = "mle"
    reason: str = ""

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
    def excess_deviance(self) -> float:
        """(deviance - dof) / sqrt(2 dof): about standard normal where the picture is such a spot."""
        return (self.deviance - self.degrees_of_freedom) / math.sqrt(2 * self.degrees_of_freedom)


@dataclass(frozen=True, slots=True)
class ZEstimates:
    """Defocus of many spots: the fields of `ZEstimate` as arrays of n; `estimates[k]` is the k-th."""

    z_um: NDArray[np.float64]
    z_se_um: NDArray[np.float64]
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    photons: NDArray[np.float64]
    background: NDArray[np.float64]
    sigma_x_px: NDArray[np.float64]
    sigma_y_px: NDArray[np.float64]
    covariance: NDArray[np.float64]
    deviance: NDArray[np.float64]
    degrees_of_freedom: int
    n_iterations: NDArray[np.int64]
    in_range: NDArray[np.bool_]
    kind: NDArray[np.str_]
    reason: NDArray[np.str_]

    def __len__(self) -> int:
        return self.z_um.size

    def __getitem__(self, index: int) -> ZEstimate:
        return row_of(ZEstimate, self, index)

    def __iter__(self) -> Iterator[ZEstimate]:
        return (self[k] for k in range(len(self)))

    def take(self, rows: NDArray[np.int64]) -> ZEstimates:
        """Return the estimates of some pictures, in that order."""
        return rows_of(self, rows)

    @property
    def is_mle(self) -> NDArray[np.bool_]:
        """Which are maxima of the likelihood."""
        return self.kind == "mle"

    @property
    def photons_se(self) -> NDArray[np.float64]:
        """Standard errors of `photons`."""
        return np.sqrt(self.covariance[:, 2, 2])

    @property
    def excess_deviance(self) -> NDArray[np.float64]:
        """(deviance - dof) / sqrt(2 dof)."""
        return (self.deviance - self.degrees_of_freedom) / math.sqrt(2 * self.degrees_of_freedom)


@dataclass(frozen=True)
class DepthSearch:
    """A defocus model made ready for the kernels."""

    curves: NDArray[np.float64]
    limits: NDArray[np.float64]
    candidates: NDArray[np.float64]


def depth_search(model: DefocusModel) -> DepthSearch:
    """Return curves, search range and start candidates of a model, made once."""
    return _depth_search(model.x, model.y, model.theta_rad, model.usable_um)


@lru_cache(maxsize=64)
def _depth_search(x: WidthCurve, y: WidthCurve, theta_rad: float, usable_um: tuple[float, float]) -> DepthSearch:
    low, high = usable_um
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise BadInputError(f"defocus model: usable_um is {usable_um}, expected a range (low, high)")
    model = DefocusModel(x, y, theta_rad, usable_um, 1.0)
    if not np.isfinite(np.stack(model.widths_px(np.linspace(low, high, 401)))).all():
        raise BadInputError(f"defocus model: a width is not positive within the usable range {usable_um}")
    limits = np.array(model.search_um)
    starts = np.linspace(limits[0], limits[1], _N_STARTS + 2)[1:-1]
    sigma_x, sigma_y = model.widths_px(starts)
    candidates = np.stack([sigma_x, sigma_y, np.full_like(starts, theta_rad), starts], axis=1)
    return DepthSearch(model.coefficients(), limits, candidates)


def estimate_z(
    roi: ArrayLike, camera_model: CameraModel, model: DefocusModel, *, excess_noise: float = 1.0
) -> ZEstimate:
    """Estimate the defocus of the spot in one picture by maximum likelihood.

    Free are x, y, photons, background and z; both widths follow from z by the model. Where the ellipticity alone
    says little (a width near its minimum), the other width still does: the error is up to several times smaller
    than by fitting widths and looking z up.

    Parameters
    ----------
    roi : array_like of shape (height, width)
        Raw ADU; 5 to 64 px a side.
    camera_model : CameraModel
        As in `fit_psf`.
    model : DefocusModel
        The calibration, for this pixel size.
    excess_noise : float
        As in `fit_psf`.

    Returns
    -------
    ZEstimate

    Raises
    ------
    BadInputError
        As `fit_psf`, or a width of the model is not positive in its usable range.
    """
    search = depth_search(model)
    pictures = prepared(np.asarray(roi)[None], camera_model, None, excess_noise, "estimate_z")
    result = solved(pictures, _DEPTH, search.candidates, search.curves, search.limits, excess_noise)
    x, y, photons, background, sigma_x, sigma_y, _, z = result.states[0].tolist()
    status = int(result.status[0])
    return ZEstimate(
        z,
        math.sqrt(result.covariances[0, 4, 4]),
        x,
        y,
        photons,
        background,
        sigma_x,
        sigma_y,
        result.covariances[0],
        float(result.deviances[0]),
        pictures.counts.size - 5,
        int(result.n_iterations[0]),
        model.usable_um[0] <= z <= model.usable_um[1],
        "moment_fallback" if status else "mle",
        REASONS[status],
    )


def estimate_zs(
    rois: ArrayLike,
    camera_model: CameraModel,
    model: DefocusModel,
    *,
    corners_px: ArrayLike | None = None,
    excess_noise: float = 1.0,
    n_threads: int | None = None,
    at_px: ArrayLike | None = None,
    known_light: ArrayLike | None = None,
) -> ZEstimates:
    """Estimate the defocus of many pictures as `estimate_z` does of one, on all usable cores.

    Parameters
    ----------
    rois : array_like of shape (n, height, width)
        Raw ADU.
    camera_model, corners_px, excess_noise, n_threads, at_px, known_light
        As in `fit_psfs`.
    model : DefocusModel
        The calibration.

    Returns
    -------
    ZEstimates

    Raises
    ------
    BadInputError
        As `estimate_z`.
    """
    search = depth_search(model)
    pictures = prepared(np.asarray(rois), camera_model, corners_px, excess_noise, "estimate_zs", known_light)
    centers = as_centers(at_px, len(pictures.counts), "estimate_zs")
    result = solved(
        pictures, _DEPTH, search.candidates, search.curves, search.limits, excess_noise, n_threads, centers
    )
    x, y, photons, background, sigma_x, sigma_y, _, z = np.ascontiguousarray(result.states.T)
    with np.errstate(invalid="ignore"):
        z_se = np.sqrt(result.covariances[:, 4, 4])
    return ZEstimates(
        z,
        z_se,
        x,
        y,
        photons,
        background,
        sigma_x,
        sigma_y,
        result.covariances,
        result.deviances,
        pictures.counts[0].size - 5 if len(pictures.counts) else 0,
        result.n_iterations,
        (z >= model.usable_um[0]) & (z <= model.usable_um[1]),
        np.where(result.status == 0, "mle", "moment_fallback"),
        np.array(REASONS)[result.status],
    )
