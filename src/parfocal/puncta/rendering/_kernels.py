"""The loops over localizations. `image` is `[plane, y, x]`; `weights` is `[n, plane]`."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false
from __future__ import annotations

import math
from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def add_counts(image: Any, y: Any, x: Any, weights: Any) -> None:
    """Add each localization to the one pixel that it lies in."""
    n_planes, height, width = image.shape
    for k in range(y.size):
        row, column = math.floor(y[k] + 0.5), math.floor(x[k] + 0.5)
        if 0 <= row < height and 0 <= column < width:
            for p in range(n_planes):
                image[p, row, column] += weights[k, p]


@njit(cache=True, nogil=True)
def add_shifted(image: Any, y: Any, x: Any, weights: Any, n_shifts: int) -> None:
    """Add each localization as the mean of histograms that are shifted against each other: a pyramid."""
    n_planes, height, width = image.shape
    norm = float(n_shifts) ** 4
    for k in range(y.size):
        row, column = math.floor(y[k] + 0.5), math.floor(x[k] + 0.5)
        for i in range(max(0, row - n_shifts + 1), min(height, row + n_shifts)):
            along_y = n_shifts - abs(i - row)
            for j in range(max(0, column - n_shifts + 1), min(width, column + n_shifts)):
                share = along_y * (n_shifts - abs(j - column)) / norm
                for p in range(n_planes):
                    image[p, i, j] += share * weights[k, p]


@njit(cache=True, nogil=True)
def add_gaussians(
    image: Any, y: Any, x: Any, sigma_y: Any, sigma_x: Any, weights: Any, reach: float, along_x: Any
) -> None:
    """Add each localization as a Gaussian that is integrated over pixels; `along_x` is room for one row."""
    n_planes, height, width = image.shape
    for k in range(y.size):
        top = max(0, math.floor(y[k] - reach * sigma_y[k]))
        bottom = min(height - 1, math.ceil(y[k] + reach * sigma_y[k]))
        left = max(0, math.floor(x[k] - reach * sigma_x[k]))
        right = min(width - 1, math.ceil(x[k] + reach * sigma_x[k]))
        scale_y, scale_x = 1.0 / (math.sqrt(2.0) * sigma_y[k]), 1.0 / (math.sqrt(2.0) * sigma_x[k])
        before = math.erf((left - 0.5 - x[k]) * scale_x)
        for j in range(left, right + 1):
            after = math.erf((j + 0.5 - x[k]) * scale_x)
            along_x[j] = 0.5 * (after - before)
            before = after
        before = math.erf((top - 0.5 - y[k]) * scale_y)
        for i in range(top, bottom + 1):
            after = math.erf((i + 0.5 - y[k]) * scale_y)
            along_y = 0.5 * (after - before)
            before = after
            for p in range(n_planes):
                row_weight = along_y * weights[k, p]
                for j in range(left, right + 1):
                    image[p, i, j] += row_weight * along_x[j]
