"""What the collectors of characterizations share: a frame and what is known of it, and how far it has moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.imaging import MotionProbe, mean_frame

_SIDE_PX = 512  # the middle of a large sensor tells motion as well as all of it

Issue = tuple[str, str]
Pictures = dict[int, list[NDArray[np.generic]]]
"""Frames on either side of a place, and in the middle: -1, 0, 1."""


@dataclass(frozen=True)
class Probed:
    """What is known of one frame of a characterization.

    Attributes
    ----------
    part : str
        `dark`, `flat`, `step`, `probe`, `side`, `delay` or `shift`.
    level, number : int
        Which level, and which frame of it.
    side : int
        -1, 0 or 1: which side a place was come to from, or of the middle it lies on.
    exposure_s, light : float
        The dose.
    from_um, to_um : float
        Ends of a move, on the axis that is measured.
    y_um, x_um : float
        Where the stage was.
    asked_s, sent_s, read_s : float
        When the frame was asked for, the move was sent, and the frame was there; the camera's clock.
    """

    part: str = ""
    level: int = 0
    number: int = 0
    side: int = 0
    exposure_s: float = math.nan
    light: float = 1.0
    from_um: float = math.nan
    to_um: float = math.nan
    y_um: float = math.nan
    x_um: float = math.nan
    asked_s: float = math.nan
    sent_s: float = math.nan
    read_s: float = math.nan


@dataclass(frozen=True)
class Trace:
    """A readback looked at often: s from the command, and um."""

    t_s: NDArray[np.float64]
    position_um: NDArray[np.float64]


def probe_of(pictures: Mapping[int, list[NDArray[np.generic]]], half_step_um: float) -> MotionProbe:
    """Return what tells how far a frame has moved, from pictures on either side and in the middle."""
    low, middle, high = (mean_frame(pictures.get(side, [])) for side in (-1, 0, 1))
    return MotionProbe(low, middle, high, half_step_um)


def middle_of(frame: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the middle of a frame, as a copy."""
    cuts = tuple(slice(max(0, (n - _SIDE_PX) // 2), max(0, (n - _SIDE_PX) // 2) + _SIDE_PX) for n in frame.shape)
    return frame[cuts].copy()
