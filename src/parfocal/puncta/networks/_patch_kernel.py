"""Spots laid into pictures: Gaussian ones exactly over each pixel, others from their radial profile."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_NODES = np.array([-0.3872983346207417, 0.0, 0.3872983346207417])  # Gauss-Legendre over a pixel
_WEIGHTS = np.array([5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0])


@njit(cache=True, nogil=True)
def add_gaussians(image: Any, x: Any, y: Any, photons: Any, sigma_x: float, sigma_y: float) -> None:
    """Add spots of given widths (px) to a float64 picture `[y, x]`, in place."""
    height, width = image.shape
    reach_x, reach_y = int(5.0 * sigma_x) + 2, int(5.0 * sigma_y) + 2
    scale_x, scale_y = 1.0 / (math.sqrt(2.0) * sigma_x), 1.0 / (math.sqrt(2.0) * sigma_y)
    row = np.empty(2 * reach_x + 1)
    for k in range(x.size):
        if photons[k] <= 0.0:
            continue
        column, line = round(x[k]), round(y[k])
        first_x, last_x = max(0, column - reach_x), min(width - 1, column + reach_x)
        first_y, last_y = max(0, line - reach_y), min(height - 1, line + reach_y)
        for i in range(first_x, last_x + 1):
            row[i - first_x] = 0.5 * (math.erf((i + 0.5 - x[k]) * scale_x) - math.erf((i - 0.5 - x[k]) * scale_x))
        for j in range(first_y, last_y + 1):
            share = (
                0.5 * photons[k] * (math.erf((j + 0.5 - y[k]) * scale_y) - math.erf((j - 0.5 - y[k]) * scale_y))
            )
            for i in range(first_x, last_x + 1):
                image[j, i] += share * row[i - first_x]


@njit(cache=True, nogil=True)
def add_radial(image: Any, x: Any, y: Any, photons: Any, profile: Any, per_px: float, reach: int) -> None:
    """Add round spots whose density (1/px²) at radius r px is `profile[r * per_px]`, in place."""
    height, width = image.shape
    for k in range(x.size):
        if photons[k] <= 0.0:
            continue
        column, line = round(x[k]), round(y[k])
        for j in range(max(0, line - reach), min(height, line + reach + 1)):
            for i in range(max(0, column - reach), min(width, column + reach + 1)):
                total = 0.0
                for b in range(3):
                    dy = j + _NODES[b] - y[k]
                    for a in range(3):
                        dx = i + _NODES[a] - x[k]
                        at = math.sqrt(dx * dx + dy * dy) * per_px
                        cell = int(at)
                        if cell + 1 < profile.size:
                            part = at - cell
                            value = profile[cell] + part * (profile[cell + 1] - profile[cell])
                            total += _WEIGHTS[a] * _WEIGHTS[b] * value
                image[j, i] += photons[k] * total
