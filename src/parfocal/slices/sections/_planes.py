"""Planes of neighbouring sections made comparable: slabs, clipped values, matrices of (y, x, 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.imaging import correlation_through, phase_shift, warp

_COARSE_SIDE_PX = 512
_CLIP_PERCENT = (5.0, 95.0)
_FLOATS = NDArray[np.float64]


@dataclass(frozen=True)
class PlaneMatch:
    """The two planes at a cut that look most alike.

    Attributes
    ----------
    fixed_z, moving_z : int
        Their index, from 0, in the section before the cut and in the one after it.
    ncc : float
        Their correlation over the central half, values clipped to 5-95 %; NaN where none can be told.
    """

    fixed_z: int
    moving_z: int
    ncc: float


def translation(dy_px: float, dx_px: float) -> _FLOATS:
    """Return the matrix that adds (dy, dx)."""
    matrix = np.eye(3)
    matrix[:2, 2] = dy_px, dx_px
    return matrix


def clipped(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return a plane with its values clipped to 5-95 % and scaled to 0-1; all 0 where it is flat."""
    low, high = np.percentile(plane[:: _stride(plane), :: _stride(plane)], _CLIP_PERCENT)
    values = plane.astype(np.float32)
    if not high > low:
        low, high = float(plane.min()), float(plane.max())
    if not high > low:
        return np.zeros_like(values)
    return (np.clip(values, low, high) - np.float32(low)) * np.float32(1.0 / (high - low))


def slab(volume: NDArray[Any], centre: int, n_planes: int) -> NDArray[np.float32]:
    """Return the mean of up to `n_planes` planes around one, `[y, x]`."""
    first = max(0, min(centre - n_planes // 2, volume.shape[0] - n_planes))
    return volume[first : first + max(1, n_planes)].mean(axis=0, dtype=np.float32)


def coarse_matrix(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], nominal: _FLOATS, max_shift_px: float | None = None
) -> tuple[_FLOATS, float]:
    """Return `nominal` corrected by the shift that phase correlation finds, and the correlation after it.

    `nominal` leads from the fixed plane to the moving one, as the stage says. Large planes are binned for the
    search. Where nothing is found (a flat plane, no overlap), `nominal` itself, and NaN.
    """
    seen = warp(moving, nominal, (fixed.shape[0], fixed.shape[1]), fill=float(np.mean(moving)))
    factor = max(1, math.ceil(max(fixed.shape) / _COARSE_SIDE_PX))
    a, b = _binned(fixed, factor), _binned(seen, factor)
    if min(a.shape) < 8:
        return nominal, math.nan
    found = phase_shift(a, b, None if max_shift_px is None else max_shift_px / factor)
    if not math.isfinite(found.ncc):
        return nominal, math.nan
    return nominal @ translation(-found.dy_px * factor, -found.dx_px * factor), found.ncc


def best_planes(
    fixed: NDArray[Any], moving: NDArray[Any], matrix: _FLOATS, window: int = 5, central: float = 0.5
) -> PlaneMatch:
    """Search the last `window` planes of one section and the first of the next for the pair most alike.

    Parameters
    ----------
    fixed, moving : ndarray, shape (z, y, x)
        The section before the cut and the one after it.
    matrix : ndarray, shape (3, 3)
        From (y, x, 1) of the fixed section to the moving one.
    window : int
        Planes on each side.
    central : float
        Share of each side of the image that counts, around its middle.
    """
    first = max(0, fixed.shape[0] - window)
    ends = [clipped(plane) for plane in fixed[first:]]
    starts = [clipped(plane) for plane in moving[:window]]
    best = PlaneMatch(fixed.shape[0] - 1, 0, math.nan)
    for i, end in enumerate(ends):
        for j, start in enumerate(starts):
            r, overlap = correlation_through(end, start, matrix, central)
            if overlap >= 0.1 and r > (best.ncc if math.isfinite(best.ncc) else -2.0):
                best = PlaneMatch(first + i, j, r)
    return best


def turn_deg(matrix: _FLOATS) -> float:
    """Return the rotation in an affine matrix, degrees, by its polar decomposition."""
    u, _, v = np.linalg.svd(matrix[:2, :2])
    rotation = u @ v
    return math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))


def moved_at_centre(matrix: _FLOATS, shape: tuple[int, int]) -> tuple[float, float]:
    """Return how far a matrix moves the middle of an image, (dy, dx)."""
    centre = np.array([0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1), 1.0])
    dy, dx = (matrix @ centre - centre)[:2]
    return float(dy), float(dx)


def _stride(plane: NDArray[Any]) -> int:
    return max(1, min(plane.shape) // 256)


def _binned(plane: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return plane
    height, width = (n // factor for n in plane.shape)
    cut = plane[: height * factor, : width * factor]
    return cut.reshape(height, factor, width, factor).mean(axis=(1, 3), dtype=np.float32)
