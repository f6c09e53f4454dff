"""Where the focus lies between the planes of a stack, and how well that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from parfocal.errors import BadInputError

_POWERS = (0.0, 0.25, 0.5, 1.0)
_ONE_SIGMA = 0.8413447460685429  # the normal distribution's share below +1 sigma


@dataclass(frozen=True)
class BestPlane:
    """The sharpest plane of a stack and the focus that a parabola through its neighbours gives.

    Attributes
    ----------
    index : int
        The plane with the highest score, in the order given; -1 where no score is a number.
    z_um : float
        Focus, um: vertex of the parabola; where focus is not bracketed or not peaked, the z of `index`; NaN
        where there is none.
    sigma_z_um : float
        Standard error of `z_um`, um (+-1 sigma covers 68 %); NaN where `z_um` is no vertex.
    peak_at_edge : bool
        The highest score is at the first or last z: the true focus may lie outside the stack.
    n_points : int
        Number of distinct z that the parabola went through; 0 where there is none.
    reason : str
        "" where focus was found, else why not: "edge", "flat", "noise" (the highest score
        stands out no more than chance has it), "not finite", "no peak" or "too few planes".
    """

    index: int
    z_um: float
    sigma_z_um: float
    peak_at_edge: bool
    n_points: int
    reason: str = ""

    @property
    def found(self) -> bool:
        """Whether `z_um` is a focus that the stack brackets."""
        return self.reason == ""


def best_plane(z_um: ArrayLike, scores: ArrayLike, score_sd: ArrayLike | None = None) -> BestPlane:
    """Find the focus from scores along z by a local parabola.

    Planes around the highest score, down to half of it (above the lowest score of the stack), at least two
    and at most four to a side, enter a least-squares parabola. Where all of them are positive, it is a
    parabola of ln(score) and of -score^-p, p = 1/4, 1/2, 1, weighted so that errors count in units of the
    score [1]_, and averaged by likelihood: a Gaussian peak is exact in ln(score), and the (1 + (z/d)²)^(-1/p)
    that defocus makes of most scores is exact in score^-p. Else it is a parabola of the score. Planes with
    equal z are averaged first; order and spacing are free; scores that are not finite are left out.

    The standard error is that of the vertex -b/2c, from the fits' covariance scaled by their residuals and
    widened by Student's t for few planes, plus the spread of the fits' vertices, so that +-1 sigma covers
    about 68 % (55 to 80 % in simulations with three or more planes above half height, less where only one
    is); with `score_sd`, noise propagated from it where that is larger. Where the parabola has no residual to
    judge by (three planes) and no `score_sd` is given, the vertex is known no better than the sampling: sigma
    is the plane spacing over sqrt(12).

    Parameters
    ----------
    z_um : array_like of shape (n,)
        Position of each plane, um.
    scores : array_like of shape (n,)
        Focus score of each plane, larger is sharper.
    score_sd : array_like of shape (n,) or float, optional
        Standard deviation of each score, where known.

    Returns
    -------
    BestPlane

    Raises
    ------
    BadInputError
        Lengths differ, there is no plane, or a z is not finite.

    References
    ----------
    .. [1] H. Guo, "A simple algorithm for fitting a Gaussian function", IEEE Signal Process. Mag. 28, 134
       (2011): why ln(score) wants the weight score².
    """
    z, s = np.asarray(z_um, np.float64).ravel(), np.asarray(scores, np.float64).ravel()
    if z.size != s.size or z.size == 0:
        raise BadInputError(f"best plane: {z.size} z positions and {s.size} scores; expected one of each a plane")
    if not np.isfinite(z).all():
        raise BadInputError(f"best plane: z of plane {int(np.argmin(np.isfinite(z)))} is not a number")
    sd = np.broadcast_to(np.asarray(0.0 if score_sd is None else score_sd, np.float64), s.shape)
    valid = np.isfinite(s) & np.isfinite(sd)
    if not valid.any():
        return BestPlane(-1, math.nan, math.nan, False, 0, "not finite")
    index = int(np.argmax(np.where(valid, s, -np.inf)))
    levels, mean, mean_sd = _by_level(z[valid], s[valid], sd[valid])
    peak = int(np.argmax(mean))
    spread = float(mean.max() - mean.min())
    if spread <= 1e-12 * float(np.abs(mean).max()):
        return BestPlane(index, math.nan, math.nan, False, 0, "flat")
    if levels.size < 3:
        return BestPlane(index, float(levels[peak]), math.nan, True, 0, "too few planes")
    if peak in (0, levels.size - 1):
        return BestPlane(index, float(levels[peak]), math.nan, True, 0, "edge")
    if _is_noise(mean):
        return BestPlane(index, float(levels[peak]), math.nan, False, 0, "noise")
    window = _around(mean, peak)
    vertex, sigma = _vertex(levels[window], mean[window], mean_sd[window])
    n_points = window.stop - window.start
    low, high = levels[window.start], levels[window.stop - 1]
    if not (math.isfinite(vertex) and low <= vertex <= high):
        return BestPlane(index, float(levels[peak]), math.nan, False, n_points, "no peak")
    return BestPlane(index, vertex, sigma, False, n_points)


def _by_level(
    z: NDArray[np.float64], s: NDArray[np.float64], sd: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return distinct z, ascending, with the mean score at each and its standard deviation."""
    order = np.argsort(z, kind="stable")
    z, s, sd = z[order], s[order], sd[order]
    # closer than a millionth of the range is the same place: stages report rounding
    new = np.concatenate([[True], np.diff(z) > 1e-6 * (z[-1] - z[0])])
    group = np.cumsum(new) - 1
    count = np.bincount(group)
    mean_sd = np.sqrt(np.bincount(group, sd**2)) / count
    return np.bincount(group, z) / count, np.bincount(group, s) / count, mean_sd


def _is_noise(scores: NDArray[np.float64]) -> bool:
    """Say whether scores look like chance: rough from plane to plane, nothing standing out (from 9 planes).

    Rough: von Neumann's ratio of the mean squared difference of neighbours to the variance, 2 for white
    noise, small for a curve. Standing out: the highest score over the 10th percentile, against the noise by
    the median of second differences, which a narrow peak (rough, too) does not move.
    """
    if scores.size < 9:
        return False
    rough = float(np.mean(np.square(np.diff(scores)))) > 1.2 * float(np.var(scores))
    noise = float(np.median(np.abs(np.diff(scores, 2)))) / 0.6745 / math.sqrt(6)
    return rough and float(scores.max() - np.percentile(scores, 10)) < 5 * noise


def _around(scores: NDArray[np.float64], peak: int) -> slice:
    """Return the planes about the peak that take part: to half height, 2 to 4 a side, the same number a side.

    A lopsided window would pull the vertex, since no real peak is quite a parabola.
    """
    half = 0.5 * (scores[peak] + scores.min())
    reach = 0
    room = min(peak, scores.size - 1 - peak, 4)
    while reach < room and min(scores[peak - reach - 1], scores[peak + reach + 1]) >= half:
        reach += 1
    reach = max(reach, min(2, room))
    start, stop = peak - reach, peak + reach + 1
    if stop - start < 4:  # at the second or last-but-one plane: one more on the side that has it, for a residual
        start, stop = max(0, start - (stop == scores.size)), min(scores.size, stop + (start == 0))
    return slice(start, stop)


def _vertex(z: NDArray[np.float64], s: NDArray[np.float64], sd: NDArray[np.float64]) -> tuple[float, float]:
    """Return the vertex and its standard error, shapes averaged by likelihood; NaN without a maximum."""
    centre, scale = float(z.mean()), float(np.ptp(z)) / 2
    u = (z - centre) / scale
    design = np.stack([np.ones_like(u), u, u * u], axis=1)
    height = float(np.abs(s).max())
    freedom = z.size - 3.0
    powers: tuple[float | None, ...] = (None,)
    # A score that is next to nothing beside the peak says no more than 0 does, and its logarithm overflows.
    if (s > 1e-9 * height).all():
        powers = _POWERS if freedom > 0 else (0.0,)
        # the freedom to choose a shape is worth about half a parameter, by the coverage in simulations
        freedom -= 0.5 if freedom > 1 else 0.0
    vertices: list[float] = []
    variances: list[float] = []
    misfits: list[float] = []
    for power in powers:
        misfit, (_, b, c), inverse, from_noise = _fitted(design, s / height, sd / height, power)
        if not c < -1e-12:  # flat to rounding
            continue
        gradient = np.array([0.0, -1 / (2 * c), b / (2 * c * c)])
        variance = 0.0
        if freedom > 0:
            widened = float(stdtrit(freedom, _ONE_SIGMA))  # scipy.stats takes long to import
            variance = widened**2 * misfit / freedom * float(gradient @ inverse @ gradient)
        variances.append(max(variance, float(np.sum(np.square(gradient @ from_noise)))))
        vertices.append(-b / (2 * c))
        misfits.append(misfit)
    if not vertices:
        return math.nan, math.nan
    # with the variance of the errors unknown, likelihood goes as misfit^(-n/2); 1e-12 is rounding
    log_likelihood = -0.5 * z.size * np.log(np.array(misfits) + 1e-12)
    share = np.exp(log_likelihood - log_likelihood.max())
    share /= share.sum()
    vertex = float(share @ vertices)
    sigma = math.sqrt(float(share @ (np.array(variances) + np.square(np.array(vertices) - vertex)))) * scale
    if freedom == 0 and not sd.any():
        sigma = float(np.max(np.diff(z))) / math.sqrt(12)
    return float(centre + vertex * scale), float(sigma)


def _fitted(
    design: NDArray[np.float64], s: NDArray[np.float64], sd: NDArray[np.float64], power: float | None
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit a parabola to -s**-power / power (0: ln s; None: s itself), weighted back to units of the score.

    Returns the weighted sum of squared residuals, the coefficients, their covariance for unit variance, and
    how the noise of each point enters them.
    """
    if power is None:
        values, weights = s, np.ones_like(s)
    else:
        values = np.log(s) if power == 0 else -(s**-power) / power
        weights = s ** (1 + power)  # the inverse of the slope of the transform
    weighted = design * weights[:, np.newaxis]
    solve = np.linalg.pinv(weighted)
    coefficients = solve @ (weights * values)
    residual = weights * (values - design @ coefficients)
    return float(residual @ residual), coefficients, solve @ solve.T, solve * sd
