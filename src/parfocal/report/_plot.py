"""What a figure shows, before it is drawn: into a page as SVG to zoom into, for a paper by Matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#808080"  # Okabe and Ito
SKY, YELLOW, PINK = "#56b4e9", "#e69f00", "#cc79a7"


@dataclass(frozen=True, eq=False)
class Line:
    """A line, broken where it is not a number; or points.

    Attributes
    ----------
    x, y : ndarray of shape (n,)
        In the units of the axes.
    colour : str
        As `#0072b2`.
    name : str
        For the legend; empty leaves it out.
    is_points : bool
        Dots instead of a line.
    width_px : float
        Of the line or the dots.
    """

    x: Floats
    y: Floats
    colour: str
    name: str = ""
    is_points: bool = False
    width_px: float = 1.2


@dataclass(frozen=True)
class Band:
    """A stretch of x that is shaded, such as the time in one state."""

    x0: float
    x1: float
    colour: str
    name: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey pixels under the lines; `extent` is (x of its left edge, right, y of its upper edge, lower)."""

    pixels: NDArray[np.uint8]
    extent: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Plot:
    """One figure.

    Attributes
    ----------
    name : str
        Of the file, and of the place in the page: letters, digits and `_`.
    title, x_label, y_label : str
        In words, with units.
    lines, bands : tuple
        What is drawn, the later above the former; bands lie below all.
    picture : Picture, optional
        With one, y grows downwards and both axes have one scale.
    y_range : (float, float), optional
        Default: from what is drawn.
    y_names : tuple of str
        Instead of numbers at y = 0, 1, ...; those grow downwards.
    height_px : int
        Of the axes in the page, where neither picture nor names say it.
    note : str
        What a reader has to know, such as what was thinned.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    picture: Picture | None = None
    y_range: tuple[float, float] | None = None
    y_names: tuple[str, ...] = ()
    height_px: int = 212
    note: str = ""

    @property
    def ranges(self) -> tuple[float, float, float, float]:
        """Left, right, lower and upper end of the axes; lower is the larger number under a picture."""
        if self.picture is not None:
            left, right, upper, lower = self.picture.extent
            return left, right, lower, upper
        ends = [e for band in self.bands for e in (band.x0, band.x1)]
        left, right = _ends([*(line.x for line in self.lines), np.array(ends)])
        if self.y_names:
            return left, right, len(self.y_names) - 0.5, -0.5
        if self.y_range is not None:
            return left, right, *self.y_range
        low, high = _ends([line.y for line in self.lines])
        margin = 0.05 * (high - low)
        return left, right, low - margin, high + margin


def _ends(values: list[Floats]) -> tuple[float, float]:
    finite = [v[np.isfinite(v)] for v in values]
    finite = [v for v in finite if v.size]
    if not finite:
        return 0.0, 1.0
    low, high = min(float(v.min()) for v in finite), max(float(v.max()) for v in finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def thin(x: NDArray[Any], y: NDArray[Any], most: int) -> tuple[Floats, Floats]:
    """Return at most some `most` points: of each stretch the lowest and the highest, so that no peak is lost.

    A stretch with a break in it keeps a break.
    """
    n = x.size
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if n <= most:
        return x, y
    edges = np.linspace(0, n, max(most // 3, 1) + 1).astype(int)
    kept: list[int] = []
    for first, last in pairwise(edges.tolist()):
        part = y[first:last]
        finite = np.isfinite(part)
        some = {first + int(np.argmin(finite))} if not finite.all() else set[int]()
        if finite.any():
            some |= {first + int(np.nanargmin(part)), first + int(np.nanargmax(part))}
        kept += sorted(some)
    return x[kept], y[kept]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) between two ends."""
    span = abs(high - low)
    if not span > 0 or not np.isfinite(span):
        return []
    raw = span / max(most, 1)
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(power * next(k for k in (1, 2, 5, 10) if k * power >= raw * (1 - 1e-9)))
    first = int(np.ceil(min(low, high) / step - 1e-9))
    last = int(np.floor(max(low, high) / step + 1e-9))
    return [k * step for k in range(first, last + 1)]
