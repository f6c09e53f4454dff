"""The regions of a frame that a lock fits, each following its bead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting import find_beads
from parfocal.focus import LockSettings, Roi, RoiTracker
from parfocal.optics import CameraModel

RoiPx = tuple[int, int, int, int]


class Region:
    """A region that moves, by whole pixels and never the stage, after a bead that wanders sideways.

    Parameters
    ----------
    roi_px : (int, int, int, int)
        y, x, height, width in the frame.
    camera_model : CameraModel
        Of the whole frame.
    frame_shape : (int, int)
        Height and width of the frame, px.
    settings : LockSettings
        The options whose names begin with `track` and `roi`.
    """

    def __init__(
        self, roi_px: RoiPx, camera_model: CameraModel, frame_shape: tuple[int, int], settings: LockSettings
    ) -> None:
        self.roi_px = roi_px
        self._frame_model = camera_model
        self.camera_model = camera_model.cropped(roi_px)
        self._tracker = RoiTracker(Roi(*roi_px), frame_shape, settings)

    def cut(self, frame: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the region's pixels."""
        y, x, height, width = self.roi_px
        return frame[y : y + height, x : x + width]

    def follow(self, y_px: float, x_px: float, is_good: bool) -> bool:
        """Take in where the bead was found in it; return whether its shape is another now."""
        found = self._tracker.follow(y_px, x_px, is_good)
        before, self.roi_px = self.roi_px, (found.y_px, found.x_px, found.height_px, found.width_px)
        if self.roi_px != before:
            self.camera_model = self._frame_model.cropped(self.roi_px)
        return self.roi_px[2:] != before[2:]


def regions_beside(frame: NDArray[np.generic], first: RoiPx, n_most: int) -> tuple[RoiPx, ...]:
    """Return regions of the first's size round the brightest other beads that stand alone in a frame."""
    side = first[2]
    corners = find_beads(frame[None], roi_px=side) - side // 2
    found: list[RoiPx] = [first]
    for y, x in corners.tolist():
        is_apart = all(max(abs(y - other[0]), abs(x - other[1])) >= side for other in found)
        is_inside = min(y, x) >= 0 and y + side <= frame.shape[0] and x + side <= frame.shape[1]
        if is_apart and is_inside and len(found) <= n_most:
            found.append((y, x, side, side))
    return tuple(found[1:])


def shapes_of(regions: Sequence[Region]) -> list[tuple[int, int]]:
    """Return height and width of each."""
    return [region.roi_px[2:] for region in regions]
