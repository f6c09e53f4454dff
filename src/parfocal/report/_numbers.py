"""Numbers as JSON and as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: NaN and infinity become null, arrays lists."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def nm(value_um: float | None) -> str:
    """Return um as text in nm."""
    return "–" if value_um is None or not math.isfinite(value_um) else f"{1e3 * value_um:.2f} nm"


def ms(value_s: float | None) -> str:
    """Return s as text in ms."""
    return "–" if value_s is None or not math.isfinite(value_s) else f"{1e3 * value_s:.2f} ms"


def percent(share: float | None) -> str:
    """Return a share as text in percent; what is not whole is never rounded up to 100 %."""
    if share is None or not math.isfinite(share):
        return "–"
    shown = math.floor(share * 1e4) / 1e2 if share < 1 else 100.0
    return f"{shown:g} %"
