"""Figures of a lock's report, as SVG to be put into a page."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.report._lock_run import LockRun

_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#999999"  # Okabe and Ito
_MOST_POINTS = 1500
_STATE_COLOURS = {"LOCKED": "#009e73", "LOCKING": "#56b4e9", "DEGRADED": "#e69f00", "RECOVERY": "#cc79a7"}


def draw_lock(run: LockRun) -> list[tuple[str, str]]:
    """Return headings and figures: error, its histogram, z and command, photons, latency parts."""
    c = run.columns
    if not c["t_s"].size:
        return [("Samples", "<p>None: it ended before the first frame was measured.</p>")]
    t_s = c["t_s"] - float(c["t_s"][0])
    locked = c["state"] == "LOCKED"
    return [
        ("Error over time", _figure(lambda axis: _error(axis, t_s, c))),
        ("Histogram of the error, locked frames", _figure(lambda axis: _histogram(axis, run, locked))),
        ("Measured z and command", _figure(lambda axis: _z(axis, t_s, c))),
        ("Photons", _figure(lambda axis: _line(axis, t_s, c["photons"], "photons a frame", _BLUE, low=0.0))),
        ("Parts of the latency", _figure(lambda axis: _latency(axis, t_s, c))),
    ]


def _error(axis: Any, t_s: NDArray[Any], c: Any) -> None:
    for state in np.unique(c["state"]):
        inside = c["state"] == state
        colour = _STATE_COLOURS.get(str(state), _ORANGE)
        _line(axis, t_s, np.where(inside, 1e3 * c["error_um"], np.nan), "error (nm)", colour, str(state).lower())
    axis.axhline(0, color=_GREY, lw=0.6)
    _legend(axis, t_s)


def _histogram(axis: Any, run: LockRun, locked: NDArray[np.bool_]) -> None:
    error_nm = 1e3 * run.columns["error_um"][locked]
    error_nm = error_nm[np.isfinite(error_nm)]
    if not error_nm.size:
        axis.text(0.5, 0.5, "never locked", ha="center", transform=axis.transAxes)
        return
    axis.hist(error_nm, bins=min(60, max(10, int(np.sqrt(error_nm.size)))), color=_BLUE)
    summary = run.summary
    marks = (
        (summary.rms_focus_um, _GREEN, "RMS of the focus"),
        (summary.bound_um, _ORANGE, "Kalman bound, RMS"),
    )
    for mark_um, colour, what in marks:
        if not np.isfinite(mark_um):
            continue
        for side_nm in (-1e3 * mark_um, 1e3 * mark_um):
            axis.axvline(side_nm, color=colour, lw=1, ls="--")
        axis.plot([], [], color=colour, ls="--", label=what)
        axis.legend(fontsize=8, frameon=False, loc="upper right")
    axis.set_xlabel("error as the lock estimates it (nm)")
    axis.set_ylabel("frames")


def _z(axis: Any, t_s: NDArray[Any], c: Any) -> None:
    _line(axis, t_s, c["z_um"], "z (um)", _GREY, "measured defocus")
    _line(axis, t_s, c["setpoint_um"], "z (um)", _GREEN, "setpoint")
    command = c["command_um"] - float(c["command_um"][0])
    _line(axis, t_s, command, "z (um)", _ORANGE, "command since engage")
    _legend(axis, t_s)


def _latency(axis: Any, t_s: NDArray[Any], c: Any) -> None:
    parts = (
        (c["arrival_s"], _GREY, "until the frame was had"),
        (c["fit_s"] - c["arrival_s"], _BLUE, "fit"),
        (c["answer_s"] - c["fit_s"], _ORANGE, "command"),
    )
    for values, colour, label in parts:
        _line(axis, t_s, np.maximum(1e3 * values, 1e-3), "ms", colour, label)
    axis.set_yscale("log")
    _legend(axis, t_s)


def _line(
    axis: Any,
    t_s: NDArray[Any],
    values: NDArray[Any],
    label: str,
    colour: str,
    name: str = "",
    low: float | None = None,
) -> None:
    t, v = thinned(t_s, np.asarray(values, dtype=np.float64))
    few = np.isfinite(v).sum() < 3
    axis.plot(t, v, color=colour, lw=0.9, label=name or None, marker="." if few else None)
    axis.set_xlabel("time (s)")
    axis.set_ylabel(label)
    if low is not None:
        axis.set_ylim(bottom=low)


def _legend(axis: Any, t_s: NDArray[Any]) -> None:
    axis.legend(fontsize=8, frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    axis.set_xlim(0.0, max(float(t_s[-1]), 1e-3))


def thinned(t_s: NDArray[Any], values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return at most some 1500 points, lowest and highest of each stretch, so that no peak is lost."""
    n = t_s.size
    if n <= _MOST_POINTS:
        return t_s, values
    edges = np.linspace(0, n, _MOST_POINTS // 2 + 1).astype(int)
    kept: list[int] = []
    for first, last in pairwise(edges.tolist()):
        part = values[first:last]
        if np.isfinite(part).any():
            kept += sorted({first + int(np.nanargmin(part)), first + int(np.nanargmax(part))})
        else:
            kept.append(first)
    return t_s[kept], values[kept]


def _figure(draw: Any, height_in: float = 2.6) -> str:
    """Return a figure as SVG; text stays text, ids differ from figure to figure."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "font.size": 9, "path.simplify": True}):
        figure = Figure(figsize=(9.0, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        axis: Any = figure.add_subplot()
        axis.spines[["top", "right"]].set_visible(False)
        draw(axis)
        written = io.StringIO()
        figure.savefig(written, format="svg")
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return f"<figure>{text[text.index('<svg') :]}</figure>"
