"""Where puncta go: every step of every path, in compiled code."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

IMMOBILE, BROWNIAN, CONFINED, DIRECTED = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def walk(
    path: Any,
    origin: Any,
    dt_s: Any,
    doing: Any,
    d_um2_per_s: Any,
    well_um: Any,
    velocity_um_per_s: Any,
    draws: Any,
    low_um: Any,
    high_um: Any,
    inside: Any,
    corner_um: Any,
    cell_um: Any,
) -> None:
    """Fill paths `[punctum, step, (y, x)]`, um, forward and backward from the step `origin` that is told.

    Parameters
    ----------
    path : float64[n, steps, 2]
        At `origin`, where each begins.
    origin : int64[n]
    dt_s : float64[steps - 1]
    doing : uint8[n, steps]
        IMMOBILE, BROWNIAN, CONFINED or DIRECTED, at each step.
    d_um2_per_s, well_um : float64[n]
    velocity_um_per_s : float64[n, 2]
    draws : float64[n, steps, 2]
        Standard normal.
    low_um, high_um : float64[2]
        Borders, which reflect.
    inside : uint8[rows, columns]
        0 where none may step, on a grid of `cell_um` from `corner_um`; one cell: no outline.
    """
    n, steps, _ = path.shape
    has_outline = inside.size > 1
    for i in range(n):
        for direction in (1, -1):
            at = origin[i]
            v_y, v_x = velocity_um_per_s[i, 0] * direction, velocity_um_per_s[i, 1] * direction
            y, x = path[i, at, 0], path[i, at, 1]
            well_y, well_x = y, x
            before = doing[i, at]
            while 0 <= at + direction < steps:
                dt = dt_s[at] if direction > 0 else dt_s[at - 1]
                at += direction
                now = doing[i, at]
                if now == CONFINED and before != CONFINED:
                    well_y, well_x = y, x
                before = now
                new_y, new_x = y, x
                if now == CONFINED:
                    keep = math.exp(-dt * d_um2_per_s[i] / well_um[i] ** 2)
                    spread = well_um[i] * math.sqrt(1.0 - keep * keep)
                    new_y = well_y + (y - well_y) * keep + spread * draws[i, at, 0]
                    new_x = well_x + (x - well_x) * keep + spread * draws[i, at, 1]
                elif now != IMMOBILE:
                    spread = math.sqrt(2.0 * d_um2_per_s[i] * dt)
                    new_y = y + spread * draws[i, at, 0]
                    new_x = x + spread * draws[i, at, 1]
                    if now == DIRECTED:
                        new_y += v_y * dt
                        new_x += v_x * dt
                new_y, turned_y = _reflected(new_y, low_um[0], high_um[0])
                new_x, turned_x = _reflected(new_x, low_um[1], high_um[1])
                v_y, v_x = v_y * turned_y, v_x * turned_x
                if has_outline and now != IMMOBILE:
                    row = int((new_y - corner_um[0]) / cell_um[0] + 0.5)
                    column = int((new_x - corner_um[1]) / cell_um[1] + 0.5)
                    row = min(max(row, 0), inside.shape[0] - 1)
                    column = min(max(column, 0), inside.shape[1] - 1)
                    if inside[row, column] == 0:
                        new_y, new_x = y, x
                        v_y, v_x = -v_y, -v_x
                y, x = new_y, new_x
                path[i, at, 0], path[i, at, 1] = y, x


@njit(cache=True, inline="always")
def _reflected(value: Any, low: Any, high: Any) -> Any:
    """Return the place after reflections, and -1 where the direction has turned."""
    turned = 1.0
    while value < low or value > high:
        value = 2.0 * low - value if value < low else 2.0 * high - value
        turned = -turned
    return value, turned
