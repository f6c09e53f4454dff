"""How alike frames are: two of them, neighbours along a stack, all against all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import as_float32, checked_frame, checked_frames, checked_mask
from parfocal.imaging._bands import for_each_band

_BAND_PX = 16384

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
    """Return the correlation of every frame with every other, by one float32 matrix product.

    With each frame a row less its mean, the matrix is that array times its transpose, divided by what each row has
    with itself.

    Parameters
    ----------
    frames : array_like of shape (n, height, width)
        A stack, `band_limited` beforehand as a rule. Fastest as one uint16 or float32 array.
    bin_px : int
        Average so many pixels along each axis first: `bin_px`² times less to multiply, and less noise, so that
        correlations rise a little (by up to 0.03 on real band-limited frames, binned 4x). Rows and columns that do
        not fill a bin are left out.
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
    stack = checked_frames(frames, "correlation matrix")
    shape = stack[0].shape
    if not 1 <= bin_px <= min(shape):
        raise BadInputError(f"correlation matrix: bin_px is {bin_px}, expected 1 to {min(shape)}")
    keep = _bins_inside(checked_mask(mask, shape, "correlation matrix"), bin_px)
    pixels, references = _as_one_array(frames, stack)
    if bin_px == 1 and keep is None:
        gram, sums, n_px = _products(pixels.reshape(len(pixels), -1), references)
        if np.isfinite(np.diagonal(gram)).all():
            return _correlations(gram, sums, n_px)
    rows = _chosen_bins(pixels, references, bin_px, keep)
    return _correlations(*_products(rows, np.zeros(len(rows), np.float32)))


def mask_bytes(mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Return the mask as the kernels take it."""
    return EVERYWHERE if mask is None else mask.view(np.uint8)


def _bins_inside(mask: NDArray[np.bool_] | None, bin_px: int) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    height, width = mask.shape[0] // bin_px, mask.shape[1] // bin_px
    blocks = mask[: height * bin_px, : width * bin_px].reshape(height, bin_px, width, bin_px)
    return blocks.all(axis=(1, 3)).ravel()


def _as_one_array(frames: Any, stack: list[NDArray[np.generic]]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the stack as one array of uint16 or float32, and a value near the mean of each frame."""
    types = {frame.dtype for frame in stack}
    pixels: NDArray[Any] = frames if isinstance(frames, np.ndarray) else np.stack(stack)
    if any(dtype.itemsize > 2 and dtype != np.float32 for dtype in types):
        near = np.array([_near_mean(frame) for frame in pixels], np.float64)
        return (pixels - near[:, None, None]).astype(np.float32), np.zeros(len(pixels), np.float32)
    dtype = np.uint16 if all(dtype.newbyteorder("=") == np.uint16 for dtype in types) else np.float32
    return np.ascontiguousarray(pixels, dtype), np.array([_near_mean(frame) for frame in pixels], np.float32)


def _products(
    rows: NDArray[Any], references: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return the products of all rows, on and above the diagonal, their sums, and how long they are."""
    from parfocal.imaging._gram_kernel import gram_band  # numba is slow to import

    n, n_px = rows.shape
    padded = n + -n % 4
    n_bands = -(-n_px // _BAND_PX)
    grams, sums = np.zeros((n_bands, padded, padded)), np.zeros((n_bands, n))

    def one_band(band: int) -> None:
        first = band * _BAND_PX
        gram_band(rows, references, first, min(n_px, first + _BAND_PX), grams[band], sums[band])

    for_each_band(one_band, n_bands)
    return grams.sum(axis=0)[:n, :n], sums.sum(axis=0), n_px


def _correlations(gram: NDArray[np.float64], sums: NDArray[np.float64], n_px: int) -> NDArray[np.float32]:
    upper = np.triu(gram)
    covariance = upper + np.triu(gram, 1).T - np.outer(sums, sums) / max(1, n_px)
    variance = np.diagonal(covariance).copy()
    # what rounding alone leaves is no variance
    variance[~(variance > 1e-9 * np.diagonal(gram))] = np.nan
    length = np.sqrt(variance)
    matrix = np.clip(covariance / np.outer(length, length), -1.0, 1.0)
    matrix[np.diag_indices_from(matrix)] = np.where(np.isfinite(length), 1.0, np.nan)
    return matrix.astype(np.float32)


def _chosen_bins(
    pixels: NDArray[Any], references: NDArray[np.float32], bin_px: int, keep: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Return the bins that count in all frames, one row a frame of mean 0; a row that is flat is exactly 0."""
    from parfocal.imaging._correlation_kernel import binned_row, centre

    rows = np.empty((len(pixels), (pixels.shape[1] // bin_px) * (pixels.shape[2] // bin_px)), np.float32)
    is_centred = np.zeros(len(rows), np.bool_)

    def bin_frame(i: int) -> None:
        binned_row(pixels[i], bin_px, references[i], rows[i])
        is_centred[i] = keep is None and centre(rows[i])

    for_each_band(bin_frame, len(rows))
    if is_centred.all():
        return rows
    for_each_band(lambda i: binned_row(pixels[i], bin_px, references[i], rows[i]), len(rows))
    if keep is not None:
        rows = rows[:, keep]
    if not np.isfinite(rows.sum(axis=1)).all():
        finite = np.isfinite(rows)
        usable = finite.mean(axis=1) > 0.5 if rows.size else np.zeros(len(rows), np.bool_)
        rows = np.where(usable[:, None], rows, np.float32(0))[:, finite[usable].all(axis=0)]
    if rows.shape[1] == 0:
        return rows
    flat = rows.max(axis=1) == rows.min(axis=1)
    rows = np.ascontiguousarray(rows - rows.mean(axis=1, dtype=np.float64).astype(np.float32)[:, None])
    rows[flat] = 0
    return rows


def _near_mean(frame: NDArray[Any]) -> float:
    """Return a value near the mean: taken away, it costs float32 nothing; exact where the frame is flat."""
    sample = frame[:: max(1, frame.shape[0] // 16), :: max(1, frame.shape[1] // 16)]
    if (sample == sample[0, 0]).all():
        return float(sample[0, 0])
    if frame.dtype.kind in "ui":
        return float(round(float(sample.mean())))
    finite = np.isfinite(sample)
    return float(np.mean(sample, dtype=np.float64, where=finite)) if finite.any() else 0.0
