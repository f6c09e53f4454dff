"""Which part of the camera to look at, as the spot wanders: software only, no stage moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from parfocal.errors import BadInputError
from parfocal.focus._lock_settings import LockSettings


@dataclass(frozen=True)
class Roi:
    """A region of the camera, px: its first row and column, and its size."""

    y_px: int
    x_px: int
    height_px: int
    width_px: int

    def grown(self, by_px: int, sensor_px: tuple[int, int]) -> Roi:
        """Return the region larger by so much to each side, as far as the sensor (height, width) reaches."""
        y, x = max(self.y_px - by_px, 0), max(self.x_px - by_px, 0)
        bottom = min(self.y_px + self.height_px + by_px, sensor_px[0])
        right = min(self.x_px + self.width_px + by_px, sensor_px[1])
        return Roi(y, x, bottom - y, right - x)


class RoiTracker:
    """Lets the region follow the fitted spot, and grow while the spot is not had.

    The region moves by whole pixels. What is left of a wanted shift is carried over, and shifts are rounded to
    the nearest pixel, up and down alike: cut off toward zero, half of a slow wandering would be lost, and toward
    minus infinity the region would creep.

    Parameters
    ----------
    roi : Roi
        Where to begin; the size is kept but for growing.
    sensor_px : (int, int)
        Height and width of the frame.
    settings : LockSettings
        The options whose names begin with `track` and `roi`.

    Raises
    ------
    BadInputError
        The region is not within the frame.
    """

    def __init__(self, roi: Roi, sensor_px: tuple[int, int], settings: LockSettings | None = None) -> None:
        self._s = settings or LockSettings()
        self._sensor_px = sensor_px
        inside = 0 <= roi.y_px <= sensor_px[0] - roi.height_px and 0 <= roi.x_px <= sensor_px[1] - roi.width_px
        if not inside or min(roi.height_px, roi.width_px) < 1:
            raise BadInputError(f"region {roi} does not lie in a frame of {sensor_px[0]} x {sensor_px[1]} px")
        self._core = roi
        self._carry_px = (0.0, 0.0)
        self._grown_px = 0
        self._n_stable = 0

    @property
    def roi(self) -> Roi:
        """The region for the next frame."""
        return self._core.grown(self._grown_px, self._sensor_px)

    def follow(self, y_px: float, x_px: float, is_good: bool) -> Roi:
        """Take in a fitted position in the present region; return the region for the next frame.

        Parameters
        ----------
        y_px, x_px : float
            Fitted position in `roi`, px.
        is_good : bool
            Whether the frame may be believed. A bad one moves nothing.
        """
        now = self.roi
        if is_good and self._s.track_roi and math.isfinite(y_px) and math.isfinite(x_px):
            core = self._core
            off_y = now.y_px + y_px - (core.y_px + (core.height_px - 1) / 2)
            off_x = now.x_px + x_px - (core.x_px + (core.width_px - 1) / 2)
            if math.hypot(off_y, off_x) > self._s.track_deadband_px:
                self._shift(off_y, off_x)
            else:
                self._carry_px = (0.0, 0.0)
        self._resize(is_good)
        return self.roi

    def _shift(self, off_y: float, off_x: float) -> None:
        wanted = [self._s.track_gain * off_y, self._s.track_gain * off_x]
        length = math.hypot(*wanted)
        scale = min(1.0, self._s.track_max_step_px / length) if length > 0 else 1.0
        wanted = [scale * w + c for w, c in zip(wanted, self._carry_px, strict=True)]
        whole = [round(w) for w in wanted]
        self._carry_px = (wanted[0] - whole[0], wanted[1] - whole[1])
        core = self._core
        y = min(max(core.y_px + whole[0], 0), self._sensor_px[0] - core.height_px)
        x = min(max(core.x_px + whole[1], 0), self._sensor_px[1] - core.width_px)
        self._core = replace(core, y_px=y, x_px=x)

    def _resize(self, is_good: bool) -> None:
        s = self._s
        if not s.roi_expand_on_low_confidence:
            return
        if not is_good:
            self._n_stable = 0
            self._grown_px = min(self._grown_px + s.roi_expand_step_px, s.roi_expand_max_px)
            return
        self._n_stable += 1
        if self._n_stable >= s.roi_shrink_stable_frames and self._grown_px > 0:
            self._n_stable = 0
            self._grown_px = max(self._grown_px - s.roi_expand_step_px, 0)
