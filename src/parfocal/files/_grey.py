"""Colour made grey."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ITU_R_601 = (0.299, 0.587, 0.114)


def grey_of(plane: NDArray[Any], samples: int) -> NDArray[Any]:
    """Return `[y, x]` of a plane with `samples` colour samples, interleaved or planar; alpha is dropped.

    Grey is 0.299 R + 0.587 G + 0.114 B, rounded for integers, in the dtype of `plane`.
    """
    if samples == 1:
        return plane.reshape(plane.shape[-2:]) if plane.shape[-1:] != (1,) or plane.ndim < 3 else plane[..., 0]
    if plane.shape[-1] != samples:
        plane = np.moveaxis(plane, -3, -1)
    grey = plane[..., :3].astype(np.float64) @ np.array(_ITU_R_601)
    return (np.rint(grey) if plane.dtype.kind in "bui" else grey).astype(plane.dtype)
