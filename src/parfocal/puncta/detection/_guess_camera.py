"""A camera model for files that say nothing of their camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import CameraModel
from parfocal.puncta.detection._wavelet import wavelet_filter

_USUAL_OFFSET_ADU = 100.0
_LEAST_VARIANCE_ADU2 = 1 / 12  # of whole numbers


def guess_camera(frame: NDArray[Any]) -> CameraModel:
    """Return a camera whose shot noise is what one frame's finest plane shows, so that a threshold fits.

    The offset is taken as 100 ADU where nearly no pixel lies below, else as the darkest; the gain is the noise
    variance over the median above the offset. Photons that are counted with it are of the right order, no more:
    measure the camera, or say its numbers.

    Parameters
    ----------
    frame : ndarray of shape (height, width)
        Raw ADU.
    """
    pixels = np.asarray(frame, np.float32)
    f1 = wavelet_filter(pixels).f1
    one = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    passed = float(1 - 2 * one[2, 2] + np.sum(one**2))
    sd = 1.4826 * float(np.median(np.abs(f1)))
    variance = max(sd**2 / passed, _LEAST_VARIANCE_ADU2 if frame.dtype.kind in "ui" else 1e-30)
    lowest, middle = (float(v) for v in np.percentile(pixels, (0.1, 50)))
    is_usual = frame.dtype.kind in "ui" and frame.dtype.itemsize > 1 and lowest > 0.85 * _USUAL_OFFSET_ADU
    offset = _USUAL_OFFSET_ADU if is_usual and middle > _USUAL_OFFSET_ADU else min(lowest, 0.0)
    light = max(middle - offset, 1e-3 * max(float(pixels.max()) - offset, 1e-30))
    info = np.iinfo(frame.dtype) if frame.dtype.kind in "ui" else np.finfo(np.float32)
    gain = variance / light
    return CameraModel(offset, gain, 0.0, float(info.max))
