"""Several spots in one picture, as many as it asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._psf_fit import fit_psfs
from parfocal.fitting._psf_input import as_prior, for_each_chunk, prepared
from parfocal.optics import CameraModel
from parfocal.read_only import read_only

OTHER_WIDTH = 9.0
"""A picture whose own width takes so much off its deviance, three standard deviations, is not like the others."""


@dataclass(frozen=True, slots=True)
class CrowdFits:
    """Spots of many pictures, a row each.

    Attributes
    ----------
    picture : ndarray of int64, shape (n,)
        In which picture.
    n_spots : ndarray of int64, shape (n,)
        How many that picture holds; they share width and background.
    x_px, y_px, photons, background, sigma_px : ndarray of shape (n,)
        As in `PsfFit`.
    x_se_px, y_se_px, photons_se : ndarray of shape (n,)
        Standard errors, with all parameters of the picture unknown.
    deviance : ndarray of shape (n,)
        Of the picture.
    degrees_of_freedom : ndarray of int64, shape (n,)
    """

    picture: NDArray[np.int64]
    n_spots: NDArray[np.int64]
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    photons: NDArray[np.float64]
    background: NDArray[np.float64]
    sigma_px: NDArray[np.float64]
    x_se_px: NDArray[np.float64]
    y_se_px: NDArray[np.float64]
    photons_se: NDArray[np.float64]
    deviance: NDArray[np.float64]
    degrees_of_freedom: NDArray[np.int64]

    def __len__(self) -> int:
        return self.picture.size


def fit_crowds(
    rois: ArrayLike,
    camera_model: CameraModel,
    *,
    max_spots: int = 5,
    f_test_p: float = 1e-6,
    corners_px: ArrayLike | None = None,
    excess_noise: float = 1.0,
    at_px: ArrayLike | None = None,
    sigma_px: float | None = None,
    known_light: ArrayLike | None = None,
    n_threads: int | None = None,
    width_prior_px: tuple[float, float] | None = None,
) -> CrowdFits:
    """Fit round spots jointly to each picture: one, and one more as long as it explains enough.

    The next spot begins where most light is left over. It is believed if an F test on the deviances,
    F = (D1 - D2) / 3 / (D2 / degrees of freedom), gives less than `f_test_p`; where one does not do, two are
    tried. That the test is relative to what is left over keeps the rings of a real spot from being taken for
    spots.

    Parameters
    ----------
    rois : array_like of shape (n, height, width)
        Raw ADU.
    camera_model, corners_px, excess_noise, at_px, sigma_px, known_light, n_threads
        As in `fit_psfs`.
    max_spots : int
        1 to 5.
    f_test_p : float
        Chance of one spot too many, were the picture of the model's form.
    width_prior_px : (float, float), optional
        Mean and standard deviation of what is known of widths beforehand; see `common_width`. Places and their
        errors are then those of a fit that is drawn to it, unless the picture's own width takes 9, three standard
        deviations, off the deviance; as much a width of its own costs where numbers of spots are held against each
        other. Light and width are what the picture alone says.

    Returns
    -------
    CrowdFits
        In order of the pictures; without rows of a picture that holds no spot.

    Raises
    ------
    BadInputError
        As `fit_psfs`, or a number is out of its range.
    """
    from scipy.special import fdtri

    from parfocal.fitting import _crowd_kernel as kernel  # numba is slow to import

    if not 1 <= max_spots <= kernel.MOST:
        raise BadInputError(f"fit_crowds: max_spots is {max_spots}, expected 1 to {kernel.MOST}")
    if not 0 < f_test_p < 1:
        raise BadInputError(f"fit_crowds: f_test_p is {f_test_p}, expected a number between 0 and 1")
    pictures = prepared(np.asarray(rois), camera_model, corners_px, excess_noise, "fit_crowds", known_light)
    counts, variances = read_only(pictures.counts), read_only(pictures.variances)
    n, height, width = counts.shape
    first = fit_psfs(
        rois,
        camera_model,
        corners_px=corners_px,
        excess_noise=excess_noise,
        is_round=True,
        at_px=at_px,
        sigma_px=sigma_px,
        known_light=known_light,
        n_threads=n_threads,
    )
    prior = as_prior(width_prior_px, "fit_crowds")
    most = min(max_spots, (height * width - 3) // 3)
    critical = np.full((most - 1, 2), np.inf)
    for k in range(1, most):
        for more in (1, 2):
            free = height * width - (2 + 3 * (k + more))
            critical[k - 1, more - 1] = fdtri(3.0 * more, free, 1.0 - f_test_p) if free > 0 else np.inf
    starts = np.stack(
        [
            first.x_px,
            first.y_px,
            np.where(first.is_mle & (first.photons > 0), first.photons / excess_noise, np.nan),
            first.background / excess_noise,
            first.sigma_x_px,
        ],
        axis=1,
    )
    if at_px is not None:  # with a neighbour in the picture the fit of one may have run off to it, or between
        _at_their_places(starts, np.asarray(at_px, np.float64), counts - variances, height * width)
    states, errors = np.full((n, kernel.N_STATE), np.nan), np.full((n, kernel.N_STATE), np.nan)
    n_spots, deviances = np.zeros(n, np.int64), np.full(n, np.nan)

    def fit(part: slice) -> None:
        own = variances[part] if len(variances) > 1 else variances
        scratch = kernel.workspace(height, width)
        kernel.crowds(
            counts[part],
            own,
            starts[part],
            critical,
            prior,
            OTHER_WIDTH,
            states[part],
            errors[part],
            n_spots[part],
            deviances[part],
            *scratch,
        )

    usable = pictures.finite & ~pictures.saturated
    starts[~usable, 2] = np.nan
    for_each_chunk(fit, n, n_threads)
    picture = np.repeat(np.arange(n), n_spots)
    which = np.arange(len(picture)) - np.repeat(np.cumsum(n_spots) - n_spots, n_spots)
    row = 2 + 3 * which
    state, error = states[picture], errors[picture]
    rows = np.arange(len(picture))
    return CrowdFits(
        picture,
        n_spots[picture],
        state[rows, row],
        state[rows, row + 1],
        state[rows, row + 2] * excess_noise,
        state[:, 0] * excess_noise,
        state[:, 1],
        error[rows, row],
        error[rows, row + 1],
        error[rows, row + 2] * excess_noise,
        deviances[picture],
        height * width - (2 + 3 * n_spots[picture]),
    )


def _at_their_places(
    starts: NDArray[np.float64], at: NDArray[np.float64], electrons: NDArray[np.float64], area: int
) -> None:
    """Begin anew, at its place, a fit that failed, left it by more than a pixel or became very wide."""
    typical = float(np.nanmedian(starts[:, 4])) if np.isfinite(starts[:, 4]).any() else 1.3
    moved = np.maximum(np.abs(starts[:, 0] - at[:, 1]), np.abs(starts[:, 1] - at[:, 0])) > 1.0
    lost = np.flatnonzero(~np.isfinite(starts[:, 2]) | moved | ~(starts[:, 4] < 1.5 * typical))
    if not lost.size:
        return
    level = np.quantile(electrons[lost], 0.25, axis=(1, 2))
    light = np.maximum(electrons[lost].sum(axis=(1, 2)) - level * area, 1.0)
    starts[lost] = np.stack(
        [at[lost, 1], at[lost, 0], light, np.maximum(level, 0.0), np.full(lost.size, typical)], axis=1
    )
