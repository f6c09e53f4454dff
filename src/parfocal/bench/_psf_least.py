"""The least error that any estimate of z can have in its worst depth, where its bias must be small everywhere.

An estimate must do for every depth and, as it does not know them, for every brightness, background and place. Let
depths have weights w >= 0 that sum to 1, and multipliers l of any sign. Whatever the estimate g,

    max_k MSE_k / C_k  >=  sum_k w_k E_k[(g - z_k)^2] / C_k + sum_k l_k E_k[g - z_k] / sqrt(C_k) - b sum_k |l_k|

if |bias_k| <= b sqrt(C_k), where C is the squared bound (Lagrange's weak duality). Pictures being of finitely many
kinds, the g that makes the right side least is known exactly, so the right side is a number that no estimate comes
below. Weights are chosen to make it large on some pictures, and it is then read on others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
_BATCH = 500


@dataclass(frozen=True)
class LeastError:
    """What no estimate comes below.

    Attributes
    ----------
    over_bound : float
        Mean squared error over the squared bound, in the worst depth.
    over_bound_se : float
        Its standard error: it is an average over pictures.
    """

    over_bound: float
    over_bound_se: float


def least_worst_error(
    expected: Floats, z_um: Floats, bound_um: Floats, *, bias_in_bounds: float, n_per_depth: int, seed: int = 0
) -> LeastError:
    """Return what no estimate's mean squared error comes below in its worst depth.

    Parameters
    ----------
    expected : ndarray of shape (n_depths, n_kinds, n_pixels)
        Mean of each Poisson pixel, for each depth and each kind of brightness, background and place; all kinds are
        as likely.
    z_um : ndarray of shape (n_depths,)
    bound_um : ndarray of shape (n_depths, n_kinds)
        Standard deviation of the bound.
    bias_in_bounds : float
        The largest bias allowed at any depth (on average over kinds), in standard deviations of the bound.
    n_per_depth : int
        Pictures drawn at each depth to choose the weights, and as many again to read the result.
    seed : int

    Returns
    -------
    LeastError
    """
    rng = np.random.default_rng(seed)
    tries, judges = (_moments(expected, bound_um, n_per_depth, rng) for _ in range(2))
    n = z_um.size

    def of(values: Floats, moments: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Return the right side picture by picture, without its last term, and its mean's gradient."""
        weights = np.exp(values[:n] - values[:n].max())
        weights /= weights.sum()
        squared, plain = moments
        multipliers = values[n : 2 * n] - values[2 * n :]
        weighed, pulled = squared * weights, plain * multipliers
        away = (((weighed @ z_um) - pulled.sum(axis=1) / 2) / weighed.sum(axis=1))[:, None] - z_um
        each = (weighed * away**2).sum(axis=1) + (pulled * away).sum(axis=1)
        by_weight = (squared * away**2).mean(axis=0)
        by_multiplier = (plain * away).mean(axis=0)
        by_value = weights * (by_weight - weights @ by_weight)
        return each, np.concatenate([by_value, by_multiplier - bias_in_bounds, -by_multiplier - bias_in_bounds])

    def lowered(values: Floats) -> tuple[float, Floats]:
        each, gradient = of(values, tries)
        return bias_in_bounds * float(values[n:].sum()) - float(each.mean()), -gradient

    bounds = [(-12.0, 12.0)] * n + [(0.0, None)] * (2 * n)
    told: Callable[..., object] = lowered
    best = np.asarray(
        minimize(told, np.zeros(3 * n), jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 500}).x
    )
    each, _ = of(best, judges)
    allowed = bias_in_bounds * float(np.abs(best[n : 2 * n] - best[2 * n :]).sum())
    return LeastError(float(each.mean()) - allowed, float(each.std()) / each.size**0.5)


def _moments(
    expected: Floats, bound_um: Floats, n_per_depth: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw pictures at all depths; return how likely each depth is, over C and over sqrt(C), kinds averaged.

    Likelihoods are relative to their mean over all depths and kinds, as the pictures were drawn from all alike: a
    mean over all pictures is then the sum over depths of each depth's own.
    """
    n_depths, n_kinds, n_pixels = expected.shape
    depth = np.repeat(np.arange(n_depths), n_per_depth)
    counts = rng.poisson(expected[depth, rng.integers(0, n_kinds, depth.size)]).astype(np.float64)
    means = expected.reshape(-1, n_pixels)
    logs, sums = np.log(means).T, means.sum(axis=1)
    parts: list[tuple[Floats, Floats]] = []
    for first in range(0, depth.size, _BATCH):
        likely = counts[first : first + _BATCH] @ logs
        likely -= sums
        likely -= likely.max(axis=1, keepdims=True)
        np.exp(likely, out=likely)
        likely /= likely.mean(axis=1, keepdims=True)
        of_depth = likely.reshape(-1, n_depths, n_kinds)
        parts.append(
            (
                np.einsum("ikt,kt->ik", of_depth, 1 / bound_um**2) / n_kinds,
                np.einsum("ikt,kt->ik", of_depth, 1 / bound_um) / n_kinds,
            )
        )
    squared, plain = (np.concatenate(list(column)) for column in zip(*parts))
    return squared, plain
