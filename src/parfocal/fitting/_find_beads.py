"""Beads in a stack that was swept through focus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd


def find_beads(
    stack: NDArray[np.generic],
    *,
    roi_px: int = 21,
    scale_px: float = 2.0,
    threshold: float = 8.0,
    min_share: float = 0.1,
) -> NDArray[np.intp]:
    """Find beads that stand alone and lie fully inside.

    Local maxima of the maximum projection over z, band-passed by a difference of Gaussians (`scale_px` and
    twice that), that are `threshold` scaled median deviations above the rest of the field and at least
    `min_share` of the brightest. A bead within `roi_px` of another that has a quarter of its height or more
    is left out, as is one whose ROI would leave the image.

    Parameters
    ----------
    stack : ndarray of shape (n, height, width)
        Images through focus.
    roi_px : int
        Side of the ROI that a bead needs, px.
    scale_px : float
        Width of the smaller Gaussian, px: about sigma of a spot in focus.
    threshold, min_share : float
        How much a bead must stand out.

    Returns
    -------
    ndarray of shape (m, 2), int
        (y, x) of each, the brightest first.
    """
    if stack.ndim != 3:
        raise BadInputError(f"find beads: the stack has shape {stack.shape}, expected (n, height, width)")
    top = np.asarray(stack.max(axis=0), dtype=np.float64)
    band = gaussian_filter(top, scale_px) - gaussian_filter(top, 2 * scale_px)
    noise = max(robust_sd(band), 1e-12)
    peak = (band == maximum_filter(band, size=2 * int(np.ceil(2 * scale_px)) + 1)) & (band > threshold * noise)
    peak &= band > min_share * band.max()
    y, x = np.nonzero(peak)
    order = np.argsort(-band[y, x], kind="stable")
    y, x = y[order], x[order]
    height = band[y, x]
    reach = roi_px // 2
    apart = np.maximum(np.abs(y[:, None] - y), np.abs(x[:, None] - x))
    np.fill_diagonal(apart, roi_px)
    crowded = ((apart < roi_px) & (height[None, :] > 0.25 * height[:, None])).any(axis=1)
    inside = (y >= reach) & (x >= reach) & (y < top.shape[0] - reach) & (x < top.shape[1] - reach)
    keep = inside & ~crowded
    return np.stack([y[keep], x[keep]], axis=1)


def cut_rois(stack: NDArray[np.generic], y: int, x: int, roi_px: int) -> NDArray[np.generic]:
    """Return the ROI about (y, x) from every image, shape (n, roi_px, roi_px); `roi_px` odd puts it in the middle.

    Raises
    ------
    BadInputError
        It leaves the image.
    """
    top, left = y - roi_px // 2, x - roi_px // 2
    if min(top, left) < 0 or top + roi_px > stack.shape[1] or left + roi_px > stack.shape[2]:
        raise BadInputError(f"ROI of {roi_px} px about (y, x) = ({y}, {x}) leaves the image {stack.shape[1:]}")
    return stack[:, top : top + roi_px, left : left + roi_px]
