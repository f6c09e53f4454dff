"""Shapes of a focus curve: the vertex at its peak, and robust fits of all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from parfocal.slices.selection._decide import robust_scale

CurveModel = Literal["parabola", "gaussian"]

_LEAST_SHARE = 1e-4  # of the peak; a score below says no more than this, and its logarithm would rule the fit


@dataclass(frozen=True)
class Peak:
    """Top of a focus curve.

    Attributes
    ----------
    index : int
        The frame with the highest score; -1 where no score is a number.
    z_um, height : float
        Vertex of the local parabola and the score there; those of `index` where there is no vertex.
    at_edge : bool
        The highest score is at the lowest or highest z: focus may lie outside.
    """

    index: int
    z_um: float
    height: float
    at_edge: bool


def peak_of(z_um: NDArray[np.float64], scores: NDArray[np.float64]) -> Peak:
    """Return the top of a focus curve: the vertex of a parabola through ln(score) about the highest score.

    One to two frames a side, as far as scores reach half of the highest, weighted by score² (the error of a
    logarithm), so that a frame that is high by chance does not set the height alone. The height is kept within
    0.7 to 1.3 of the highest score.
    """
    order = np.argsort(z_um, kind="stable")
    valid = order[np.isfinite(scores[order])]
    if not valid.size:
        return Peak(-1, math.nan, math.nan, False)
    z, s = z_um[valid], scores[valid]
    top = int(np.argmax(s))
    index, highest = int(valid[top]), float(s[top])
    at_edge = s.size > 1 and bool(z[top] in (z[0], z[-1]))
    if at_edge or s.size < 3 or highest <= 0:
        return Peak(index, float(z[top]), highest, at_edge)
    reach = 1
    room = min(top, s.size - 1 - top, 2)
    if room == 2 and min(s[top - 2], s[top + 2]) >= 0.5 * highest:
        reach = 2
    window = slice(max(0, top - reach), top + reach + 1)
    u = z[window] - z[top]
    if np.unique(u).size < 3:
        return Peak(index, float(z[top]), highest, False)
    share = np.maximum(s[window] / highest, _LEAST_SHARE)
    scale = float(np.abs(u).max())
    c, b, a = np.polyfit(u / scale, np.log(share), 2, w=share)
    if c >= -1e-12 or abs(b / (2 * c)) > 1:
        return Peak(index, float(z[top]), highest, False)
    height = highest * float(np.clip(math.exp(a - b * b / (4 * c)), 0.7, 1.3))
    return Peak(index, float(z[top] - scale * b / (2 * c)), height, False)


@dataclass(frozen=True)
class CurveFit:
    """A focus curve fitted so that single bad frames do not bend it.

    Attributes
    ----------
    residual : ndarray of float64, shape (n,)
        Score less curve, in robust standard deviations; NaN where the curve was not fitted.
    judged : ndarray of bool, shape (n,)
        Frames that took part.
    vertex_um : float
        z of the curve's top.
    explained : float
        Share of the scores' variance the curve explains, the frames with residuals above 3 left out (1: all).
    """

    residual: NDArray[np.float64]
    judged: NDArray[np.bool_]
    vertex_um: float
    explained: float


def fit_curve(
    z_um: NDArray[np.float64],
    scores: NDArray[np.float64],
    model: CurveModel = "parabola",
    least_height: float = 0.2,
    least_sigma: float = 0.03,
) -> CurveFit | None:
    """Fit a focus curve with Tukey's biweight; None where fewer than 6 frames can take part.

    "parabola": ln(score) over the range of z in which scores reach `least_height` of the highest, frames in that
    range that do not reach it included. "gaussian": offset + height exp(-(z - c)²/2w²) over all frames.

    The robust standard deviation of residuals is not taken below `least_sigma` (of the score for the parabola, of
    the height for the Gaussian): curves that fit to rounding would make outliers of rounding errors.
    """
    valid = np.isfinite(scores)
    if valid.sum() < 6 or float(np.max(scores[valid])) <= 0:
        return None
    top = float(np.max(scores[valid]))
    if model == "parabola":
        bright = z_um[valid & (scores >= least_height * top)]
        valid &= (z_um >= bright.min()) & (z_um <= bright.max())
    if np.unique(z_um[valid]).size < 6:
        return None
    z, share = z_um[valid], scores[valid] / top
    centre, half = float(z.min() + z.max()) / 2, float(np.ptp(z)) / 2
    u = (z - centre) / half
    fitted = _parabola(u, share) if model == "parabola" else _gaussian(u, share)
    if fitted is None:
        return None
    curve, vertex, values = fitted
    left = values - curve
    _, spread = robust_scale(left)
    standard = np.full(z_um.size, np.nan)
    standard[valid] = left / max(spread, least_sigma)
    inliers = np.abs(standard[valid]) <= 3
    variance = float(np.sum(np.square(values[inliers] - values[inliers].mean()))) if inliers.any() else 0.0
    explained = 1 - float(np.sum(np.square(left[inliers]))) / variance if variance > 0 else 0.0
    return CurveFit(standard, valid, centre + half * vertex, explained)


def _parabola(
    u: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]] | None:
    values = np.log(np.maximum(share, _LEAST_SHARE))
    design = np.stack([np.ones_like(u), u, u * u], axis=1)
    weights, coefficients = np.ones_like(u), np.zeros(3)
    # Begun from the least absolute deviations, which a blurred frame does not pull, then Tukey's biweight.
    for step in range(30):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(design * root[:, np.newaxis], values * root, rcond=None)[0]
        left = values - design @ coefficients
        spread = max(robust_scale(left)[1], 1e-3)
        if step < 10:
            weights = 1 / np.maximum(np.abs(left), 0.1 * spread)
        else:
            weights = np.square(np.maximum(0.0, 1 - np.square(left / (4.685 * spread)))) + 1e-9
    _, b, c = coefficients
    if c >= -1e-9:
        return None
    return design @ coefficients, float(-b / (2 * c)), values


def _gaussian(
    u: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]] | None:
    spacing = 2 / max(1, u.size - 1)

    def curve(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return p[0] + p[1] * np.exp(-0.5 * np.square((u - p[2]) / p[3]))

    low = float(np.min(share))
    bright = share - low >= 0.5 * (1 - low)
    start = [low, 1 - low, float(np.mean(u[bright])), max(spacing, float(np.std(u[bright])))]
    bounds = ([-1.0, 1e-6, -3.0, 0.5 * spacing], [1.0, 3.0, 3.0, 6.0])
    found = least_squares(
        lambda p: curve(p) - share, np.clip(start, *bounds), bounds=bounds, loss="soft_l1", f_scale=0.03
    )
    if not found.success:
        return None
    return curve(found.x), float(found.x[2]), share
