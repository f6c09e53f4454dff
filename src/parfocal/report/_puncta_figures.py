"""Figures of puncta, their tracks and their calcium, for a page or a paper: SVG and PDF whose text stays text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.puncta.calcium import lagged, pearson
from parfocal.puncta.tables import PunctaResults
from parfocal.report._plot_paper import PAPER_STYLE
from parfocal.report._puncta_numbers import co_occurrence, precision_nm

Floats = NDArray[np.float64]

_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#999999"  # Okabe and Ito
_MOST_SHOWN = 60
_MAX_LAG = 10

Draw = Callable[[Any, PunctaResults], None]


def draw_puncta(folder: Path, results: PunctaResults) -> list[Path]:
    """Draw all figures there are numbers for, each as SVG and PDF; return their paths.

    `trajectories`, `localization_precision`; with calcium `calcium_correlation` and `co_occurrence`.
    """
    figures: dict[str, tuple[Draw, float]] = {"localization_precision": (_precision, 3.3)}
    if results.tracks.n_tracks:
        figures["trajectories"] = (_trajectories, 3.5)
    if results.tracks.n_tracks and np.isfinite(results.dff).any():
        figures["calcium_correlation"] = (_correlation, 7.0)
    if results.events is not None and results.tracks.n_tracks:
        figures["co_occurrence"] = (_co_occurrence, 7.0)
    written: list[Path] = []
    for name, (draw, width_in) in figures.items():
        written += _write(folder, name, lambda figure, draw=draw: draw(figure, results), width_in)
    return written


def _write(folder: Path, name: str, draw: Callable[[Any], None], width_in: float) -> list[Path]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written: list[Path] = []
    with mpl.rc_context(PAPER_STYLE):
        figure = Figure(figsize=(width_in, 3.0), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        for ending, facts in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            path = folder / f"{name}.{ending}"
            with write_atomically(path) as temporary:
                figure.savefig(temporary, format=ending, metadata=facts)
            written.append(path)
    return written


def _trajectories(figure: Any, results: PunctaResults) -> None:
    axis = figure.add_subplot()
    spots, track = results.localizations, results.tracks.track
    none = np.zeros(results.tracks.n_tracks, bool)
    mobile = results.by_track.get("is_mobile", none).astype(bool)
    judged = results.by_track.get("is_judged", none if "is_mobile" not in results.by_track else ~none).astype(bool)
    for name, which, colour in (
        ("not judged", ~judged, _GREY),
        ("immobile", judged & ~mobile, _BLUE),
        ("mobile", judged & mobile, _ORANGE),
    ):
        x, y = _lines(spots.x_um, spots.y_um, spots.frame, track, which)
        if which.any():
            axis.plot(x, y, color=colour, lw=0.7, label=f"{name} ({which.sum()})")
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.set_xlabel("x (µm)")
    axis.set_ylabel("y (µm)")
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=7)


def _lines(x: Floats, y: Floats, frame: Any, track: Any, which: Any) -> tuple[Floats, Floats]:
    """Return the paths of some tracks as one line with breaks."""
    rows = np.flatnonzero(track >= 0)
    rows = rows[which[track[rows]]]
    rows = rows[np.lexsort((frame[rows], track[rows]))]
    breaks = np.flatnonzero(np.diff(track[rows])) + 1
    return np.insert(x[rows], breaks, np.nan), np.insert(y[rows], breaks, np.nan)


def _precision(figure: Any, results: PunctaResults) -> None:
    axis = figure.add_subplot()
    values = precision_nm(results.localizations)
    values = values[np.isfinite(values)]
    if not values.size:
        axis.text(0.5, 0.5, "no standard errors told", ha="center", transform=axis.transAxes)
        return
    middle = float(np.median(values))
    axis.hist(values[values <= np.percentile(values, 99)], bins=40, color=_BLUE)
    axis.axvline(middle, color=_ORANGE, lw=1, ls="--", label=f"median {middle:.1f} nm")
    axis.set_xlabel("localization precision (nm)")
    axis.set_ylabel("puncta")
    axis.legend(frameon=False, loc="upper right")


def _correlation(figure: Any, results: PunctaResults) -> None:
    light, calcium = results.table(results.localizations.photons), results.table(results.dff)
    longest = np.argsort(-np.isfinite(calcium).sum(axis=1), kind="stable")[:_MOST_SHOWN]
    curves = np.array([lagged(light[k], calcium[k], _MAX_LAG) for k in longest])
    peak = np.nan_to_num(curves[:, _MAX_LAG], nan=-2)
    order = np.argsort(-peak, kind="stable")
    pairs = np.array([[pearson(calcium[a], calcium[b]) for b in longest[order]] for a in longest[order]])
    left, right = figure.subplots(1, 2)
    half = _MAX_LAG + 0.5
    _heat(figure, left, curves[order], (-half, half, len(order) - 0.5, -0.5), "brightness and calcium")
    left.set_xlabel("calcium later by (frames)")
    left.set_ylabel("puncta, by correlation")
    _heat(figure, right, pairs, None, "calcium of two puncta")
    right.set_xlabel("puncta")
    right.set_ylabel("puncta")


def _heat(figure: Any, axis: Any, values: Floats, extent: Any, title: str) -> None:
    image = axis.imshow(
        values, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto", extent=extent, interpolation="nearest"
    )
    axis.set_title(title, fontsize=8)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, label="Pearson r", shrink=0.8)


def _co_occurrence(figure: Any, results: PunctaResults) -> None:
    found = co_occurrence(results)
    left, middle, right = figure.subplots(1, 3)
    chance = found["by_chance"]
    left.hist(100 * chance, bins=20, color=_GREY, label="shifted in time")
    left.axvline(100 * found["observed"], color=_ORANGE, lw=1.5, label="observed")
    left.set_xlabel("bright frames with calcium (%)")
    left.set_ylabel("shifts")
    left.set_title(f"odds ratio {found['odds_ratio']:.2f}, p = {found['p']:.3g}", fontsize=8)
    left.legend(frameon=False, loc="upper right", fontsize=7)
    names = ("own", "beside", "waves")
    middle.bar(names, [found[f"n_{name}"] for name in names], color=(_GREEN, _GREY, _BLUE))
    middle.set_ylabel("calcium events")
    groups = [(n, found["rates_hz"][n]) for n in ("mobile", "immobile") if len(found["rates_hz"][n])]
    groups = groups or [("all", found["rates_hz"]["all"])]
    for place, (name, rates) in enumerate(groups):
        spread = np.linspace(-0.25, 0.25, len(rates))
        colour = {"mobile": _ORANGE, "immobile": _BLUE}.get(name, _GREEN)
        right.plot(place + spread, np.sort(rates), ".", color=colour, ms=3)
        right.hlines(np.mean(rates), place - 0.3, place + 0.3, color="black", lw=1)
    right.set_xticks(range(len(groups)), [f"{name} ({len(rates)})" for name, rates in groups])
    right.set_ylabel("events a second" if np.isfinite(results.frame_interval_s) else "events a frame")
