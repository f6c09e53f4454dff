"""What a step between two sections may be, and how probable each is."""

from __future__ import annotations

from typing import Literal

import numpy as np

from parfocal.slices.sections._positions import FloatArray, drift_scale_mm

StepClass = Literal["drift", "tile-step", "glitch", "rehome", "unknown"]
CLASSES: tuple[StepClass, ...] = ("drift", "tile-step", "glitch", "rehome")

_PRIORS = np.log([0.90, 0.04, 0.03, 0.03])
_HEAVY = 4.0  # degrees of freedom of the drift's tails: cutting is no Gaussian
_MOST_TILES = 3
_SURE = 0.7


def step_likelihoods(step_mm: FloatArray, tile_mm: FloatArray | None, max_shift_mm: float) -> FloatArray:
    """Return the probability that each step of a chain is drift, a tile step, (half of) a glitch, or a rehoming.

    Drift is a Student t of 4 degrees of freedom about the median of the small steps, with their scatter; a tile
    step is drift about a whole multiple; glitch and rehoming may be of any length up to twice the longest, and
    differ in whether a step beside it takes it back. At either end of a chain that cannot be seen. The priors are
    90, 4, 3 and 3 %.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Rows sum to 1.
    """
    n = step_mm.shape[0]
    middle, scatter = drift_scale_mm(step_mm, max_shift_mm)
    reach = 2 * max(float(np.abs(step_mm).max(initial=0.0)), max_shift_mm)
    anywhere = -2 * np.log(2 * reach)
    logs = np.full((n, len(CLASSES)), -np.inf)
    logs[:, 0] = _log_t(step_mm - middle, scatter)
    if tile_mm is not None:
        multiples = [
            _log_t(step_mm - middle - np.array([i, j]) * tile_mm, scatter)
            for i in _multiples(tile_mm[0])
            for j in _multiples(tile_mm[1])
            if i or j
        ]
        logs[:, 1] = np.logaddexp.reduce(multiples, axis=0) - np.log(len(multiples))
    ordinary = np.logaddexp(np.log(0.94) + logs[:, 0], np.log(0.06) + anywhere)  # a step beside, whatever this is
    beside = np.zeros((n, 2))  # how probable the steps before and after are; 1 where there is none to see
    beside[1:, 0], beside[:-1, 1] = ordinary[:-1], ordinary[1:]
    returned = np.zeros((n, 2))  # the same, given that this step is taken back there
    back = _log_t(step_mm[1:] + step_mm[:-1] - 2 * middle, np.sqrt(2) * scatter)
    returned[1:, 0], returned[:-1, 1] = back, back
    logs[:, :2] += beside.sum(axis=1, keepdims=True)
    logs[:, 2] = anywhere + np.logaddexp.reduce(returned + beside[:, ::-1], axis=1) - np.log(2)
    logs[:, 3] = anywhere + beside.sum(axis=1)
    logs += _PRIORS
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])


def unexplained(likelihood: FloatArray, long: bool) -> StepClass:
    """Return the class of a step that was not corrected; "unknown" where a long one is not surely a rehoming."""
    if not long:
        return "drift"
    return "rehome" if likelihood[CLASSES.index("rehome")] >= _SURE else "unknown"


def _multiples(tile_mm: float) -> range:
    return range(-_MOST_TILES, _MOST_TILES + 1) if tile_mm > 0 else range(1)


def _log_t(step_mm: FloatArray, scatter_mm: float) -> FloatArray:
    squared = (step_mm**2).sum(axis=1) / scatter_mm**2
    return -np.log(2 * np.pi * scatter_mm**2) - (_HEAVY + 2) / 2 * np.log1p(squared / _HEAVY)
