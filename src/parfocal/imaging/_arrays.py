"""What every function here asks of the arrays it is given, and the one form that the kernels take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError


def checked_frame(image: ArrayLike, who: str, min_px: int = 1) -> NDArray[np.generic]:
    """Return the image as an array; `BadInputError` where it is not a real `[y, x]` image of that size."""
    frame = np.asarray(image)
    if frame.ndim != 2 or min(frame.shape) < min_px:
        raise BadInputError(f"{who}: image has shape {frame.shape}, expected [y, x] of at least {min_px}x{min_px}")
    if frame.dtype.kind not in "buif":
        raise BadInputError(f"{who}: image has dtype {frame.dtype}, expected integers or real numbers")
    return frame


def checked_frames(frames: Iterable[ArrayLike], who: str, min_frames: int = 1) -> list[NDArray[np.generic]]:
    """Return the frames as a list of views; they must be of one shape."""
    found = [checked_frame(frame, who) for frame in frames]
    if len(found) < min_frames:
        raise BadInputError(f"{who}: {len(found)} frames, expected at least {min_frames}")
    for i, frame in enumerate(found):
        if frame.shape != found[0].shape:
            raise BadInputError(
                f"{who}: frame {i} has shape {frame.shape}, expected {found[0].shape} like frame 0"
            )
    return found


@overload
def checked_mask(mask: ArrayLike, shape: tuple[int, ...], who: str) -> NDArray[np.bool_]: ...
@overload
def checked_mask(mask: None, shape: tuple[int, ...], who: str) -> None: ...
@overload
def checked_mask(mask: ArrayLike | None, shape: tuple[int, ...], who: str) -> NDArray[np.bool_] | None: ...
def checked_mask(mask: ArrayLike | None, shape: tuple[int, ...], who: str) -> NDArray[np.bool_] | None:
    """Return the mask as booleans, True inside; it must have the image's shape."""
    if mask is None:
        return None
    inside = np.asarray(mask)
    if inside.shape != shape:
        raise BadInputError(f"{who}: mask has shape {inside.shape}, expected {shape} like the image")
    return np.ascontiguousarray(inside != 0)


def as_float32(frame: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the frame as C-contiguous float32, less a constant where float32 alone would cost precision.

    For what does not change with a constant: correlations, shifts, filters that remove the mean.
    """
    if frame.dtype.itemsize > 2 and frame.dtype != np.float32 and frame.size:
        values = frame.astype(np.float64)
        first = values[(0,) * values.ndim]
        values -= first if np.isfinite(first) else 0.0
        frame = values
    return np.ascontiguousarray(frame, dtype=np.float32)
