"""What morphseq's Build01 makes of a stack: the value of the frame of the largest |LoG|, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError

# OpenCV's own tables for small Gaussians, and its binomial Laplacian.
_GAUSSIAN = {3: (0.25, 0.5, 0.25), 5: (0.0625, 0.25, 0.375, 0.25, 0.0625)}
_SMOOTH = {3: (1.0, 2.0, 1.0), 5: (1.0, 4.0, 6.0, 4.0, 1.0)}
_SECOND = {3: (1.0, -2.0, 1.0), 5: (1.0, 0.0, -2.0, 0.0, 1.0)}


def compose_morphseq(
    frames: Sequence[NDArray[Any]], filter_px: int = 3, rescale: bool = True
) -> tuple[NDArray[np.uint8] | NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Return image, index of the frame of each pixel, and |LoG| `[z, y, x]`.

    Gaussian then Laplacian of `filter_px` (OpenCV's kernels), both with zeros beyond the border, which makes a
    bright frame in the response; the value of the frame at the largest absolute response. Before, percentiles 0.01
    and 99.99 of the stack are stretched to 16 bit; after, values are clipped and scaled to 8 bit.

    Parameters
    ----------
    frames : sequence of ndarray of shape (height, width)
        The frames.
    filter_px : {3, 5}
        Side of both kernels.
    rescale : bool
        Stretch before and make 8 bit after; False: float32 values of the frames as they are.
    """
    if filter_px not in _GAUSSIAN:
        raise BadInputError(f"compose morphseq: filter_px is {filter_px}, expected 3 or 5")
    data = np.asarray(np.stack(frames), np.float32)
    if rescale:
        low, high = np.percentile(data, (0.01, 99.99))
        span = max(float(high - low), 1e-12)
        data = (np.clip((data - low) / span, 0, 1) * 65535).astype(np.uint16).astype(np.float32)
    gaussian = np.outer(_GAUSSIAN[filter_px], _GAUSSIAN[filter_px]).astype(np.float32)
    smooth, second = _SMOOTH[filter_px], _SECOND[filter_px]
    laplacian = (np.outer(smooth, second) + np.outer(second, smooth)).astype(np.float32)
    response = np.empty_like(data)
    for z, frame in enumerate(data):
        blurred = ndimage.convolve(frame, gaussian, mode="constant")
        response[z] = np.abs(ndimage.convolve(blurred, laplacian, mode="constant"))
    index = np.argmax(response, axis=0)
    image = np.take_along_axis(data, index[np.newaxis], axis=0)[0]
    if not rescale:
        return image, index, response
    return (np.clip(image, 0, 65535) / 65535 * 255).astype(np.uint8), index, response
