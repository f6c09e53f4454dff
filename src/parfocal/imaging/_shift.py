"""How far one frame is moved against another, by phase correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import as_float32, checked_frame
from parfocal.imaging._correlation import EVERYWHERE

_CANDIDATES = 6
_PEAK_SIGMA_PX = 1.0
_HOT_SD = 5.0


@dataclass(frozen=True)
class Shift:
    """A translation between two frames.

    Attributes
    ----------
    dy_px, dx_px : float
        What to move the second frame by to lay it on the first: `scipy.ndimage.shift(moving, (dy_px, dx_px))`
        shows what `fixed` shows.
    ncc : float
        Correlation of the two where they overlap after that; NaN (and no shift) where a frame is flat.
    """

    dy_px: float
    dx_px: float
    ncc: float

    @property
    def length_px(self) -> float:
        """Length of the shift."""
        return math.hypot(self.dy_px, self.dx_px)


def phase_shift(
    fixed: ArrayLike, moving: ArrayLike, max_shift_px: float | None = None, upsample: int = 1
) -> Shift:
    """Return the translation between two frames.

    The phase correlation of both under a Hann window proposes its highest peaks within the bound; the one where
    the frames correlate best over their overlap wins, so that a periodic wrap or a defect that both frames share
    is not taken for a match. Single hot (and dead) pixels are replaced by their neighbours first.

    Parameters
    ----------
    fixed, moving : array_like of shape (height, width)
        Of unequal shapes, the common part at the first row and column counts. Pixels that are not finite are
        replaced by the mean.
    max_shift_px : float, optional
        Bound on each axis; half of the frame by default.
    upsample : int
        1 for whole pixels; 10 for tenths: the phase correlation of the overlap is evaluated on a finer grid around
        its peak [1]_.

    Returns
    -------
    Shift

    Raises
    ------
    BadInputError
        Not two real images of at least 8x8 pixels, a negative bound, or `upsample` not 1 to 1000.

    References
    ----------
    .. [1] M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, "Efficient subpixel image registration algorithms",
       Opt. Lett. 33, 156 (2008).
    """
    first, second = checked_frame(fixed, "phase shift", 8), checked_frame(moving, "phase shift", 8)
    if not 1 <= upsample <= 1000 or (max_shift_px is not None and not max_shift_px >= 0):
        raise BadInputError(
            f"phase shift: upsample is {upsample} and max_shift_px {max_shift_px}, "
            "expected 1 to 1000 and 0 or more"
        )
    shape = tuple(min(a, b) for a, b in zip(first.shape, second.shape))
    a, b = (_cleaned(frame[: shape[0], : shape[1]]) for frame in (first, second))
    if a is None or b is None:
        return Shift(0.0, 0.0, math.nan)
    bound = [min(n // 2, math.floor(max_shift_px)) if max_shift_px is not None else n // 2 for n in shape]
    surface = fft.irfft2(_cross_phase(a, b, half=True), s=shape)
    best, best_ncc = (0, 0), -math.inf
    for shift in _candidates(np.asarray(surface), bound[0], bound[1]):
        value = _overlap_ncc(a, b, shift)
        if value > best_ncc:
            best, best_ncc = shift, value
    if best_ncc == -math.inf:
        return Shift(0.0, 0.0, _overlap_ncc(a, b, (0, 0)))
    if upsample == 1:
        return Shift(float(best[0]), float(best[1]), best_ncc)
    return _refined(a, b, best, best_ncc, upsample, max_shift_px)


def _cleaned(frame: NDArray[np.generic]) -> NDArray[np.float32] | None:
    """Return the frame without hot pixels, its mean at 0; None where it is flat."""
    from parfocal.imaging._correlation_kernel import without_hot_pixels  # numba is slow to import

    pixels = as_float32(frame)
    finite = np.isfinite(pixels)
    if not finite.any():
        return None
    if not finite.all():
        pixels = np.where(finite, pixels, pixels[finite].mean(dtype=np.float64)).astype(np.float32)
    mean, sd = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    if sd == 0.0:
        return None
    cleaned = np.empty_like(pixels)
    without_hot_pixels(pixels, np.float32(mean - _HOT_SD * sd), np.float32(mean + _HOT_SD * sd), cleaned)
    cleaned -= np.float32(cleaned.mean(dtype=np.float64))
    return cleaned if cleaned.any() else None


def _cross_phase(a: NDArray[np.float32], b: NDArray[np.float32], half: bool) -> NDArray[np.complex64]:
    """Return the phases of the cross spectrum, weighted so that the peak is a Gaussian rather than a point."""
    shape = a.shape
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape)).astype(np.float32)
    transform = fft.rfft2 if half else fft.fft2
    cross = np.asarray(transform(a * window)) * np.conj(np.asarray(transform(b * window)))
    magnitude = np.abs(cross)
    # phases of a spectrum's empty part are rounding errors
    cross /= magnitude + np.float32(1e-4 * float(magnitude.mean()) + 1e-30)
    fy = fft.fftfreq(shape[0])[:, None]
    fx = (fft.rfftfreq if half else fft.fftfreq)(shape[1])[None, :]
    cross *= np.exp(-2 * (np.pi * _PEAK_SIGMA_PX) ** 2 * (fy**2 + fx**2)).astype(np.float32)
    cross[0, 0] = 0
    return cross.astype(np.complex64, copy=False)


def _candidates(surface: NDArray[Any], bound_y: int, bound_x: int) -> list[tuple[int, int]]:
    """Return the whole-pixel shifts of the highest local maxima within the bound, highest first."""
    centred = fft.fftshift(surface)
    cy, cx = (n // 2 for n in surface.shape)
    y0, x0 = max(0, cy - bound_y), max(0, cx - bound_x)
    part = centred[y0 : cy + bound_y + 1, x0 : cx + bound_x + 1]
    peaks = np.flatnonzero(part == ndimage.maximum_filter(part, 3, mode="nearest"))
    peaks = peaks[np.argsort(part.ravel()[peaks])[::-1][:_CANDIDATES]]
    return [(int(i // part.shape[1]) + y0 - cy, int(i % part.shape[1]) + x0 - cx) for i in peaks]


def _overlap(shape: tuple[int, ...], shift: tuple[int, int]) -> tuple[int, int, int, int, int, int]:
    """Return y, x of the overlap's corner in the first and in the second frame, and its height and width."""
    dy, dx = shift
    height, width = shape[0] - abs(dy), shape[1] - abs(dx)
    return max(0, dy), max(0, dx), max(0, -dy), max(0, -dx), height, width


def _overlap_ncc(a: NDArray[np.float32], b: NDArray[np.float32], shift: tuple[int, int]) -> float:
    from parfocal.imaging._correlation_kernel import pair_ncc

    ay, ax, by, bx, height, width = _overlap(a.shape, shift)
    return float(pair_ncc(a, b, ay, ax, by, bx, height, width, EVERYWHERE))


def _refined(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    whole: tuple[int, int],
    whole_ncc: float,
    upsample: int,
    max_shift_px: float | None,
) -> Shift:
    ay, ax, by, bx, height, width = _overlap(a.shape, whole)
    first = np.ascontiguousarray(a[ay : ay + height, ax : ax + width])
    second = np.ascontiguousarray(b[by : by + height, bx : bx + width])
    if min(first.shape) < 8:
        return Shift(float(whole[0]), float(whole[1]), whole_ncc)
    first, second = first - first.mean(), second - second.mean()
    cross = _cross_phase(first, second, half=False)
    reach = 1.0
    steps = np.arange(-math.ceil(reach * upsample), math.ceil(reach * upsample) + 1) / upsample
    up_y = np.exp(2j * np.pi * np.outer(steps, fft.fftfreq(height))).astype(np.complex64)
    up_x = np.exp(2j * np.pi * np.outer(fft.fftfreq(width), steps)).astype(np.complex64)
    surface = (up_y @ cross @ up_x).real
    iy, ix = np.unravel_index(int(np.argmax(surface)), surface.shape)
    dy, dx = whole[0] + float(steps[iy]), whole[1] + float(steps[ix])
    if max_shift_px is not None:
        dy, dx = (min(max_shift_px, max(-max_shift_px, d)) for d in (dy, dx))
    moved = np.asarray(ndimage.shift(second, (dy - whole[0], dx - whole[1]), order=3, mode="nearest"), np.float32)
    margin = 2
    inner = (slice(margin, -margin), slice(margin, -margin))
    value = _overlap_ncc(np.ascontiguousarray(first[inner]), np.ascontiguousarray(moved[inner]), (0, 0))
    return Shift(dy, dx, value if math.isfinite(value) else whole_ncc)
