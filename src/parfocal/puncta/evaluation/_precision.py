"""How exact: stated errors against real ones, against the bound, photons, and what is found in nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._matching import Matching
from parfocal.robust import robust_sd

Floats = NDArray[np.float64]

_ROI_PX = 13
_BLOCK = 20_000


@dataclass(frozen=True, eq=False)
class PrecisionTally:
    """What figures of exactness follow from, and what adds up over recordings.

    Parameters
    ----------
    error_over_stated : float64[k]
        Errors of pairs in either axis over the stated ones, where those are told.
    true_photons, found_photons : float64[m]
        Of pairs where both are told.
    """

    error_over_stated: Floats
    true_photons: Floats
    found_photons: Floats


@dataclass(frozen=True)
class BoundTally:
    """Squared errors of pairs that have a bound, and squared bounds, nm², summed."""

    error2_nm2: float
    bound2_nm2: float


@dataclass(frozen=True)
class SigmaCalibration:
    """Whether stated standard errors are true ones.

    Parameters
    ----------
    within_one, within_two : float
        Share of errors (both axes) that are no larger than once, twice what was stated: 0.683 and 0.954 where they
        are true.
    scale : float
        By how much stated errors must be multiplied: 1.4826 MAD of the errors over what was stated.
    n : int
        Errors compared.
    """

    within_one: float
    within_two: float
    scale: float
    n: int


@dataclass(frozen=True)
class PhotonAccuracy:
    """How true photons are, over pairs.

    Parameters
    ----------
    bias : float
        Median of found over true, less 1.
    scatter : float
        Robust standard deviation of found over true.
    correlation : float
        Pearson's, of logarithms; NaN where all true ones are equal.
    n : int
    """

    bias: float
    scatter: float
    correlation: float
    n: int


def tally_precision(
    matching: Matching, truth: PunctaTruth | Localizations, found: Localizations
) -> PrecisionTally:
    """Gather what `calibration_of` and `accuracy_of` judge."""
    real, got = truth.photons[matching.truth_row], found.photons[matching.found_row]
    known = (real > 0) & (got > 0)
    return PrecisionTally(_error_over_stated(matching, found), real[known], got[known])


def calibration_of(error_over_stated: Floats) -> SigmaCalibration:
    """Judge errors over stated ones."""
    if not error_over_stated.size:
        return SigmaCalibration(math.nan, math.nan, math.nan, 0)
    ratio = np.abs(error_over_stated)
    return SigmaCalibration(
        float(np.mean(ratio <= 1)),
        float(np.mean(ratio <= 2)),
        robust_sd(error_over_stated, centre=0.0),
        int(ratio.size),
    )


def accuracy_of(real: Floats, got: Floats) -> PhotonAccuracy:
    """Judge photons that were found beside the true ones."""
    if not real.size:
        return PhotonAccuracy(math.nan, math.nan, math.nan, 0)
    ratio = got / real
    correlation = math.nan
    if real.size > 2 and np.ptp(real) > 0 and np.ptp(got) > 0:
        correlation = float(np.corrcoef(np.log(real), np.log(got))[0, 1])
    return PhotonAccuracy(float(np.median(ratio)) - 1, robust_sd(ratio), correlation, int(real.size))


def sigma_calibration(matching: Matching, found: Localizations) -> SigmaCalibration:
    """Compare the errors of pairs with what the localizations state (`x_se_px`, `y_se_px`)."""
    return calibration_of(_error_over_stated(matching, found))


def photon_accuracy(
    matching: Matching, truth: PunctaTruth | Localizations, found: Localizations
) -> PhotonAccuracy:
    """Compare the photons of pairs."""
    tally = tally_precision(matching, truth, found)
    return accuracy_of(tally.true_photons, tally.found_photons)


def position_bound_nm(
    photons: ArrayLike,
    background: ArrayLike,
    sigma_px: ArrayLike,
    camera_model: CameraModel,
    pixel_size_um: tuple[float, float],
    *,
    x_px: ArrayLike = 0.0,
    y_px: ArrayLike = 0.0,
    excess_noise: float | None = None,
    roi_px: int = _ROI_PX,
) -> Floats:
    """Return Cramér-Rao's bound of isolated Gaussian spots in the plane, sqrt(var x + var y), nm.

    The Fisher information of x is sum (dmu/dx)² / (mu + v) over the pixels about the spot, v the read noise in
    electrons squared. Photons, background and width are unknown too, but by symmetry tell little of the position:
    their share is left out (at most 1 % for a spot anywhere in its pixel; `fitting.crlb_psf` has the whole).

    Parameters
    ----------
    photons, background, sigma_px, x_px, y_px : array_like, broadcast
        Photoelectrons, photoelectrons per pixel, px; of a position only the part within its pixel counts.
    camera_model : CameraModel
        Its read noise; of a map, the mean variance.
    pixel_size_um : (float, float)
    excess_noise : float, optional
        By default the camera's own: 2 behind an electron multiplier.
    roi_px : int
        Side of the square that is read, odd.

    Returns
    -------
    ndarray of float64
        Infinite where there are no photons.
    """
    n, b, s, x, y = np.broadcast_arrays(
        *(np.asarray(v, np.float64) for v in (photons, background, sigma_px, x_px, y_px))
    )
    if np.any(s <= 0) or np.any(b < 0):
        raise BadInputError("position bound: a width is not above 0, or a background is below 0")
    excess = camera_model.excess_noise if excess_noise is None else excess_noise
    read2 = float(np.mean(np.square(np.asarray(camera_model.read_noise_e, np.float64))))
    out = np.full(n.size, np.inf)
    flat = [np.ravel(v) for v in (n, b, s, x, y)]
    offsets = np.arange(roi_px) - (roi_px - 1) / 2
    there = np.flatnonzero(flat[0] > 0)
    for begin in range(0, there.size, _BLOCK):
        rows = there[begin : begin + _BLOCK]
        one, bg, sigma, at_x, at_y = (v[rows, None] for v in flat)
        one, bg = one / excess, bg / excess
        share_x, slope_x = _profile(offsets - (at_x - np.round(at_x)), sigma)
        share_y, slope_y = _profile(offsets - (at_y - np.round(at_y)), sigma)
        mean = one[..., None] * share_y[:, :, None] * share_x[:, None, :] + (bg + read2 / excess**2)[..., None]
        of_x = np.sum(np.square(one[..., None] * share_y[:, :, None] * slope_x[:, None, :]) / mean, axis=(1, 2))
        of_y = np.sum(np.square(one[..., None] * slope_y[:, :, None] * share_x[:, None, :]) / mean, axis=(1, 2))
        size_y, size_x = (1e3 * size for size in pixel_size_um)
        out[rows] = np.sqrt(size_x**2 / of_x + size_y**2 / of_y)
    return out.reshape(n.shape)


def rmse_over_bound(
    matching: Matching,
    truth: PunctaTruth,
    camera_model: CameraModel,
    *,
    excess_noise: float | None = None,
    isolated_px: float = 0.0,
) -> float:
    """Return the lateral error of pairs over what the bound allows them: 1 is as good as can be.

    Both are root mean squares over the same pairs: of spots of very different brightness the dimmest decide.

    Parameters
    ----------
    matching, truth
    camera_model : CameraModel
    excess_noise : float, optional
    isolated_px : float
        Take only puncta without another visible one within this distance; 0 takes all.
    """
    return bound_ratio(
        tally_bound(matching, truth, camera_model, excess_noise=excess_noise, isolated_px=isolated_px)
    )


def bound_ratio(tally: BoundTally) -> float:
    """Return the root of summed squared errors over summed squared bounds; NaN of nothing."""
    return math.sqrt(tally.error2_nm2 / tally.bound2_nm2) if tally.bound2_nm2 else math.nan


def tally_bound(
    matching: Matching,
    truth: PunctaTruth,
    camera_model: CameraModel,
    *,
    excess_noise: float | None = None,
    isolated_px: float = 0.0,
) -> BoundTally:
    """Sum what `rmse_over_bound` judges; the parameters are its own."""
    row = matching.truth_row
    if isolated_px > 0:
        row = row[_isolated(truth, row, isolated_px)]
    if not row.size:
        return BoundTally(0.0, 0.0)
    kept = np.isin(matching.truth_row, row)
    bound = position_bound_nm(
        truth.photons[row],
        truth.background[row],
        truth.sigma_px[row],
        camera_model,
        truth.pixel_size_um,
        x_px=truth.x_px[row],
        y_px=truth.y_px[row],
        excess_noise=excess_noise,
    )
    error2 = np.square(matching.dx_nm[kept]) + np.square(matching.dy_nm[kept])
    told = np.isfinite(bound)
    return BoundTally(float(error2[told].sum()), float(np.square(bound[told]).sum()))


def false_per_1000_px(n_false: int, n_frames: int, shape_px: tuple[int, int]) -> float:
    """Return false localizations per 1000 pixels of a frame; of an empty movie, all that was found is false."""
    n_px = n_frames * shape_px[0] * shape_px[1]
    if n_px <= 0:
        raise BadInputError(f"false per 1000 px: {n_frames} frames of {shape_px} px, expected some")
    return 1e3 * n_false / n_px


def _error_over_stated(matching: Matching, found: Localizations) -> Floats:
    size_y, size_x = found.pixel_size_um
    row = matching.found_row
    stated = np.concatenate([found.x_se_px[row] * size_x, found.y_se_px[row] * size_y]) * 1e3
    error = np.concatenate([matching.dx_nm, matching.dy_nm])
    known = np.isfinite(stated) & (stated > 0)
    return error[known] / stated[known]


def _isolated(truth: PunctaTruth, row: NDArray[np.int64], distance_px: float) -> NDArray[np.bool_]:
    from scipy.spatial import KDTree

    seen = np.flatnonzero(truth.is_visible)
    # frames as one more axis, farther apart than neighbours may be
    all_at = np.column_stack([truth.x_px, truth.y_px, 4.0 * distance_px * truth.frame])
    tree = KDTree(all_at[seen])
    n_near = tree.query_ball_point(all_at[row], distance_px, return_length=True)
    return np.asarray(n_near) <= 1


def _profile(u: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Return each pixel's share of a Gaussian along an axis, and its slope with the position."""
    scale = math.sqrt(0.5) / sigma
    share = 0.5 * (np.asarray(erf((u + 0.5) * scale)) - np.asarray(erf((u - 0.5) * scale)))
    norm = 1 / (math.sqrt(2 * math.pi) * sigma)
    slope = norm * (np.exp(-np.square((u - 0.5) * scale)) - np.exp(-np.square((u + 0.5) * scale)))
    return share, slope
