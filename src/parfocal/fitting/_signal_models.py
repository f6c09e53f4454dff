"""From an error signal to z without a model of the spot: a line, a parabola, or two lines that meet."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError

SignalKind = Literal["linear", "poly2", "piecewise"]
ExpectedSlope = Literal["auto", "positive", "negative"]

_OUTLIER_UM = 0.2
_MAX_POINTS, _MAX_PAIRS = 80, 500


class SignalModel(Protocol):
    """What turns an error signal, such as `moments_error`, into z.

    `z_um` of a signal outside `signal_range` is NaN: a folded curve would answer with the wrong side.
    """

    @property
    def kind(self) -> SignalKind:
        """Which form it has."""
        ...

    @property
    def signal_range(self) -> tuple[float, float]:
        """Signals at which it was calibrated."""
        ...

    @property
    def usable_um(self) -> tuple[float, float]:
        """The z of both ends of `signal_range`, the lower first, um from focus."""
        ...

    @property
    def slope_um(self) -> float:
        """Dz / d signal at focus, um; its sign is what `expected_slope` speaks of."""
        ...

    @property
    def r2(self) -> float:
        """Share of the variance of z explained, of the samples used."""
        ...

    @property
    def rms_um(self) -> float:
        """Root mean square of what is left, um."""
        ...

    def z_um(self, signal: ArrayLike) -> NDArray[np.float64]:
        """Return z, um from focus."""
        ...


@dataclass(frozen=True)
class _SignalFit(ABC):
    """What all three share."""

    signal_range: tuple[float, float]
    r2: float
    rms_um: float

    @property
    def usable_um(self) -> tuple[float, float]:
        """The z of both ends of `signal_range`, the lower first, um from focus."""
        first, last = (float(z) for z in self._curve(np.array(self.signal_range)))
        return min(first, last), max(first, last)

    def z_um(self, signal: ArrayLike) -> NDArray[np.float64]:
        """Return z, um from focus; NaN outside `signal_range`."""
        e = np.asarray(signal, dtype=np.float64)
        inside = (e >= self.signal_range[0]) & (e <= self.signal_range[1])
        return np.where(inside, self._curve(e), np.nan)

    @abstractmethod
    def _curve(self, signal: NDArray[np.float64]) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class LinearSignal(_SignalFit):
    """z = slope (signal - signal at focus)."""

    slope_um: float
    signal_at_focus: float
    kind: SignalKind = "linear"

    def _curve(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.slope_um * (signal - self.signal_at_focus)


@dataclass(frozen=True)
class Poly2Signal(_SignalFit):
    """z = c0 + c1 signal + c2 signal², on the side of its vertex where focus is."""

    coefficients: tuple[float, float, float]
    kind: SignalKind = "poly2"

    @property
    def slope_um(self) -> float:
        """Dz / d signal where z is 0 (at the signal nearest to it), um."""
        _, c1, c2 = self.coefficients
        e = np.linspace(*self.signal_range, 513)
        return float(c1 + 2 * c2 * e[np.argmin(np.abs(self._curve(e)))])

    def _curve(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        c0, c1, c2 = self.coefficients
        return c0 + signal * (c1 + signal * c2)


@dataclass(frozen=True)
class PiecewiseSignal(_SignalFit):
    """Two lines that meet at a knot near focus."""

    knot: float
    z_knot_um: float
    slopes_um: tuple[float, float]
    kind: SignalKind = "piecewise"

    @property
    def slope_um(self) -> float:
        """Mean of both slopes, um."""
        return sum(self.slopes_um) / 2

    def _curve(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        off = signal - self.knot
        below, above = self.slopes_um
        return self.z_knot_um + below * np.minimum(off, 0) + above * np.maximum(off, 0)


def fit_signal_model(
    kind: SignalKind,
    z_um: ArrayLike,
    signal: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    outlier_um: float = _OUTLIER_UM,
) -> SignalModel:
    """Fit z as a function of an error signal around focus.

    Only the arm through focus counts, where the signal is monotone in z: the rest of a folded curve would turn
    the slope. Outliers are what lies more than `outlier_um` off the line with the least median deviation
    among up to 500 pairs of up to 80 samples; the rest enters a weighted least-squares fit.

    Parameters
    ----------
    kind : {"linear", "poly2", "piecewise"}
        Form of the curve.
    z_um : array_like of shape (n,)
        Stage z less focus, um.
    signal : array_like of shape (n,)
        Such as `moments_error`.
    weight : array_like of shape (n,), optional
        At least 0.
    outlier_um : float
        For a parabola or two lines the deviation counts from a line, so it must leave room for the bend.

    Returns
    -------
    SignalModel

    Raises
    ------
    BadInputError
        Unknown kind, fewer than 4 samples on the arm through focus, or a signal that does not change.
    """
    z, e = np.asarray(z_um, np.float64).ravel(), np.asarray(signal, np.float64).ravel()
    w = np.ones(z.size) if weight is None else np.asarray(weight, np.float64).ravel()
    if not z.size == e.size == w.size:
        raise BadInputError(
            f"signal model: {z.size} z, {e.size} signals, {w.size} weights; expected as many of each"
        )
    good = np.isfinite(z) & np.isfinite(e) & np.isfinite(w) & (w >= 0)
    z, e, w = z[good], e[good], w[good]
    arm = _arm(z, e)
    z, e, w = z[arm], e[arm], w[arm]
    if z.size < 4 or np.ptp(e) <= 0 or np.ptp(z) <= 0 or w.sum() <= 0:
        raise BadInputError(f"signal model: {z.size} usable samples on the arm through focus, expected 4 or more")
    line = _median_line(z, e)
    keep = np.abs(z - line[0] - line[1] * e) <= outlier_um
    if keep.sum() >= 4 and np.ptp(e[keep]) > 0:
        z, e, w = z[keep], e[keep], w[keep]
    if kind == "linear":
        return _linear(z, e, w)
    if kind == "poly2":
        return _poly2(z, e, w)
    if kind == "piecewise":
        return _piecewise(z, e, w)
    raise BadInputError(f"signal model: {kind!r} is none of linear, poly2, piecewise")


def has_expected_slope(slope: float, expected: ExpectedSlope) -> bool:
    """Say whether the sign of a slope is what the user expects of the microscope."""
    if expected not in ("auto", "positive", "negative"):
        raise BadInputError(f"expected slope: {expected!r} is none of auto, positive, negative")
    return expected == "auto" or (slope > 0) == (expected == "positive")


def _arm(z: NDArray[np.float64], e: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which samples lie between the turns of the smoothed signal next to z = 0."""
    if z.size < 8:
        return np.ones(z.size, np.bool_)
    order = np.argsort(z, kind="stable")
    span = np.ptp(z)
    grid = np.linspace(z.min(), z.max(), 201)
    # a running parabola follows a turn, which a running mean would flatten
    width = max(0.12 * span, 2.5 * span / np.unique(z).size)
    smooth = np.empty_like(grid)
    for i, at in enumerate(grid):
        u = z[order] - at
        k = np.exp(-0.5 * (u / width) ** 2)
        design = np.stack([np.ones_like(u), u, u * u], axis=1) * k[:, None]
        smooth[i] = np.linalg.lstsq(design, e[order] * k, rcond=None)[0][0]
    rise = np.sign(np.diff(smooth))
    centre = int(np.clip(np.searchsorted(grid, 0.0), 1, grid.size - 1))
    at = centre - 1
    low = high = at
    while low > 0 and rise[low - 1] == rise[at]:
        low -= 1
    while high < rise.size - 1 and rise[high + 1] == rise[at]:
        high += 1
    return np.asarray((z >= grid[low] - 1e-9) & (z <= grid[high + 1] + 1e-9), dtype=np.bool_)


def _median_line(z: NDArray[np.float64], e: NDArray[np.float64]) -> tuple[float, float]:
    """Return intercept and slope of the line with the least median deviation, the same for the same data."""
    order = np.argsort(e, kind="stable")
    if order.size > _MAX_POINTS:
        order = order[np.linspace(0, order.size - 1, _MAX_POINTS).round().astype(np.intp)]
    zs, es = z[order], e[order]
    pairs = np.array(list(itertools.combinations(range(zs.size), 2)))
    pairs = pairs[es[pairs[:, 1]] - es[pairs[:, 0]] > 0.1 * np.ptp(es)]  # close ones have no slope to tell
    if len(pairs) > _MAX_PAIRS:
        pairs = pairs[np.linspace(0, len(pairs) - 1, _MAX_PAIRS).round().astype(np.intp)]
    first, second = pairs[:, 0], pairs[:, 1]
    slope = (zs[second] - zs[first]) / (es[second] - es[first])
    intercept = zs[first] - slope * es[first]
    deviation = np.median(np.abs(z - intercept[:, None] - slope[:, None] * e), axis=1)
    best = int(np.argmin(deviation))
    return float(intercept[best]), float(slope[best])


def _weighted(
    design: NDArray[np.float64], z: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    root = np.sqrt(w)
    found = np.linalg.lstsq(design * root[:, None], z * root, rcond=None)[0]
    left = float(np.sum(w * np.square(z - design @ found)))
    total = float(np.sum(w * np.square(z - np.average(z, weights=w))))
    return found, 1 - left / max(total, 1e-300), float(np.sqrt(left / w.sum()))


def _range_of(e: NDArray[np.float64]) -> tuple[float, float]:
    return float(e.min()), float(e.max())


def _linear(z: NDArray[np.float64], e: NDArray[np.float64], w: NDArray[np.float64]) -> LinearSignal:
    (offset, slope), r2, rms = _weighted(np.stack([np.ones_like(e), e], axis=1), z, w)
    if slope == 0:
        raise BadInputError("signal model: z does not depend on the signal")
    return LinearSignal(_range_of(e), r2, rms, slope_um=float(slope), signal_at_focus=float(-offset / slope))


def _poly2(z: NDArray[np.float64], e: NDArray[np.float64], w: NDArray[np.float64]) -> Poly2Signal:
    (c0, c1, c2), r2, rms = _weighted(np.stack([np.ones_like(e), e, e * e], axis=1), z, w)
    low, high = _range_of(e)
    at_focus = float(e[np.argmin(np.abs(z))])
    if c2 != 0:
        vertex = float(-c1 / (2 * c2))
        low, high = (max(low, vertex), high) if at_focus > vertex else (low, min(high, vertex))
    return Poly2Signal((low, high), r2, rms, coefficients=(float(c0), float(c1), float(c2)))


def _piecewise(z: NDArray[np.float64], e: NDArray[np.float64], w: NDArray[np.float64]) -> PiecewiseSignal:
    line = _linear(z, e, w)
    low, high = _range_of(e)
    margin = 0.15 * (high - low)
    knot = float(np.clip(line.signal_at_focus, low + margin, high - margin))
    off = e - knot
    design = np.stack([np.ones_like(e), np.minimum(off, 0), np.maximum(off, 0)], axis=1)
    (at, below, above), r2, rms = _weighted(design, z, w)
    if below * above <= 0:  # no function of z: fall back on one slope
        return PiecewiseSignal(
            (low, high), line.r2, line.rms_um, knot, float(line.z_um(knot)), (line.slope_um, line.slope_um)
        )
    return PiecewiseSignal((low, high), r2, rms, knot, float(at), (float(below), float(above)))
