"""Structural similarity of two frames."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import checked_frame
from parfocal.imaging._bands import for_each_band

_BAND_ROWS = 64


def ssim(a: ArrayLike, b: ArrayLike, data_range: float | None = None) -> float:
    """Return the mean structural similarity of two frames [1]_.

    Over every 7x7 window that lies inside, with means m, sample variances v and covariance c, and
    `c1 = (0.01 data_range)²`, `c2 = (0.03 data_range)²`::

        (2 ma mb + c1) (2 c + c2) / ((ma² + mb² + c1) (va + vb + c2))

    The same as scikit-image's `structural_similarity(a, b, win_size=7, data_range=data_range)` of float64 frames.

    Parameters
    ----------
    a, b : array_like of shape (height, width)
        Frames of one shape, at least 7x7.
    data_range : float, optional
        Distance between the smallest and the largest value possible; that of the values in both frames where not
        given.

    Returns
    -------
    float
        At most 1; 1 for equal frames, flat ones too. NaN where a pixel is not finite.

    Raises
    ------
    BadInputError
        Shapes differ, frames are smaller than 7x7, or `data_range` is not above 0.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility
       to structural similarity", IEEE Trans. Image Process. 13, 600 (2004).
    """
    from parfocal.imaging._ssim_kernel import SIDE, band_ssim  # numba is slow to import

    first, second = checked_frame(a, "ssim", 7), checked_frame(b, "ssim", 7)
    if first.shape != second.shape:
        raise BadInputError(f"ssim: frames have shapes {first.shape} and {second.shape}, expected the same")
    if data_range is not None and not data_range > 0:
        raise BadInputError(f"ssim: data_range is {data_range:g}, expected a number above 0")
    # float32 differences of float64 frames would lose what a large mean hides
    narrow = first.dtype.itemsize <= 2 and second.dtype.itemsize <= 2
    u, v = (np.ascontiguousarray(x, np.float32 if narrow else np.float64) for x in (first, second))
    lowest, highest = min(u.min(), v.min()), max(u.max(), v.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return math.nan
    span = float(highest) - float(lowest) if data_range is None else float(data_range)
    if span == 0.0:
        return 1.0
    reference_u, reference_v = (
        float(round(float(x.mean(dtype=np.float64)))) if narrow else float(x.mean()) for x in (u, v)
    )
    u, v = u - u.dtype.type(reference_u), v - v.dtype.type(reference_v)
    n_rows, n_columns = u.shape[0] - SIDE + 1, u.shape[1] - SIDE + 1
    sums = np.empty(-(-n_rows // _BAND_ROWS))

    def one_band(i: int) -> None:
        begin = i * _BAND_ROWS
        end = min(n_rows, begin + _BAND_ROWS)
        sums[i] = band_ssim(u, v, begin, end, reference_u, reference_v, (0.01 * span) ** 2, (0.03 * span) ** 2)

    for_each_band(one_band, sums.size)
    return float(sums.sum() / (n_rows * n_columns))
