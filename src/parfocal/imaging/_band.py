"""Frames without their finest and their coarsest structure: what a correlation should look at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import as_float32

_BACKGROUND_PER_SIGMA = 10.0


def band_limited(
    frame: ArrayLike, sigma_px: float = 2.0, background_sigma_px: float | None = None
) -> NDArray[np.float32]:
    """Return the frame smoothed against pixel noise, less its background.

    `G(sigma_px) * I - G(background_sigma_px) * I`: pixel noise and the camera's offset, shading and haze are gone,
    what is left is the structure that two frames of one sample share. Borders are mirrored, never padded with 0.

    Parameters
    ----------
    frame : array_like of shape (..., height, width)
        One frame or a stack; only the last two axes are filtered.
    sigma_px : float
        Standard deviation of the smoothing Gaussian, px; 0 leaves noise as it is.
    background_sigma_px : float, optional
        Standard deviation of what counts as background, px (three running means, within a few percent of a
        Gaussian); 10 times `sigma_px`, at least 10 px, where not given. `math.inf`: the frame's mean only.

    Returns
    -------
    ndarray of float32
        Of the frame's shape. A pixel that is NaN or infinite stays NaN and leaves no mark on its neighbours.

    Raises
    ------
    BadInputError
        Less than two axes, complex pixels, or a width that is negative or not above `sigma_px`.
    """
    pixels = np.asarray(frame)
    if pixels.ndim < 2 or pixels.dtype.kind not in "buif":
        raise BadInputError(
            f"band limited: frame is {pixels.dtype} of shape {pixels.shape}, expected real numbers [..., y, x]"
        )
    if background_sigma_px is None:
        background_sigma_px = max(10.0, _BACKGROUND_PER_SIGMA * sigma_px)
    if not 0 <= sigma_px < background_sigma_px:
        raise BadInputError(
            f"band limited: sigma_px is {sigma_px:g} and background_sigma_px {background_sigma_px:g}, "
            "expected 0 <= sigma_px < background_sigma_px"
        )
    filtered = np.empty(pixels.shape, np.float32)
    for index in np.ndindex(pixels.shape[:-2]):
        filtered[index] = _one(as_float32(pixels[index]), sigma_px, background_sigma_px)
    return filtered


def _one(pixels: NDArray[np.float32], sigma_px: float, background_sigma_px: float) -> NDArray[np.float32]:
    finite = np.isfinite(pixels)
    if finite.all():
        return _smooth(pixels, sigma_px) - _background(pixels, background_sigma_px)
    if not finite.any():
        return np.full(pixels.shape, np.nan, np.float32)
    weight = finite.astype(np.float32)
    known = np.where(finite, pixels, np.float32(0))
    # each filter over the pixels that are known only
    with np.errstate(invalid="ignore", divide="ignore"):
        result = _smooth(known, sigma_px) / _smooth(weight, sigma_px) - _background(
            known, background_sigma_px
        ) / _background(weight, background_sigma_px)
    result[~finite] = np.nan
    return result.astype(np.float32)


def _smooth(pixels: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    if sigma_px == 0:
        return pixels
    return np.asarray(ndimage.gaussian_filter(pixels, sigma_px, mode="reflect"), np.float32)


def _background(pixels: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Return the frame under a wide Gaussian, as three running means: their cost does not grow with its width."""
    if math.isinf(sigma_px):
        return np.full(pixels.shape, pixels.mean(dtype=np.float64), np.float32)
    # variance of three running means over k pixels is 3 (k^2 - 1) / 12
    side = round(math.sqrt(4 * sigma_px**2 + 1))
    side += 1 - side % 2
    smoothed = pixels.astype(np.float64)
    for _ in range(3):
        for axis in (0, 1):
            ndimage.uniform_filter1d(smoothed, min(side, 2 * pixels.shape[axis] - 1), axis, smoothed, "reflect")
    return smoothed.astype(np.float32)
