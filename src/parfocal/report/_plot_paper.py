"""A figure for a paper: SVG whose text stays text, or PDF with its fonts in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.report._plot import Plot

FigureKind = Literal["svg", "pdf"]

PAPER_STYLE: Any = {
    "svg.fonttype": "none",  # text can be edited
    "pdf.fonttype": 42,  # TrueType, embedded: the same there
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "parfocal",  # the same numbers, the same file
}
_WIDTH_IN = 7.0  # of a page with two columns


def write_figures(plots: Iterable[Plot], folder: Path, kind: FigureKind) -> list[Path]:
    """Write each figure into a folder as `<name>.svg` or `.pdf`; return the paths.

    Raises
    ------
    BadInputError
        It is no kind of figure that can be written.
    """
    if kind not in ("svg", "pdf"):
        raise BadInputError(f"figures as {kind!r}: svg or pdf was expected")
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(plot, folder / f"{plot.name}.{kind}", kind) for plot in plots]


def _write(plot: Plot, path: Path, kind: FigureKind) -> Path:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(PAPER_STYLE):
        figure = Figure(
            figsize=(3.5, 3.7) if plot.picture is not None else (_WIDTH_IN, 0.9 + plot.height_px / 150),
            layout="constrained",
        )
        FigureCanvasAgg(figure)
        axis: Any = figure.add_subplot()
        _draw(axis, plot)
        if any(thing.name for thing in (*plot.lines, *plot.bands)):
            axis.legend(frameon=False, fontsize=7, ncols=5, loc="lower left", bbox_to_anchor=(0, 1))
        facts = {"Date": None} if kind == "svg" else {"CreationDate": None}
        with write_atomically(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=facts)
    return path


def _draw(axis: Any, plot: Plot) -> None:
    left, right, lower, upper = plot.ranges
    if plot.picture is not None:
        x0, x1, y0, y1 = plot.picture.extent
        axis.imshow(plot.picture.pixels, cmap="gray", vmin=0, vmax=255, extent=(x0, x1, y1, y0))
        axis.set_aspect("equal")
    named: set[str] = set()
    for band in plot.bands:
        axis.axvspan(band.x0, band.x1, color=band.colour, alpha=0.2, lw=0, label=_once(band.name, named))
    for line in plot.lines:
        style: dict[str, Any] = (
            {"ls": "", "marker": ".", "ms": line.width_px} if line.is_points else {"lw": 0.6 * line.width_px}
        )
        axis.plot(line.x, line.y, color=line.colour, label=_once(line.name, named), **style)
    axis.set_xlim(left, right)
    axis.set_ylim(lower, upper)
    axis.set_xlabel(plot.x_label)
    axis.set_ylabel(plot.y_label)
    if plot.y_names:
        axis.set_yticks(range(len(plot.y_names)), plot.y_names)


def _once(name: str, named: set[str]) -> str | None:
    """Return a name for the legend, but only the first time."""
    if not name or name in named:
        return None
    named.add(name)
    return name
