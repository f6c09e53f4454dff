"""Starts, climbs and moments over a batch of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting._psf_input import Pictures, for_each_chunk
from parfocal.read_only import read_only

REASONS = (
    "",
    "no convergence",
    "centre outside the picture",
    "width at its limit",
    "no spot",
    "not finite",
    "z at the end of the search range",
    "saturated",
)
_NOT_FINITE, _SATURATED = 5, 7
_NO_CURVES = np.zeros((2, 5))
_NO_LIMITS = np.zeros(2)
_NO_CENTERS = np.empty((0, 2))


@dataclass(frozen=True, slots=True)
class Solved:
    """What came of a batch, in photoelectrons.

    `states` (n, 8): x, y, photons, background, sigma_x, sigma_y, theta, z. Where `status` is not 0, x to sigma_y
    are moments and z is NaN.
    """

    states: NDArray[np.float64]
    covariances: NDArray[np.float64]
    deviances: NDArray[np.float64]
    n_iterations: NDArray[np.int64]
    status: NDArray[np.int64]


def solved(
    pictures: Pictures,
    mode: int,
    candidates: NDArray[np.float64],
    curves: NDArray[np.float64] = _NO_CURVES,
    limits: NDArray[np.float64] = _NO_LIMITS,
    excess_noise: float = 1.0,
    n_threads: int | None = None,
    centers: NDArray[np.float64] = _NO_CENTERS,
    weights: NDArray[np.float64] | None = None,
) -> Solved:
    """Fit every picture; see `Solved`.

    With `weights` (n, height, width) the mode is one of least squares, and the pictures' variances stay out of it.
    """
    from parfocal.fitting import _psf_kernel as kernel  # numba is slow to import
    from parfocal.fitting._psf_start import moments, starts, starts_of_one

    counts, variances = read_only(pictures.counts), read_only(pictures.variances)
    n, height, width = counts.shape
    n_free = kernel.N_FREE[mode]
    out = np.empty((n, kernel.N_OUT))
    covariances = np.full((n, n_free, n_free), np.nan)
    begin, climb = (starts_of_one, kernel.climbs_of_one) if n == 1 else (starts, kernel.climbs)

    def fit(part: slice) -> None:
        m = part.stop - part.start
        states, n_rivals = np.empty((m, kernel.N_STARTS, kernel.N_STATE)), np.empty(m, np.int64)
        work, small = kernel.workspace(height, width), np.empty((28, 8))
        own = variances[part] if len(variances) > 1 else variances
        begin(counts[part], own, candidates, centers[part], states, n_rivals, work)
        if weights is not None:
            own = read_only(weights[part])
        climb(mode, curves, limits, counts[part], own, states, n_rivals, out[part], covariances[part], small, work)

    if n == 1:
        fit(slice(0, 1))
    else:
        for_each_chunk(fit, n, n_threads)
    status = out[:, kernel.STATUS].astype(np.int64)
    status[pictures.saturated] = _SATURATED
    status[~pictures.finite] = _NOT_FINITE
    states = out[:, : kernel.N_STATE]
    if mode == kernel.WIDTHS_AND_THETA:
        _fold(states, covariances)
    if status.any():
        failed = np.flatnonzero(status)
        spots = np.empty((failed.size, 6))
        own = read_only(variances[failed]) if len(variances) > 1 else variances
        moments(read_only(counts[failed]), own, spots)
        states[failed, :6] = spots
        states[failed, 7] = np.nan
        states[~pictures.finite, :6] = np.nan
        covariances[failed] = np.nan
        out[failed, kernel.DEVIANCE] = np.nan
    if excess_noise != 1.0:
        states[:, 2:4] *= excess_noise
        scale = np.ones(n_free)
        scale[2:4] = excess_noise
        covariances *= np.outer(scale, scale)
    evaluations = out[:, kernel.EVALUATIONS].astype(np.int64)
    return Solved(states, covariances, out[:, kernel.DEVIANCE], evaluations, status)


def _fold(states: NDArray[np.float64], covariances: NDArray[np.float64]) -> None:
    """Bring theta into (-pi/4, pi/4]; a quarter turn swaps the widths."""
    turns = np.ceil(states[:, 6] / (np.pi / 2) - 0.5)
    states[:, 6] -= turns * (np.pi / 2)
    odd = np.flatnonzero(turns % 2)
    swapped = [0, 1, 2, 3, 5, 4, 6]
    states[odd, :7] = states[odd][:, swapped]
    covariances[odd] = covariances[odd][:, swapped][:, :, swapped]
