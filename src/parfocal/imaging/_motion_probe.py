"""How far an axis has moved, from what its motion does to the picture, whatever that is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import checked_frame
from parfocal.robust import robust_sd

_ITERATIONS = 20


class MotionProbe:
    """Tells displacements along one axis of a stage, sideways or through focus, by three pictures of its way.

    A frame is compared with I(u) = I0 + u D1 + u² D2, the parabola through the pictures at -h, 0 and h in every
    pixel, with its own brightness and background: u by Gauss-Newton. No pixel size, no model of the image: the
    unit is the stage's. Good between -h and h, for h over which every pixel changes smoothly.

    Parameters
    ----------
    before, here, beyond : array_like of shape (height, width)
        Mean frames at -h, 0 and h, ADU.
    half_step_um : float
        h.

    Raises
    ------
    BadInputError
        Unequal shapes, no step, or pictures that do not differ.
    """

    def __init__(self, before: ArrayLike, here: ArrayLike, beyond: ArrayLike, half_step_um: float) -> None:
        low, middle, high = (
            np.asarray(checked_frame(frame, "motion probe", 8), np.float64) for frame in (before, here, beyond)
        )
        if not low.shape == middle.shape == high.shape or not half_step_um > 0:
            raise BadInputError("motion probe: three frames of one shape and a step above 0 were expected")
        self.half_step_um = float(half_step_um)
        # Shot noise: bright pixels tell less than they change by.
        dark = float(np.percentile(middle, 1))
        self._weight = 1 / (np.maximum(middle - dark, 0.0) + max(float(np.median(middle)) - dark, 1.0)).ravel()
        # Where nothing changes there is only noise, which would pass for change and shrink what is found.
        smooth = np.abs(gaussian_filter(high - low, 1.0))
        self._kept = (smooth >= min(4 * robust_sd(smooth, 0.0), float(np.percentile(smooth, 90)))).ravel()
        self._weight = self._weight[self._kept]
        self._here = middle.ravel()[self._kept]
        self._first = ((high - low) / 2).ravel()[self._kept]
        self._second = ((high + low) / 2 - middle).ravel()[self._kept]
        change = float((self._weight * self._first**2).sum())
        if not change > 0:
            raise BadInputError("motion probe: the picture does not change along the axis: is there a sample?")

    def displacement_um(self, frame: ArrayLike) -> float:
        """Return where along the axis a frame was taken, um from the middle picture; NaN where it fits nowhere."""
        given = np.asarray(frame, np.float64).ravel()
        if given.size != self._kept.size:
            raise BadInputError("motion probe: the frame is of another shape than the pictures")
        values = given[self._kept]
        w, ones, u = self._weight, np.ones_like(values), 0.0
        for _ in range(_ITERATIONS):
            model = self._here + u * self._first + u**2 * self._second
            slope = self._first + 2 * u * self._second
            columns = np.stack([slope, model, ones])
            left = (columns * w) @ columns.T
            right = (columns * w) @ (values - model)
            try:
                step = np.linalg.solve(left, right)
            except np.linalg.LinAlgError:
                return math.nan
            # The brightness is taken out of the step, not iterated: its part of the change is linear.
            u += float(np.clip(step[0], -0.5, 0.5))
            if abs(step[0]) < 1e-6:
                break
            if abs(u) > 3:
                return math.nan
        return u * self.half_step_um


def mean_frame(frames: list[NDArray[np.generic]]) -> NDArray[np.float64]:
    """Return the mean of frames of one shape."""
    if not frames:
        raise BadInputError("mean frame: no frames")
    total = np.zeros(frames[0].shape)
    for frame in frames:
        total += np.asarray(frame, np.float64)
    return total / len(frames)
