"""Both width curves fitted to a sweep, jointly and by each frame's own bound."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, least_squares

from parfocal.errors import BadInputError
from parfocal.fitting._defocus_model import DefocusModel, WidthCurve, usable_range
from parfocal.robust import MAD_TO_SD

_ORDERS = ((False, False), (True, False), (False, True), (True, True))
_SMALLEST_SQUARE = 1e-3  # (sigma / sigma0)² that a trial curve is held above, so that its root exists


@dataclass(frozen=True, eq=False)
class WidthSamples:
    """Widths measured along a sweep.

    Parameters
    ----------
    z_um : ndarray of shape (n,)
        Where the stage said it was, um.
    sigma_px : ndarray of shape (n, 2)
        sigma_x and sigma_y, px.
    covariance_px2 : ndarray of shape (n, 2, 2)
        Of the two, by the bound of each frame, px².
    """

    z_um: NDArray[np.float64]
    sigma_px: NDArray[np.float64]
    covariance_px2: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = np.size(self.z_um)
        if np.shape(self.sigma_px) != (n, 2) or np.shape(self.covariance_px2) != (n, 2, 2):
            raise BadInputError(
                f"width samples: {n} z, sigma_px {np.shape(self.sigma_px)} and covariance_px2 "
                f"{np.shape(self.covariance_px2)}; expected (n,), (n, 2) and (n, 2, 2)"
            )

    def taken(self, which: NDArray[np.bool_]) -> WidthSamples:
        """Return some of the samples."""
        return WidthSamples(self.z_um[which], self.sigma_px[which], self.covariance_px2[which])


@dataclass(frozen=True, eq=False)
class DefocusFit:
    """A defocus model with how well it fits.

    Attributes
    ----------
    model : DefocusModel
        Re-centred: z is 0 where the widths are equal.
    focus_um : float
        The stage's z there, um.
    is_used : ndarray of shape (n,), bool
        False for outliers that were pruned.
    r2 : (float, float)
        Share of each width's variance explained, x then y.
    orders : (str, str)
        Of each axis: "", "A", "B" or "AB", chosen by AICc.
    model_error : float
        Relative width error, beside the frames' own bounds, that the residuals ask for; 0 where none.
    reduced_chi2 : float
        By the frames' own bounds alone; 1 where the model is as good as the light.
    """

    model: DefocusModel
    focus_um: float
    is_used: NDArray[np.bool_]
    r2: tuple[float, float]
    orders: tuple[str, str]
    model_error: float
    reduced_chi2: float


def fit_defocus(
    samples: WidthSamples,
    *,
    theta_rad: float = 0.0,
    pixel_size_um: float = 1.0,
    max_order: int = 4,
    prune_mad: float = 6.0,
) -> DefocusFit:
    """Fit sigma_x(z) and sigma_y(z) together.

    Each frame counts by the inverse of its covariance. Frames off by more than `prune_mad` scaled median
    deviations from a soft-L1 fit are pruned. Then A and B of each axis are chosen by AICc among all sixteen
    combinations that stay positive over the sweep and cross once there. What the residuals have beyond the
    frames' bounds (a real spot is no Gaussian) is taken as a relative width error common to all frames,
    weighs in, and widens the covariance.

    Parameters
    ----------
    samples : WidthSamples
        Parametric fits only: moments of a frame whose fit failed do not belong here.
    theta_rad, pixel_size_um : float
        Handed to the model.
    max_order : int
        2 to leave A and B out, 4 to let AICc choose.
    prune_mad : float
        Median absolute deviations, scaled to standard deviations.

    Returns
    -------
    DefocusFit

    Raises
    ------
    BadInputError
        Fewer than 6 finite samples, all at one z, or widths that are equal nowhere in the sweep.

    References
    ----------
    .. [1] C. M. Hurvich, C.-L. Tsai, "Regression and time series model selection in small samples",
       Biometrika 76, 297 (1989).
    """
    finite = np.isfinite(samples.z_um) & np.isfinite(samples.sigma_px).all(1)
    finite &= np.isfinite(samples.covariance_px2).all((1, 2)) & (samples.sigma_px > 0).all(1)
    if int(finite.sum()) < 6 or np.ptp(samples.z_um[finite]) <= 0:
        raise BadInputError(f"defocus fit: {int(finite.sum())} usable widths at different z, expected 6 or more")
    data = samples.taken(finite)
    swept = (float(data.z_um.min()), float(data.z_um.max()))
    rich = max_order >= 4 and finite.sum() >= 12
    full = (True, True, True, True) if rich else (False,) * 4
    robust = _fitted(_start(data), data, full, 0.0, swept, loss="soft_l1")
    residual = _whitened(robust, data, 0.0)
    keep = _not_outlying(residual, prune_mad)
    error = _extra_error(robust, data.taken(keep), sum(full))
    # once more with the error known: at high light the bounds alone call half of a good sweep outliers
    robust = _fitted(robust, data.taken(keep), full, error, swept, loss="soft_l1")
    keep = _not_outlying(_whitened(robust, data, error), prune_mad)
    kept = data.taken(keep)
    error = _extra_error(robust, kept, sum(full))
    best = _chosen(robust, kept, error, swept, rich)
    if best is None:
        raise BadInputError(
            "defocus fit: sigma_x and sigma_y are equal nowhere in the sweep; "
            "expected a sweep through focus of an astigmatic spot"
        )
    parameters, free, focus = best
    error = _extra_error(parameters, kept, sum(free))
    parameters = _fitted(parameters, kept, free, error, swept)
    focus = _crossing(parameters, swept) or focus
    covariance = _covariance(parameters, kept, free, error)
    x, y = (replace(c, center_um=c.center_um - focus) for c in _curves(parameters))
    usable = usable_range(x, y, (swept[0] - focus, swept[1] - focus))
    used = np.zeros(samples.z_um.size, dtype=np.bool_)
    used[np.flatnonzero(finite)[keep]] = True
    n_values = 2 * kept.z_um.size
    chi2 = float(np.sum(np.square(_whitened(parameters, kept, 0.0)))) / max(n_values - 6 - sum(free), 1)
    orders = tuple("A" * free[i] + "B" * free[i + 1] for i in (0, 2))
    return DefocusFit(
        model=DefocusModel(x, y, theta_rad, usable, pixel_size_um, covariance=covariance),
        focus_um=focus,
        is_used=used,
        r2=_r2(parameters, kept),
        orders=(orders[0], orders[1]),
        model_error=error,
        reduced_chi2=chi2,
    )


def _curves(p: NDArray[np.float64]) -> tuple[WidthCurve, WidthCurve]:
    x, y = (WidthCurve(float(v[0]), float(v[1]), float(v[2]), float(v[3]), float(v[4])) for v in p.reshape(2, 5))
    return x, y


def _start(data: WidthSamples) -> NDArray[np.float64]:
    """Return parameters of order 2 from a straight fit: s² is a parabola of z, which needs no start."""
    p = np.zeros((2, 5))
    z, span = data.z_um, float(np.ptp(data.z_um))
    for axis in range(2):
        square = np.square(data.sigma_px[:, axis])
        weight = 1 / (2 * data.sigma_px[:, axis] * np.sqrt(data.covariance_px2[:, axis, axis]))
        middle = float(np.median(z))
        design = np.stack([np.ones_like(z), z - middle, np.square(z - middle)], axis=1)
        c0, c1, c2 = 0.0, 0.0, 0.0
        for _ in range(5):  # reweighted, so that a few wild widths do not decide
            c0, c1, c2 = np.linalg.lstsq(design * weight[:, None], square * weight, rcond=None)[0]
            off = np.abs(square - design @ (c0, c1, c2))
            weight = 1 / (square * (0.05 + off / square))
        lowest = float(np.percentile(square, 5))
        base = c0 - c1 * c1 / (4 * c2) if c2 > 0 else 0.0
        centre = middle - c1 / (2 * c2) if c2 > 0 else float(z[np.argmin(square)])
        base = base if base > 0.25 * lowest else lowest
        depth = float(np.sqrt(base / c2)) if c2 > 0 else span / 2
        centre = float(np.clip(centre, z.min() - span / 2, z.max() + span / 2))
        p[axis, :3] = np.sqrt(base), centre, np.clip(depth, span / 20, span * 5)
    return p.ravel()


def _fitted(
    start: NDArray[np.float64],
    data: WidthSamples,
    free: tuple[bool, ...],
    error: float,
    swept_um: tuple[float, float],
    loss: str = "linear",
) -> NDArray[np.float64]:
    """Return the ten parameters of both axes; `free` says which of A and B of x, then y, are fitted.

    Logarithms of width and depth are what the solver moves, so that both stay above 0.
    """
    moved = np.array([True, True, True, free[0], free[1], True, True, True, free[2], free[3]])
    begin = start.copy()
    begin[~moved] = 0
    begin[[0, 2, 5, 7]] = np.log(begin[[0, 2, 5, 7]])
    whitening = _whitening(data, error)
    span = swept_um[1] - swept_um[0]

    def natural(v: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.zeros(10)
        p[moved] = v
        p[[0, 2, 5, 7]] = np.exp(p[[0, 2, 5, 7]])
        return p

    def residual(v: NDArray[np.float64]) -> NDArray[np.float64]:
        width = _widths(natural(v), data.z_um)[0]
        return np.einsum("nij,nj->ni", whitening, data.sigma_px - width).ravel()

    def jacobian(v: NDArray[np.float64]) -> NDArray[np.float64]:
        p = natural(v)
        slope = _widths(p, data.z_um)[1]
        slope[:, :, [0, 2, 5, 7]] *= p[[0, 2, 5, 7]]
        return -np.einsum("nij,njk->nik", whitening, slope).reshape(-1, 10)[:, moved]

    low, high = np.full(10, -np.inf), np.full(10, np.inf)
    for i in (0, 5):
        low[i], high[i] = np.log(0.05), np.log(100.0)
        low[i + 1], high[i + 1] = swept_um[0] - 2 * span, swept_um[1] + 2 * span
        low[i + 2], high[i + 2] = np.log(span / 100), np.log(span * 20)
    low, high = low[moved], high[moved]
    inside = np.clip(begin[moved], low + 1e-6, high - 1e-6)
    solve: Any = least_squares  # its stubs know no callable jac
    found = solve(
        residual, inside, jac=jacobian, bounds=(low, high), loss=loss, f_scale=2.0, x_scale="jac", max_nfev=100
    )
    return natural(np.asarray(found.x))


def _widths(p: NDArray[np.float64], z_um: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return widths (n, 2) and their derivatives (n, 2, 10); where a square is not positive, held just above 0."""
    width = np.empty((z_um.size, 2))
    slope = np.zeros((z_um.size, 2, 10))
    for axis in range(2):
        s0, c, d, a, b = p[5 * axis : 5 * axis + 5]
        x = (z_um - c) / d
        square = np.maximum(1 + x**2 * (1 + x * (a + x * b)), _SMALLEST_SQUARE)
        root = np.sqrt(square)
        growth = x * (2 + x * (3 * a + x * 4 * b))
        half = s0 / (2 * root)
        width[:, axis] = s0 * root
        columns = [root, -half * growth / d, -half * growth * x / d, half * x**3, half * x**4]
        slope[:, axis, 5 * axis : 5 * axis + 5] = np.stack(columns, axis=1)
    return width, slope


def _whitening(data: WidthSamples, error: float) -> NDArray[np.float64]:
    """Return W with W' W the inverse of each frame's covariance, the model's own error added."""
    covariance = data.covariance_px2 + error**2 * np.eye(2) * np.square(data.sigma_px)[:, :, None]
    return np.linalg.inv(np.linalg.cholesky(covariance))


def _whitened(p: NDArray[np.float64], data: WidthSamples, error: float) -> NDArray[np.float64]:
    return np.einsum("nij,nj->ni", _whitening(data, error), data.sigma_px - _widths(p, data.z_um)[0])


def _not_outlying(residual: NDArray[np.float64], mads: float) -> NDArray[np.bool_]:
    """Return which frames lie within the scaled median deviations in both widths (1 is the least: noise)."""
    off = np.abs(residual - np.median(residual, axis=0))
    scale = np.maximum(MAD_TO_SD * np.median(off, axis=0), 1.0)
    return np.asarray((off <= mads * scale).all(axis=1), dtype=np.bool_)


def _extra_error(p: NDArray[np.float64], data: WidthSamples, n_free: int) -> float:
    """Return the relative width error that brings the sum of squares to its degrees of freedom."""
    freedom = max(2 * data.z_um.size - 6 - n_free, 1)

    def surplus(error: float) -> float:
        return float(np.sum(np.square(_whitened(p, data, error)))) / freedom - 1

    if surplus(0.0) <= 0:
        return 0.0
    return 1.0 if surplus(1.0) > 0 else _root(surplus, 0.0, 1.0, 1e-6)


def _root(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    found: Any = brentq(function, low, high, xtol=tolerance)
    return float(found)


def _chosen(
    start: NDArray[np.float64], data: WidthSamples, error: float, swept_um: tuple[float, float], rich: bool
) -> tuple[NDArray[np.float64], tuple[bool, ...], float] | None:
    """Return parameters, which of A and B are in, and the crossing, of the lowest AICc that is physical."""
    best: tuple[NDArray[np.float64], tuple[bool, ...], float] | None = None
    lowest = np.inf
    n_values = 2 * data.z_um.size
    for x, y in itertools.product(_ORDERS, _ORDERS) if rich else [(_ORDERS[0], _ORDERS[0])]:
        free = (*x, *y)
        p = _fitted(start, data, free, error, swept_um)
        focus = _crossing(p, swept_um)
        if focus is None:
            continue
        k = 7 + sum(free)  # the scale of the errors is one of them
        misfit = float(np.sum(np.square(_whitened(p, data, error))))
        spare = n_values - k - 1
        if spare <= 0:
            continue
        aicc = n_values * np.log(max(misfit, 1e-12) / n_values) + 2 * k + 2 * k * (k + 1) / spare
        if aicc < lowest:
            best, lowest = (p, free, focus), aicc
    return best


def _crossing(p: NDArray[np.float64], swept_um: tuple[float, float]) -> float | None:
    """Return where the widths are equal, of several places where q is steepest; None where not positive."""
    z = np.linspace(*swept_um, 2001)
    x, y = _curves(p)
    with np.errstate(invalid="ignore"):
        q = np.log(x.width_px(z) / y.width_px(z))
    if not np.isfinite(q).all():
        return None
    steps = np.flatnonzero(np.sign(q[:-1]) * np.sign(q[1:]) <= 0)
    if steps.size == 0:
        return None
    at = int(steps[np.argmax(np.abs(q[steps + 1] - q[steps]))])
    if q[at] == q[at + 1]:
        return None
    return _root(lambda v: float(np.log(x.width_px(v) / y.width_px(v))), float(z[at]), float(z[at + 1]), 1e-9)


def _covariance(
    p: NDArray[np.float64], data: WidthSamples, free: tuple[bool, ...], error: float
) -> NDArray[np.float64]:
    """Return the covariance of the ten parameters; rows of what is not fitted are 0."""
    moved = np.array([True, True, True, free[0], free[1], True, True, True, free[2], free[3]])
    slope = np.einsum("nij,njk->nik", _whitening(data, error), _widths(p, data.z_um)[1]).reshape(-1, 10)[:, moved]
    scale = np.linalg.norm(slope, axis=0) + 1e-300
    inner = np.linalg.pinv((slope / scale).T @ (slope / scale)) / np.outer(scale, scale)
    freedom = max(2 * data.z_um.size - int(moved.sum()), 1)
    inner = inner * max(1.0, float(np.sum(np.square(_whitened(p, data, error)))) / freedom)
    covariance = np.zeros((10, 10))
    covariance[np.ix_(moved, moved)] = inner
    return covariance


def _r2(p: NDArray[np.float64], data: WidthSamples) -> tuple[float, float]:
    left = np.sum(np.square(data.sigma_px - _widths(p, data.z_um)[0]), axis=0)
    total = np.sum(np.square(data.sigma_px - data.sigma_px.mean(axis=0)), axis=0)
    x, y = 1 - left / np.maximum(total, 1e-300)
    return float(x), float(y)


def samples_from(z_um: ArrayLike, sigma_px: ArrayLike, photons: ArrayLike) -> WidthSamples:
    """Return width samples whose covariance is the photon bound sigma² / 2N, where nothing better is known.

    For files that keep widths but no errors, such as the CSV of Focus Feedback.
    """
    sigma = np.asarray(sigma_px, dtype=np.float64)
    light = np.maximum(np.asarray(photons, dtype=np.float64), 1.0)
    variance = np.square(sigma) / (2 * light[:, None])
    return WidthSamples(np.asarray(z_um, dtype=np.float64), sigma, variance[:, :, None] * np.eye(2))
