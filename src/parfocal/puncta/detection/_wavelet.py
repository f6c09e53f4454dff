"""The B-spline wavelet filter, and the noise that it lets through."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import for_each_band

Image = NDArray[np.float32]

_BAND_ROWS = 64


class WaveletPlanes(NamedTuple):
    """A picture taken apart by the wavelet filter; float32, of the picture's shape.

    Attributes
    ----------
    f1 : ndarray
        I - V1: pixel noise for the most part. ThunderSTORM's `Wave.F1`.
    f2 : ndarray
        V1 - V2: spots. ThunderSTORM's filtered image, `Wave.F2` here.
    smooth : ndarray
        V2: the local background.
    """

    f1: Image
    f2: Image
    smooth: Image


def wavelet_filter(image: ArrayLike, n_threads: int | None = 1) -> WaveletPlanes:
    """Take a picture apart by the cubic B-spline wavelet, scale 2.

    V1 = I * k1 along both axes with k1 = [1, 4, 6, 4, 1] / 16, and V2 = V1 * k2, where k2 has a zero between the
    taps of k1. The picture's edges repeat, and V2 is made of V1 beyond the edges [1]_.

    Parameters
    ----------
    image : array_like of shape (height, width)
        Real numbers in any unit.
    n_threads : int, optional
        Threads to use; None: all usable cores.

    Returns
    -------
    WaveletPlanes

    Raises
    ------
    BadInputError
        It is not a picture of real numbers.

    References
    ----------
    .. [1] I. Izeddin et al., "Wavelet analysis for single molecule localization microscopy", Opt. Express 20,
       2081 (2012).
    """
    from parfocal.puncta.detection import _wavelet_kernel as kernel  # numba is slow to import

    given = np.asarray(image)
    if given.ndim != 2 or 0 in given.shape or given.dtype.kind not in "buif":
        raise BadInputError(
            f"wavelet filter: image is {given.dtype} of shape {given.shape}, expected real numbers [y, x]"
        )
    pixels = np.ascontiguousarray(given, dtype=np.float32)
    f1, f2, smooth = np.empty_like(pixels), np.empty_like(pixels), np.empty_like(pixels)
    height = pixels.shape[0]

    def filter_band(band: int) -> None:
        first = band * _BAND_ROWS
        kernel.wavelet_rows(pixels, first, min(height, first + _BAND_ROWS), f1, f2, smooth)

    if n_threads == 1:
        kernel.wavelet_rows(pixels, 0, height, f1, f2, smooth)
    else:
        for_each_band(filter_band, -(-height // _BAND_ROWS), n_threads)
    return WaveletPlanes(f1, f2, smooth)


@cache
def spot_plane_moments() -> tuple[float, float, float]:
    """Return sum h², sum h³ of the kernel behind F2, and the curvature of its noise, (dF/dx)² over F²."""
    one = np.array([1, 4, 6, 4, 1]) / 16
    two = np.zeros(9)
    two[::2] = one
    once, twice = np.pad(one, 4), np.convolve(one, two)
    h = np.outer(once, once) - np.outer(twice, twice)
    square = float(np.sum(h**2))
    neighbour = float(np.sum(h[:, 1:] * h[:, :-1]))
    return square, float(np.sum(h**3)), 2 * (1 - neighbour / square)


@cache
def noise_height(peaks_per_px: float) -> float:
    """Return the height, in standard deviations of F2's noise, that so many of its local maxima exceed.

    From the rate of maxima of a smooth Gaussian field above a high level u, l u exp(-u²/2) / (2 pi)^(3/2) with the
    curvature l of the noise.
    """
    curvature = spot_plane_moments()[2]
    low, high = 1.0, 12.0
    for _ in range(60):
        u = 0.5 * (low + high)
        if curvature * u * math.exp(-0.5 * u * u) / (2 * math.pi) ** 1.5 > peaks_per_px:
            low = u
        else:
            high = u
    return high
