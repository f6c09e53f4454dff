"""Where the focus is, how fast it drifts, and how much it walks: Kalman filters side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_WALKS_UM = np.geomspace(5e-5, 5e-2, 13)  # 0.05 to 50 nm a frame
_NOISE_FACTORS = np.array([0.7, 1.0, 1.4, 2.0, 2.8])
_RATE_PRIOR_UM = 0.003  # standard deviation of the drift rate before anything is known, um a frame
_LONGEST_GAP = 3000
# Beyond so many standard deviations an innovation says no more about the walk: a kick is not drift.
_CLIP = 4.0


class DriftFilter:
    """Follows the drift of a sample from measurements of defocus while a stage moves under it.

    A measurement is z = s + d + noise: s is where the stage was, which is known, and d the drift. The state is d
    and its rate v, per frame::

        d' = d + v + N(0, walk²)          v' = v + N(0, (rate_share walk)²)

    Because s is taken off before, commands under way do not disturb the filter, whatever the latency: it enters
    only where the drift is foretold, 1 + latency frames ahead (`foretell_um`).

    The walk is one number where it is given; else 13 are tried, 0.05 to 50 nm a frame. A fit's own standard error
    may be wrong, too (a real spot is not quite the fitted shape): it is tried as it is, and 0.7, 1.4, 2 and 2.8
    times. A filter runs for each pair, weighted by the likelihood of its recent innovations [1]_; the estimate
    is their weighted mean.

    Parameters
    ----------
    walk_um_per_frame : float or None
        The walk, or None to estimate it.
    noise_factor : float or None
        By how much the noise of measurements exceeds their standard errors, or None to estimate it.
    rate_share : float
        Change of the rate a frame, as a share of the walk.
    memory_frames : float
        How long an innovation counts for the weights.

    References
    ----------
    .. [1] D. T. Magill, "Optimal adaptive estimation of sampled stochastic processes", IEEE Trans. Autom.
       Control 10, 434 (1965).
    """

    def __init__(
        self,
        walk_um_per_frame: float | None = None,
        noise_factor: float | None = 1.0,
        rate_share: float = 0.01,
        memory_frames: float = 900.0,
    ) -> None:
        walks = _WALKS_UM if walk_um_per_frame is None else np.array([walk_um_per_frame])
        factors = _NOISE_FACTORS if noise_factor is None else np.array([noise_factor])
        self._walk_um = np.tile(walks, factors.size)
        self._factor = np.repeat(factors, walks.size)
        self._rate_share = rate_share
        self._keep = 1 - 1 / memory_frames
        n = self._walk_um.size
        self._state = np.zeros((n, 2))
        self._covariance = np.zeros((n, 3))  # of d; of d with v; of v
        self._log_weight = np.zeros(n)
        self._mixed = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
        self._is_started = False

    @property
    def is_started(self) -> bool:
        """Whether there is an estimate."""
        return self._is_started

    @property
    def drift_um(self) -> float:
        """The drift at the frame last advanced to, um: z with the stage at 0."""
        return float(self._mixed[0])

    @property
    def drift_sd_um(self) -> float:
        """Its standard deviation, um."""
        return math.sqrt(self._mixed[1])

    @property
    def rate_um_per_frame(self) -> float:
        """The drift rate, um a frame."""
        return float(self._mixed[2])

    @property
    def walk_um_per_frame(self) -> float:
        """The walk, um a frame (geometric weighted mean)."""
        return float(self._mixed[3])

    @property
    def noise_factor(self) -> float:
        """By how much noise exceeds the standard errors (geometric weighted mean)."""
        return float(self._mixed[4])

    def foretell_um(self, n_frames: float) -> float:
        """Return the drift expected so many frames ahead, um."""
        return self.drift_um + n_frames * self.rate_um_per_frame

    def start(self, drift_um: float, se_um: float) -> None:
        """Begin at a measured drift; walk and rate that were learnt before stay."""
        if not self._is_started:
            self._state[:, 1] = 0.0
            self._covariance[:, 2] = _RATE_PRIOR_UM**2
        self._state[:, 0] = drift_um
        self._covariance[:, 0] = np.square(self._factor * se_um)
        self._covariance[:, 1] = 0.0
        self._is_started = True
        self._mix()

    def advance(self, n_frames: int) -> None:
        """Go on by frames of which nothing was measured; more than one for dropped ones."""
        n = min(max(n_frames, 0), _LONGEST_GAP)
        _advance(self._state, self._covariance, self._walk_um, self._rate_share, n)
        self._mix()

    def update(self, drift_um: float, se_um: float) -> None:
        """Take in a measured drift (z less the stage) with its standard error, um."""
        _weigh(self._state, self._covariance, self._log_weight, self._factor, drift_um, se_um, self._keep)
        _correct(self._state, self._covariance, self._factor, drift_um, se_um)
        self._mix()

    def doubt(self, drift_um: float, se_um: float) -> None:
        """Let a refused measurement count for the walk, bounded, but not for the drift."""
        _weigh(self._state, self._covariance, self._log_weight, self._factor, drift_um, se_um, self._keep)
        self._mix()

    def _mix(self) -> None:
        _mix(self._state, self._covariance, self._log_weight, self._walk_um, self._factor, self._mixed)


@njit(cache=True)
def _advance(x: Any, p: Any, walk: Any, share: float, n: int) -> None:
    for i in range(x.shape[0]):
        q = walk[i] * walk[i]
        for _ in range(n):
            x[i, 0] += x[i, 1]
            p[i, 0] += 2 * p[i, 1] + p[i, 2] + q
            p[i, 1] += p[i, 2]
            p[i, 2] += share * share * q


@njit(cache=True)
def _weigh(x: Any, p: Any, log_weight: Any, factor: Any, y: float, se: float, keep: float) -> None:
    best = -np.inf
    for i in range(x.shape[0]):
        s = p[i, 0] + (factor[i] * se) ** 2
        chi2 = min((y - x[i, 0]) ** 2 / s, _CLIP**2)
        log_weight[i] = keep * log_weight[i] - 0.5 * (chi2 + np.log(s))
        best = max(best, log_weight[i])
    for i in range(x.shape[0]):
        log_weight[i] -= best


@njit(cache=True)
def _correct(x: Any, p: Any, factor: Any, y: float, se: float) -> None:
    for i in range(x.shape[0]):
        s = p[i, 0] + (factor[i] * se) ** 2
        k0, k1 = p[i, 0] / s, p[i, 1] / s
        innovation = y - x[i, 0]
        x[i, 0] += k0 * innovation
        x[i, 1] += k1 * innovation
        p[i, 2] -= k1 * p[i, 1]
        p[i, 1] *= 1 - k0
        p[i, 0] *= 1 - k0


@njit(cache=True)
def _mix(x: Any, p: Any, log_weight: Any, walk: Any, factor: Any, mixed: Any) -> None:
    total = mean = rate = log_walk = log_factor = 0.0
    for i in range(x.shape[0]):
        w = np.exp(log_weight[i])
        total += w
        mean += w * x[i, 0]
        rate += w * x[i, 1]
        log_walk += w * np.log(walk[i])
        log_factor += w * np.log(factor[i])
    mean /= total
    variance = 0.0
    for i in range(x.shape[0]):
        variance += np.exp(log_weight[i]) * (p[i, 0] + (x[i, 0] - mean) ** 2)
    mixed[0] = mean
    mixed[1] = variance / total
    mixed[2] = rate / total
    mixed[3] = np.exp(log_walk / total)
    mixed[4] = np.exp(log_factor / total)
