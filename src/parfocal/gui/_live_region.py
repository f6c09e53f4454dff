"""Where the region of the live window is at first."""

from __future__ import annotations

from parfocal.gui._image_panel import SMALLEST_ROI_PX
from parfocal.gui._live_session import RoiPx

_FIRST_ROI_PX = 17


def middle_roi(shape: tuple[int, ...]) -> RoiPx:
    """Return a region in the middle of the frame."""
    height, width = shape
    side = max(min(_FIRST_ROI_PX, (min(height, width) - 1) | 1), SMALLEST_ROI_PX)
    return (height - side) // 2, (width - side) // 2, side, side


def kept_roi(roi_px: tuple[int, ...], shape: tuple[int, ...]) -> RoiPx | None:
    """Return the remembered region where it lies in the frame."""
    if len(roi_px) != 4:
        return None
    y, x, height, width = roi_px
    fits = y >= 0 and x >= 0 and y + height <= shape[0] and x + width <= shape[1]
    return (y, x, height, width) if fits and height == width and height >= SMALLEST_ROI_PX else None
