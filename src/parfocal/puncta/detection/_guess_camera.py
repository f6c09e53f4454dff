"""A camera model for files that say nothing of their camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta.detection._wavelet import wavelet_filter

_USUAL_OFFSET_ADU = 100.0
_LEAST_VARIANCE_ADU2 = 1 / 12  # of whole numbers


_GAUSSIAN_TAIL = 3.2
"""How many standard deviations (by the median) the outermost hundredth begins at, at most: 2.6 of pure noise."""


def guess_camera(frame: NDArray[Any], following: NDArray[Any] | None = None) -> CameraModel:
    """Return a camera whose shot noise is what one frame's finest plane shows, so that a threshold fits.

    Where noise is correlated between pixels, as a camera's own filter or compression leave it, the finest plane
    shows too little of it. The difference to the frame after it shows noise alone in the plane that spots are
    sought in, where nothing in it moved: it counts if it is more, and as Gaussian as noise is.

    The offset is taken as 100 ADU where nearly no pixel lies below, else as the darkest; the gain is the noise
    variance over the median above the offset. Photons that are counted with it are of the right order, no more:
    measure the camera, or say its numbers.

    Parameters
    ----------
    frame : ndarray of shape (height, width)
        Raw ADU.
    following : ndarray of shape (height, width), optional
        The one after it.

    Raises
    ------
    BadInputError
        No pixel of the frame is a number, or all are the same.
    """
    pixels = np.asarray(frame, np.float32)
    if not np.isfinite(pixels).all() or pixels.min() == pixels.max():
        raise BadInputError("the camera cannot be guessed from this frame, whose pixels are no numbers or all one")
    f1 = wavelet_filter(pixels).f1
    in_f1, in_f2 = _passed()
    least = _LEAST_VARIANCE_ADU2 if frame.dtype.kind in "ui" else 1e-30
    variance = max(_sd(f1) ** 2 / in_f1, least)
    if following is not None and following.shape == frame.shape and np.isfinite(following).all():
        f2 = wavelet_filter(np.asarray(following, np.float32) - pixels).f2
        low, high = np.percentile(f2, (0.5, 99.5))
        if 0 < max(-low, high) < _GAUSSIAN_TAIL * _sd(f2):
            variance = max(variance, _sd(f2) ** 2 / (2 * in_f2))
    lowest, middle = (float(v) for v in np.percentile(pixels, (0.1, 50)))
    is_usual = frame.dtype.kind in "ui" and frame.dtype.itemsize > 1 and lowest > 0.85 * _USUAL_OFFSET_ADU
    offset = _USUAL_OFFSET_ADU if is_usual and middle > _USUAL_OFFSET_ADU else min(lowest, 0.0)
    light = max(middle - offset, 1e-3 * max(float(pixels.max()) - offset, 1e-30))
    info = np.iinfo(frame.dtype) if frame.dtype.kind in "ui" else np.finfo(np.float32)
    gain = variance / light
    return CameraModel(offset, gain, 0.0, float(info.max))


def _sd(plane: NDArray[np.float32]) -> float:
    return 1.4826 * float(np.median(np.abs(plane)))


def _passed() -> tuple[float, float]:
    """Return which share of the variance of white noise is in F1 and in F2."""
    k1 = np.array([1, 4, 6, 4, 1]) / 16
    k2 = np.zeros(9)
    k2[::2] = k1
    both = np.convolve(k1, k2)
    v1 = np.outer(k1, k1)
    spots = -np.outer(both, both)
    spots[4:9, 4:9] += v1
    return float(1 - 2 * v1[2, 2] + np.sum(v1**2)), float(np.sum(spots**2))
