"""Steps between consecutive sections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ShiftTable:
    """Steps from one section to the next; `dx_mm` is added to the moving one to lay it on the fixed one."""

    fixed_id: tuple[str, ...]
    moving_id: tuple[str, ...]
    dx_mm: NDArray[np.float64]
    dy_mm: NDArray[np.float64]
    dx_px: NDArray[np.float64] | None = None
    dy_px: NDArray[np.float64] | None = None
