"""How alike frames are: two of them, neighbours along a stack, all against all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import as_float32, checked_frame, checked_frames, checked_mask
from parfocal.imaging._bands import for_each_band

EVERYWHERE = np.zeros((0, 0), np.uint8)
"""What the kernels take for "no mask"."""


def ncc(a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Return Pearson's correlation of two frames, pixel by pixel.

    `sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)² sum (b - mean b)²)`, over the pixels that are inside the
    mask and finite in both. Give it `band_limited` frames where pixel noise or shading should not count.

    Parameters
    ----------
    a, b : array_like of shape (height, width)
        The frames.
    mask : array_like of shape (height, width), optional
        Counts where it is not 0: one object, for example.

    Returns
    -------
    float
        -1 to 1; NaN where a frame is flat inside the mask, or fewer than two pixels count.

    Raises
    ------
    BadInputError
        Shapes differ, or pixels are not real numbers.
    """
    from parfocal.imaging._correlation_kernel import pair_ncc  # numba is slow to import

    first, second = checked_frame(a, "ncc"), checked_frame(b, "ncc")
    if first.shape != second.shape:
        raise BadInputError(f"ncc: frames have shapes {first.shape} and {second.shape}, expected the same")
    inside = mask_bytes(checked_mask(mask, first.shape, "ncc"))
    height, width = first.shape
    return float(pair_ncc(as_float32(first), as_float32(second), 0, 0, 0, 0, height, width, inside))


def adjacent_ncc(frames: Iterable[ArrayLike], gap: int = 1, mask: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the correlation of every frame with the one `gap` further on.

    Parameters
    ----------
    frames : array_like of shape (n, height, width)
        A stack, `band_limited` beforehand as a rule.
    gap : int
        1 for neighbours; 2 to see whether a bad frame's neighbours still agree with each other.
    mask : array_like of shape (height, width), optional
        Counts where it is not 0.

    Returns
    -------
    ndarray of float64, shape (max(0, n - gap),)
        As `ncc`: NaN where one of the two frames is flat.

    Raises
    ------
    BadInputError
        Frames differ in shape, or `gap` is below 1.
    """
    from parfocal.imaging._correlation_kernel import pair_ncc

    if gap < 1:
        raise BadInputError(f"adjacent ncc: gap is {gap}, expected 1 or more")
    stack = [as_float32(frame) for frame in checked_frames(frames, "adjacent ncc")]
    shape = stack[0].shape
    inside = mask_bytes(checked_mask(mask, shape, "adjacent ncc"))
    height, width = shape
    found = np.empty(max(0, len(stack) - gap))

    def one_pair(i: int) -> None:
        found[i] = pair_ncc(stack[i], stack[i + gap], 0, 0, 0, 0, height, width, inside)

    for_each_band(one_pair, found.size)
    return found


def correlation_matrix(
    frames: Iterable[ArrayLike], bin_px: int = 1, mask: ArrayLike | None = None
) -> NDArray[np.float32]:
    """Return the correlation of every frame with every other, by one matrix product.

    Each frame becomes a row of mean 0 and length 1; the matrix is that array times its transpose.

    Parameters
    ----------
    frames : array_like of shape (n, height, width)
        A stack, `band_limited` beforehand as a rule.
    bin_px : int
        Average so many pixels along each axis first: `bin_px`² times less to multiply, and less noise. Rows and
        columns that do not fill a bin are left out.
    mask : array_like of shape (height, width), optional
        Counts where it is not 0; of the bins, those wholly inside.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Symmetric, 1 on the diagonal. NaN in the row and column of a frame that is flat or mostly not finite;
        pixels that are not finite in any other frame count in none.

    Raises
    ------
    BadInputError
        Frames differ in shape, or a bin is larger than a frame.
    """
    from parfocal.imaging._correlation_kernel import binned_row, standardize

    stack = checked_frames(frames, "correlation matrix")
    shape = stack[0].shape
    if not 1 <= bin_px <= min(shape):
        raise BadInputError(f"correlation matrix: bin_px is {bin_px}, expected 1 to {min(shape)}")
    height, width = shape[0] // bin_px, shape[1] // bin_px
    keep = _bins_inside(checked_mask(mask, shape, "correlation matrix"), bin_px)
    rows = np.empty((len(stack), height * width), np.float32)

    def fill(i: int, standardized: bool) -> None:
        frame = _countable(stack[i])
        binned_row(frame, bin_px, _near_mean(frame), rows[i])
        if standardized:
            standardize(rows[i])

    for_each_band(lambda i: fill(i, keep is None), len(stack))
    if keep is not None or np.isnan(rows[:, 0]).any():
        if keep is None:  # a frame is flat or not finite everywhere: again, over what all frames have
            for_each_band(lambda i: fill(i, False), len(stack))
        finite = np.isfinite(rows)
        common = finite[finite.mean(axis=1) > 0.5].all(axis=0)
        rows = np.ascontiguousarray(rows[:, common if keep is None else common & keep])
        for_each_band(lambda i: standardize(rows[i]), len(stack))
    matrix = rows @ rows.T
    np.clip(matrix, -1.0, 1.0, out=matrix)
    known = np.isfinite(np.diagonal(matrix))
    matrix[np.diag_indices_from(matrix)] = np.where(known, 1.0, np.nan).astype(np.float32)
    return matrix


def mask_bytes(mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Return the mask as the kernels take it."""
    return EVERYWHERE if mask is None else mask.view(np.uint8)


def _bins_inside(mask: NDArray[np.bool_] | None, bin_px: int) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    height, width = mask.shape[0] // bin_px, mask.shape[1] // bin_px
    blocks = mask[: height * bin_px, : width * bin_px].reshape(height, bin_px, width, bin_px)
    return blocks.all(axis=(1, 3)).ravel()


def _countable(frame: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the frame as the binning kernel takes it: few types, so that few versions are compiled."""
    dtype = np.dtype(np.uint16) if frame.dtype in (np.dtype(np.uint16), np.dtype(">u2")) else np.dtype(np.float32)
    if frame.dtype.itemsize > 2 and frame.dtype != np.float32:
        dtype = np.dtype(np.float64)
    return np.ascontiguousarray(frame, dtype=dtype)


def _near_mean(frame: NDArray[Any]) -> np.floating[Any]:
    """Return a value near the mean: taken away, it costs float32 nothing; exact where the frame is flat."""
    sample = frame[:: max(1, frame.shape[0] // 16), :: max(1, frame.shape[1] // 16)]
    value = (
        float(np.mean(sample, dtype=np.float64, where=np.isfinite(sample))) if np.isfinite(sample).any() else 0.0
    )
    if (sample == sample[0, 0]).all():
        value = float(sample[0, 0])
    elif frame.dtype.kind == "u":
        value = float(round(value))
    return np.float64(value) if frame.dtype == np.float64 else np.float32(value)
