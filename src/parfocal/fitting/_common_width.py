"""Spots whose widths are nearly one: a dim one's picture says little of its width, those of the others more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from parfocal.fitting._psf_fit import PsfFits, fit_psfs
from parfocal.optics import CameraModel

LEAST_SPOTS = 20
"""With fewer, how much widths scatter is not known well enough to lean on it."""

_TIED, _LEAST_SCATTER, _MOST_SCATTER = 0.05, 0.01, 0.2
"""Relative to the width: what is assumed to measure the scatter, the least that is, and from when on it says no
more about a spot than its own picture."""


def common_width(
    rois: ArrayLike, camera_model: CameraModel, first: PsfFits, **told: Any
) -> tuple[float, float] | None:
    """Return mean and standard deviation of the widths of round spots, as far as their pictures tell.

    Each spot has a width of its own, drawn from a Gaussian whose mean and variance are those of random effects
    [1]_: the log-likelihood of each spot's width is taken as a parabola about the mean, from a fit that is tied to
    that. They are a prior for `fit_psfs` and `fit_crowds`: the width of a bright spot is then what its own picture
    says, that of a dim one is drawn to the others'. Left to itself, the fit of a dim spot narrows onto a pixel of
    noise, which costs its position precision.

    Parameters
    ----------
    rois : array_like of shape (n, height, width)
        Raw ADU.
    camera_model : CameraModel
    first : PsfFits
        Of the same pictures, with `is_round` and by maximum likelihood.
    **told
        As for `fit_psfs`: `corners_px`, `excess_noise`, `n_threads`, `at_px`, `known_light`.

    Returns
    -------
    (float, float) or None
        px; None where there are fewer than 20 spots, or widths scatter by a fifth.

    References
    ----------
    .. [1] R. DerSimonian, N. Laird, "Meta-analysis in clinical trials", Control. Clin. Trials 7, 177 (1986).
    """
    widths = first.sigma_x_px[first.is_mle]
    if len(widths) < LEAST_SPOTS:
        return None
    mean_px = scatter_px = float(np.median(widths))
    for _ in range(2):  # the median of widths that were fitted one by one is off by more than one step mends
        prior = (mean_px, _TIED * mean_px)
        tied = fit_psfs(rois, camera_model, is_round=True, sigma_px=mean_px, width_prior_px=prior, **told)
        mean_px, scatter_px = _step(tied, *prior)
    if not scatter_px < _MOST_SCATTER * mean_px:
        return None
    return mean_px, max(scatter_px, _LEAST_SCATTER * mean_px)


def are_of_one_kind(tied: PsfFits, first: PsfFits) -> bool:
    """Return whether spots whose width was drawn to a prior fit their pictures as well as chance lets them.

    Of a spot whose width is known to s by its picture alone, and beforehand to t, the prior makes the deviance
    larger by s² / (s² + t²) on average: by 1 at most, with a variance of 2 at most. Where the mean over all spots
    is more than three standard deviations above that, their widths are not of one Gaussian, as where two kinds of
    spots, or two depths, are in a frame.

    Parameters
    ----------
    tied, first : PsfFits
        Of the same pictures, with `width_prior_px` as `common_width` told it, and without.
    """
    ok = tied.is_mle & first.is_mle
    worse = (tied.deviance - first.deviance)[ok]
    return bool(worse.size and worse.mean() <= 1.0 + 3.0 * np.sqrt(2.0 / worse.size))


def _step(tied: PsfFits, mean_px: float, tie_px: float) -> tuple[float, float]:
    """Return a better mean, and the scatter about it, from fits that were tied to one width."""
    stiffness = 1.0 / tie_px**2
    ok = tied.is_mle
    if ok.sum() < LEAST_SPOTS:
        return mean_px, np.inf
    curvature = 1.0 / tied.covariance[ok, 4, 4]
    information = np.maximum(curvature - stiffness, 1e-6 * stiffness)
    widths = mean_px + (tied.sigma_x_px[ok] - mean_px) * curvature / information
    total = information.sum()
    beyond = (information * np.square(widths - (information * widths).sum() / total)).sum() - (len(widths) - 1)
    variance = max(float(beyond / (total - np.square(information).sum() / total)), 0.0)
    weights = 1.0 / (1.0 / information + variance)
    step_px = float((weights * (widths - mean_px)).sum() / weights.sum())
    return mean_px + float(np.clip(step_px, -0.3 * mean_px, 0.3 * mean_px)), float(np.sqrt(variance))
