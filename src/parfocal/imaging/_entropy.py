"""How many grey levels an object holds, beyond those of its background."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import checked_frame, checked_mask

_BINS = 256
_TAIL_PERCENT = 0.05
_FEWEST_PX = 64


def grey_levels(frame: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    """Return the frame in 256 levels from its 0.05th to its 99.95th percentile; None where it is flat.

    Percentiles rather than extremes, so that one hot pixel does not push everything else into one level. Pixels
    that are not finite go to level 0: leave them out by a mask.
    """
    pixels = frame.astype(np.float64)
    finite = np.isfinite(pixels)
    known = pixels[finite]
    if known.size == 0:
        return None
    low, high = (float(v) for v in np.percentile(known, (_TAIL_PERCENT, 100 - _TAIL_PERCENT)))
    if not high > low:
        low, high = float(known.min()), float(known.max())
        if not high > low:
            return None
    scaled = np.where(finite, (pixels - low) * (_BINS / (high - low)), 0.0)
    return np.clip(scaled, 0, _BINS - 1).astype(np.uint8)


def entropy_bits(levels: NDArray[np.uint8]) -> float:
    """Return the entropy of the levels' histogram, bits; NaN of fewer than 64 pixels."""
    if levels.size < _FEWEST_PX:
        return math.nan
    counts = np.bincount(levels.ravel(), minlength=_BINS)
    share = counts[counts > 0] / levels.size
    return float(-(share * np.log2(share)).sum())


def otsu_level(levels: NDArray[np.uint8]) -> int:
    """Return the grey level that best splits a histogram in two (Otsu): above it is foreground."""
    counts = np.bincount(levels.ravel(), minlength=_BINS).astype(np.float64)
    below = np.cumsum(counts)
    moment = np.cumsum(counts * np.arange(_BINS))
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (moment[-1] * below / below[-1] - moment) ** 2 / (below * above)
    return int(np.nanargmax(np.where((below > 0) & (above > 0), between, -1.0)))


def relative_entropy(frame: ArrayLike, mask: ArrayLike | None = None, margin_px: int = 10) -> float:
    """Return the entropy of an object's grey levels less that of its background, bits.

    Both histograms have the same 256 bins, from the frame's 0.05th to its 99.95th percentile. A blurred object
    holds few levels that its haze does not hold too: the less, the worse. Unlike an adjacent correlation it sees
    blur within one frame.

    Parameters
    ----------
    frame : array_like of shape (height, width)
        One frame.
    mask : array_like of shape (height, width), optional
        The object, where it is not 0. Without, what Otsu's threshold parts from the background of the frame
        smoothed over 2 px.
    margin_px : int
        How far the background keeps away from the mask, whose halo is no background; less where that would leave
        none of it.

    Returns
    -------
    float
        NaN where the object or the background has fewer than 64 pixels, or the frame is flat.

    Raises
    ------
    BadInputError
        Not a real image, a mask of another shape, or a negative margin.
    """
    pixels = checked_frame(frame, "relative entropy")
    inside = checked_mask(mask, pixels.shape, "relative entropy")
    if margin_px < 0:
        raise BadInputError(f"relative entropy: margin_px is {margin_px}, expected 0 or more")
    levels = grey_levels(pixels)
    if levels is None:
        return math.nan
    if inside is None:
        smoothed = grey_levels(ndimage.gaussian_filter(levels.astype(np.float32), 2.0))
        inside = levels > 0 if smoothed is None else smoothed > otsu_level(smoothed)
    finite = np.isfinite(pixels)
    background = background_of(inside, finite, margin_px)
    return entropy_bits(levels[inside & finite]) - entropy_bits(levels[background])


def background_of(anything: NDArray[np.bool_], finite: NDArray[np.bool_], margin_px: int) -> NDArray[np.bool_]:
    """Return what is farther than `margin_px` from any object; nearer where that would leave too little."""
    background = ~anything & finite
    if margin_px and anything.any() and not anything.all():
        distance = np.asarray(ndimage.distance_transform_edt(~anything))
        for margin in (margin_px, margin_px / 2, margin_px / 4):
            eroded = background & (distance > margin)
            if eroded.sum() >= _FEWEST_PX:
                return eroded
    return background
