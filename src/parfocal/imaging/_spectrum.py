"""Focus operators that look at a frame's spectrum or at windows of it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_LOW, _HIGH = 0.025, 0.14  # of Nyquist
_PSF_SUPPORT_PX = 3
_WINDOW_PX = 20
SPECTRAL = ("dct_entropy", "high_frequency_ratio", "band_power", "power_slope")


def spectral_scores(
    pixels: NDArray[np.float32], mean: float, names: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the operators of `names` that are spectral, and the floor of white noise of 1 ADU for some.

    NaN where the frame is too small for an operator.
    `pixels` is the frame less its mean, `mean` what was taken away (the camera's offset is no part of it).
    """
    scores: dict[str, float] = {}
    floors: dict[str, float] = {}
    if "dct_entropy" in names:
        scores["dct_entropy"] = _dct_entropy(pixels, mean)
    if len(scores) == sum(name in SPECTRAL for name in names):
        return scores, floors
    height, width = pixels.shape
    power = np.square(np.abs(np.asarray(fft.rfft2(pixels)))) * _multiplicity(width)
    if "high_frequency_ratio" in names:
        # a column of the half spectrum stands for two: amplitudes, not powers, are added up
        amplitude = np.sqrt(power * _multiplicity(width))
        outside = _index_radius(height, width) > min(height, width) / 4
        beyond = float(amplitude[outside].sum(dtype=np.float64))
        total = float(amplitude.sum(dtype=np.float64)) + abs(mean) * height * width
        scores["high_frequency_ratio"] = beyond / total if total > 0 else 0.0
        if total > 0:  # the mean amplitude of noise is sqrt(pi)/2 of its root mean square, sqrt(height width)
            n_beyond = float((outside * _multiplicity(width)).sum())
            floors["high_frequency_ratio"] = n_beyond * math.sqrt(math.pi * height * width) / 2 / total
    if "band_power" in names:
        inside = _band(height, width)
        n = float((inside * _multiplicity(width)).sum())
        total = float(power[inside].sum(dtype=np.float64))
        scores["band_power"] = total / (n * height * width) if n else math.nan
    if "power_slope" in names:
        scores["power_slope"] = _power_slope(power, width)
    return scores, floors


def _dct_entropy(pixels: NDArray[np.float32], mean: float) -> float:
    height, width = pixels.shape
    reach_y, reach_x = height / _PSF_SUPPORT_PX, width / _PSF_SUPPORT_PX
    coefficients = np.abs(np.asarray(fft.dctn(pixels, norm="ortho"), np.float64))
    coefficients[0, 0] = abs(mean) * math.sqrt(height * width)
    length = float(np.sqrt(np.square(coefficients).sum()))
    if length == 0.0:
        return 0.0
    y, x = np.ogrid[: math.ceil(reach_y), : math.ceil(reach_x)]
    share = coefficients[: y.size, : x.size][(y / reach_y + x / reach_x) < 1] / length
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / (0.5 * reach_y * reach_x))


def _power_slope(power: NDArray[np.float32], width: int) -> float:
    height = power.shape[0]
    last = min(height, width) // 8
    ring = np.floor(_index_radius(height, width)).astype(np.int64) + 1
    sums = np.bincount(ring.ravel(), weights=power.ravel(), minlength=last + 1)[:last]
    radius = np.arange(last)
    known = (radius >= 2) & (sums > 0)
    if known.sum() < 2:
        return math.nan
    slope, _ = np.polyfit(np.log(radius[known]), np.log(sums[known]), 1)
    return float(slope)


@lru_cache(maxsize=8)
def _multiplicity(width: int) -> NDArray[np.float32]:
    """Return how many columns of the whole spectrum each column of the half stands for."""
    weights = np.full(width // 2 + 1, 2, np.float32)
    weights[0] = 1
    if width % 2 == 0:
        weights[-1] = 1
    return weights


@lru_cache(maxsize=4)
def _index_radius(height: int, width: int) -> NDArray[np.float32]:
    y = np.minimum(np.arange(height), height - np.arange(height))
    return np.hypot(y[:, None], np.arange(width // 2 + 1)[None, :]).astype(np.float32)


@lru_cache(maxsize=4)
def _band(height: int, width: int) -> NDArray[np.bool_]:
    of_nyquist = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :]) / 0.5
    return (of_nyquist >= _LOW) & (of_nyquist <= _HIGH)


def local_focus(pixels: NDArray[np.float32], mean: float, inside: NDArray[np.bool_] | None) -> float:
    """Return the variance over the median of var/mean in windows of about 20 px; NaN of fewer than two windows.

    A window counts where at least half of it is inside the mask and its mean is above 0.
    """
    edges = [
        np.linspace(0, n, max(1, round(n / _WINDOW_PX)) + 1).round().astype(np.int64)[:-1] for n in pixels.shape
    ]

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(values, edges[0], axis=0), edges[1], axis=1)

    values = pixels.astype(np.float64)
    weight = np.ones(pixels.shape) if inside is None else inside.astype(np.float64)
    area = summed(np.ones(pixels.shape))
    n = summed(weight)
    total, squares = summed(values * weight), summed(np.square(values) * weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        window_mean = total / n
        spread = np.maximum(squares / n - np.square(window_mean), 0.0)
        ratio = spread / (window_mean + mean)
    ratio = ratio[(n >= 0.5 * area) & (window_mean + mean > 0)]
    if ratio.size < 2:
        return math.nan
    middle = float(np.median(ratio))
    return float(ratio.var() / middle) if middle > 0 else 0.0
