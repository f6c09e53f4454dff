"""A figure as SVG inside a page: seen without scripts, zoomed with the page's own (see `_page_script`)."""

from __future__ import annotations

import base64
import json
from html import escape

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from parfocal.report._plot import Floats, Line, Plot, ticks

_WIDTH, _PICTURE = 960, 560  # px; the side of a picture at most
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 12, 8, 40
_DECIMALS = 2


def plot_html(plot: Plot) -> str:
    """Return a `<figure>`: title, the drawing with what the script needs to zoom it, legend, note."""
    left, right, lower, upper = plot.ranges
    width, height = _area(plot)
    left_px = _left(plot)
    box = (left_px, _TOP, width, height)
    label = escape(plot.title)
    drawn = [
        f'<svg viewBox="0 0 {left_px + width + _RIGHT} {_TOP + height + _BOTTOM}" role="img" aria-label="{label}" '
        f'tabindex="0" data-box="{" ".join(map(str, box))}" data-full="{left!r} {right!r} {lower!r} {upper!r}" '
        f'data-equal="{int(plot.picture is not None)}" data-names="{escape(json.dumps(plot.y_names))}">',
        f'<g class="axes">{_axes(plot, box)}</g>',
        f'<svg class="area" x="{left_px}" y="{_TOP}" width="{width}" height="{height}"><g class="data">',
        *_data(plot, width, height),
        "</g></svg>",
        f'<rect class="frame" x="{left_px}" y="{_TOP}" width="{width}" height="{height}"/>',
        f'<text class="label" x="{left_px + width / 2}" y="{_TOP + height + 34}">{escape(plot.x_label)}</text>',
        f'<text class="label" transform="translate(14 {_TOP + height / 2}) rotate(-90)">',
        f"{escape(plot.y_label)}</text>",
        "</svg>",
    ]
    kind = "plot picture" if plot.picture is not None else "plot"
    note = f'<p class="thinned">{escape(plot.note)}</p>' if plot.note else ""
    return (
        f'<figure class="{kind}" id="{plot.name}"><figcaption>{label}</figcaption>'
        f"{''.join(drawn)}{_legend(plot)}{note}</figure>\n"
    )


def data_uri(pixels: NDArray[np.uint8], level: int = 85) -> str:
    """Return grey pixels as a JPEG inside an address."""
    encoded = imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=level)
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")


def _left(plot: Plot) -> int:
    return max(_LEFT, 16 + 7 * max((len(name) for name in plot.y_names), default=0))


def _area(plot: Plot) -> tuple[int, int]:
    if plot.y_names:
        return _WIDTH - _left(plot) - _RIGHT, 12 + 22 * len(plot.y_names)
    if plot.picture is None:
        return _WIDTH - _left(plot) - _RIGHT, plot.height_px
    x0, x1, y0, y1 = plot.picture.extent
    wide, high = abs(x1 - x0), abs(y1 - y0)
    scale = _PICTURE / max(wide, high)
    return max(1, round(wide * scale)), max(1, round(high * scale))


def _axes(plot: Plot, box: tuple[int, int, int, int]) -> str:
    x, y, width, height = box
    left, right, lower, upper = plot.ranges
    parts: list[str] = []
    for value in ticks(left, right, 8 if plot.picture is None else 5):
        at = x + width * (value - left) / (right - left)
        parts.append(
            f'<path d="M{at:.1f} {y}v{height}"/><text x="{at:.1f}" y="{y + height + 16}">{value:.6g}</text>'
        )
    named = [(float(k), name) for k, name in enumerate(plot.y_names)]
    for value, name in named or [(value, f"{value:.6g}") for value in ticks(lower, upper, 5)]:
        at = y + height * (value - upper) / (lower - upper)
        parts.append(
            f'<path d="M{x} {at:.1f}h{width}"/><text class="y" x="{x - 6}" y="{at + 4:.1f}">{escape(name)}</text>'
        )
    return "".join(parts)


def _data(plot: Plot, width: int, height: int) -> list[str]:
    left, right, lower, upper = plot.ranges
    drawn: list[str] = []
    if plot.picture is not None:
        drawn.append(
            f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="{data_uri(plot.picture.pixels)}"/>'
        )
    for band in plot.bands:
        x0, x1 = (width * (e - left) / (right - left) for e in (band.x0, band.x1))
        drawn.append(
            f'<rect x="{x0:.2f}" width="{max(x1 - x0, 0.3):.2f}" height="{height}" fill="{band.colour}" '
            f'class="band"><title>{escape(band.name)}</title></rect>'
        )
    for line in plot.lines:
        x = width * (line.x - left) / (right - left)
        y = height * (line.y - upper) / (lower - upper)
        drawn.append(
            f'<path class="{"points" if line.is_points else "line"}" stroke="{line.colour}" '
            f'stroke-width="{line.width_px}" d="{_path(line, x, y)}"/>'
        )
    return drawn


def _path(line: Line, x: Floats, y: Floats) -> str:
    known = np.isfinite(x) & np.isfinite(y)
    texts = [f"{a:.{_DECIMALS}f} {b:.{_DECIMALS}f}" for a, b in zip(x[known], y[known])]
    if line.is_points:
        return "".join(f"M{text}h0" for text in texts)  # a round cap of no length: as large however far one zooms
    begins = np.flatnonzero(known)
    breaks = np.diff(begins, prepend=-2) > 1
    return "".join(f"{'M' if first else 'L'}{text}" for text, first in zip(texts, breaks.tolist()))


def _legend(plot: Plot) -> str:
    named: dict[str, str] = {}
    for thing in (*plot.lines, *plot.bands):
        if thing.name:
            named.setdefault(thing.name, thing.colour)
    if not named:
        return ""
    items = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in named.items()
    )
    return f'<p class="legend">{items}</p>'
