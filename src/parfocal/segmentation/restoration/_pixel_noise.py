"""How noisy a pixel of an image is at each grey level, from the camera's model or from the image itself."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from parfocal.optics import CameraModel

_MAD_TO_SD = 1 / 0.6744897501960817
_LEVELS = 24
_LEAST_BLOCKS = 100


@dataclass(frozen=True)
class PixelNoise:
    """Variance of a pixel's noise as a line of its grey level: shot noise is the slope, read noise the rest.

    Parameters
    ----------
    slope_adu : float
        Variance a grey level; of a camera, its gain in ADU a photoelectron.
    intercept_adu2 : float
        Variance at grey level 0 (below 0 where the camera has an offset that its read noise does not fill).
    floor_adu2 : float
        The least variance at any level that the image has: what keeps roots real.
    source : str
        `camera` or `image`.
    """

    slope_adu: float
    intercept_adu2: float
    floor_adu2: float
    source: str

    def variance_adu2(self, level_adu: float | NDArray[np.floating[Any]]) -> Any:
        """Return the variance at a grey level, or at an array of them."""
        return np.maximum(self.slope_adu * np.asarray(level_adu) + self.intercept_adu2, self.floor_adu2)

    def sd_adu(self, level_adu: float) -> float:
        """Return the standard deviation at a grey level."""
        return math.sqrt(float(self.variance_adu2(level_adu)))


def camera_noise(model: CameraModel) -> PixelNoise:
    """Return what a camera's model says; maps enter by their means, as one line stands for all pixels."""
    gain = float(np.mean(model.gain_adu_per_e))
    read = gain**2 * float(np.mean(np.square(model.read_noise_e)))
    return PixelNoise(gain, read - gain * float(np.mean(model.offset_adu)), read, "camera")


def image_noise(planes: NDArray[np.float32]) -> PixelNoise:
    """Estimate the line from the pixels of planes `[n, y, x]`.

    The diagonal Haar detail (a - b - c + d) / 2 of a 2x2 block has the pixel's own variance and is uncorrelated
    with the block's mean. Blocks are sorted by mean into bins of equal width, each bin's variance is
    (MAD / 0.6745)², and a line with neither slope nor variance below 0 goes through them, each weighed by how well
    it is known. Edges and texture count as noise where they reach the finest scale.

    Gain and offset scale and shift the line exactly.
    """
    even = planes[:, : planes.shape[1] // 2 * 2, : planes.shape[2] // 2 * 2]
    a, b, c, d = even[:, ::2, ::2], even[:, ::2, 1::2], even[:, 1::2, ::2], even[:, 1::2, 1::2]
    detail = ((a - b - c + d) / 2).ravel()
    level = ((a + b + c + d) / 4).ravel()
    low, high = (float(v) for v in np.percentile(level, (0.5, 99.9)))
    if not high > low:
        sd = _robust_sd(detail, _grey_step(planes))
        return PixelNoise(0.0, sd**2, sd**2, "image")
    step = _grey_step(planes)
    which = np.clip((level - low) * (_LEVELS / (high - low)), 0, _LEVELS - 1e-3).astype(np.int64)
    order = np.argsort(which, kind="stable")
    edges = np.searchsorted(which[order], np.arange(_LEVELS + 1))
    points: list[tuple[float, float, int]] = []
    for first, last in itertools.pairwise(edges):
        if last - first >= _LEAST_BLOCKS:
            inside = order[first:last]
            points.append((float(level[inside].mean()), _robust_sd(detail[inside], step) ** 2, int(last - first)))
    if not points:
        sd = _robust_sd(detail, step)
        return PixelNoise(0.0, sd**2, sd**2, "image")
    levels, variances, counts = (np.array(column, float) for column in zip(*points))
    slope, at_lowest = _line(levels - levels[0], variances, counts)
    return PixelNoise(slope, at_lowest - slope * float(levels[0]), at_lowest, "image")


def _line(x: NDArray[np.float64], y: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and value at 0 of the line through variances, whose own errors grow with them."""
    scale = float(y.max())
    if scale == 0.0:
        return 0.0, 0.0
    reach = max(float(x.max()), 1e-30)
    fitted = np.full(y.shape, np.median(y))
    slope, start = 0.0, float(np.median(y))
    for _ in range(4):
        weight = np.sqrt(counts) / np.maximum(fitted, 1e-6 * scale)
        columns = np.stack([x / reach, np.ones_like(x)], axis=1)
        (rise, at_zero), _ = optimize.nnls(columns * weight[:, None], y * weight)
        slope, start = float(rise) / reach, float(at_zero)
        fitted = slope * x + start
    return slope, start


def _grey_step(planes: NDArray[np.float32]) -> float:
    """Return the distance of grey levels where there are few of them, else 0."""
    sample = np.unique(planes.ravel()[:: max(1, planes.size // 20000)])
    if sample.size < 2 or sample.size > 4096:
        return 0.0
    return float(np.diff(sample).min())


def _robust_sd(detail: NDArray[np.float32], grey_step: float) -> float:
    """Return MAD / 0.6745; between grey levels the median is interpolated, or it could only jump."""
    if grey_step:
        rng = np.random.default_rng(0)
        detail = detail + rng.uniform(-0.25 * grey_step, 0.25 * grey_step, detail.size).astype(np.float32)
    sd = float(np.median(np.abs(detail))) * _MAD_TO_SD
    return math.sqrt(max(0.0, sd**2 - (0.5 * grey_step) ** 2 / 12))
