"""How well z can be known at all from a dim picture.

Cramér-Rao's bound is what the slope of the picture with z allows. Where its error is no longer small beside the
distance over which the widths bend, nobody reaches it. What can be reached instead is known: of all estimates, the
mean of the posterior has the least mean squared error on average over its prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from parfocal.fitting import DefocusModel

Floats = NDArray[np.float64]
_STEP_UM = 0.025
_ROUNDS = 5


def posterior_means(electrons: Floats, read_variance_e2: float, model: DefocusModel) -> Floats:
    """Return the posterior mean of each picture's z, um, with a flat prior over the model's search range.

    Place, photons and background are at their most likely values for each z (Fisher scoring, from the z before).

    Parameters
    ----------
    electrons : ndarray of shape (n, height, width), float64
        Photoelectrons.
    read_variance_e2 : float
        Of each pixel.
    model : DefocusModel
        With its axes along the camera's.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    low, high = model.search_um
    z_um = np.linspace(low, high, round((high - low) / _STEP_UM) + 1)
    widths = np.stack([np.asarray(width) for width in model.widths_px(z_um)], axis=1)
    counts = electrons + read_variance_e2
    log_likelihood = np.empty((len(z_um), len(electrons)))
    middle = len(z_um) // 2
    start = _start(electrons)
    for way in (range(middle, len(z_um)), range(middle, -1, -1)):
        state = start
        for k in way:
            for _ in range(3 * _ROUNDS if k == middle else _ROUNDS):
                mean, slopes = _pictures(state, widths[k], electrons.shape[1:])
                state = _climbed(state, counts, mean + read_variance_e2, slopes)
            expected = np.maximum(_pictures(state, widths[k], electrons.shape[1:])[0] + read_variance_e2, 1e-3)
            log_likelihood[k] = np.sum(counts * np.log(expected) - expected, axis=(1, 2))
    weight = np.exp(log_likelihood - log_likelihood.max(axis=0))
    return np.asarray((weight * z_um[:, None]).sum(axis=0) / weight.sum(axis=0))


def _start(electrons: Floats) -> Floats:
    """Return x, y, photons, background of each picture: its middle, and what lies above its border."""
    n, height, width = electrons.shape
    border = np.ones((height, width), dtype=bool)
    border[2:-2, 2:-2] = False
    background = np.maximum(electrons[:, border].mean(axis=1), 0.1)
    photons = np.maximum((electrons - background[:, None, None]).sum(axis=(1, 2)), 50.0)
    return np.stack([np.full(n, (width - 1) / 2), np.full(n, (height - 1) / 2), photons, background], axis=1)


def _pictures(state: Floats, widths_px: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the expected pictures (n, height, width), and their slopes (4, n, height, width)."""
    along_x, slope_x = _shares(shape[1], state[:, 0], widths_px[0])
    along_y, slope_y = _shares(shape[0], state[:, 1], widths_px[1])
    spot = along_y[:, :, None] * along_x[:, None, :]
    photons, background = state[:, 2, None, None], state[:, 3, None, None]
    slopes = np.stack(
        [
            photons * along_y[:, :, None] * slope_x[:, None, :],
            photons * slope_y[:, :, None] * along_x[:, None, :],
            spot,
            np.ones_like(spot),
        ]
    )
    return photons * spot + background, slopes


def _shares(n: int, centre_px: Floats, sigma_px: float) -> tuple[Floats, Floats]:
    edges = (np.arange(n + 1) - 0.5 - centre_px[:, None]) / (np.sqrt(2) * sigma_px)
    heights = np.exp(-np.square(edges)) / (np.sqrt(2 * np.pi) * sigma_px)
    return np.diff(np.asarray(erf(edges)), axis=1) / 2, -np.diff(heights, axis=1)


def _climbed(state: Floats, counts: Floats, mean: Floats, slopes: Floats) -> Floats:
    """Take a step of Fisher's scoring, held where the next picture is still one."""
    mean = np.maximum(mean, 1e-3)
    score = np.einsum("anij,nij->na", slopes, counts / mean - 1)
    fisher = np.einsum("anij,bnij,nij->nab", slopes, slopes, 1 / mean, optimize=True)
    step = np.linalg.solve(fisher, score[:, :, None])[:, :, 0]
    side = counts.shape[1:][::-1]
    new = state + np.clip(step, [-1, -1, -np.inf, -np.inf], [1, 1, np.inf, np.inf])
    new[:, :2] = np.clip(new[:, :2], 0.0, np.array(side) - 1.0)
    new[:, 2] = np.clip(new[:, 2], 0.3 * state[:, 2], 3 * state[:, 2])
    new[:, 3] = np.maximum(new[:, 3], 0.0)
    return new
