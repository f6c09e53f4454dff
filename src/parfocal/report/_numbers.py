"""Numbers as JSON and as people read them."""

from __future__ import annotations

import math


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
