"""The picture of an evaluation: spots over pixels, where errors are, and how true photons and errors are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.puncta import Localizations, PunctaTruth
from parfocal.puncta.evaluation import Matching

_RIGHT, _MISSED, _FALSE, _INK = "#0072b2", "#e69f00", "#d55e00", "#333333"  # any colour vision (Okabe and Ito)


def draw_evaluation(
    path: Path,
    truth: PunctaTruth | Localizations,
    found: Localizations,
    matching: Matching,
    movie: NDArray[Any] | None,
    title: str,
) -> Path:
    """Draw an evaluation as a PNG; return where it was written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 8.2), dpi=108, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 3)
    frame = _busiest(truth, found)
    _overlay(axes[0, 0], truth, found, matching, movie, frame)
    _map(axes[0, 1], figure, truth, matching)
    _offsets(axes[0, 2], matching)
    _photons(axes[1, 0], truth, found, matching)
    _over_photons(axes[1, 1], truth, matching)
    _stated(axes[1, 2], found, matching)
    figure.suptitle(title, fontsize=11, color=_INK)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _busiest(truth: PunctaTruth | Localizations, found: Localizations) -> int:
    frames = np.concatenate([np.asarray(truth.frame), np.asarray(found.frame)])
    return int(np.bincount(frames).argmax()) if frames.size else 0


def _overlay(
    axis: Any,
    truth: PunctaTruth | Localizations,
    found: Localizations,
    matching: Matching,
    movie: NDArray[Any] | None,
    frame: int,
) -> None:
    if movie is not None and frame < len(movie):
        low, high = np.percentile(movie[frame], (1, 99.8))
        axis.imshow(movie[frame], cmap="gray", vmin=low, vmax=max(float(high), float(low) + 1e-9))
    for table, rows, mark, colour, name in (
        (truth, matching.truth_row, "o", _RIGHT, "true, found"),
        (truth, matching.missed_row, "o", _MISSED, "missed"),
        (found, matching.false_row, "x", _FALSE, "false"),
        (found, matching.found_row, "+", _RIGHT, ""),
    ):
        here = rows[np.asarray(table.frame)[rows] == frame]
        face = "none" if mark == "o" else colour
        axis.scatter(
            table.x_px[here],
            table.y_px[here],
            s=60 if mark == "o" else 25,
            marker=mark,
            facecolors=face,
            edgecolors=colour if mark == "o" else None,
            linewidths=1.1,
            label=name or None,
        )
    axis.set_aspect("equal")
    if movie is None:
        axis.invert_yaxis()
    axis.legend(fontsize=7, loc="upper right", framealpha=0.8)
    axis.set_title(f"frame {frame}", fontsize=9)


def _map(axis: Any, figure: Any, truth: PunctaTruth | Localizations, matching: Matching) -> None:
    rows = matching.truth_row
    shown = axis.scatter(
        truth.x_px[rows], truth.y_px[rows], c=np.hypot(matching.dx_nm, matching.dy_nm), s=6, cmap="viridis"
    )
    axis.scatter(truth.x_px[matching.missed_row], truth.y_px[matching.missed_row], s=10, marker="x", c=_MISSED)
    axis.set_aspect("equal")
    axis.invert_yaxis()
    figure.colorbar(shown, ax=axis, label="error, nm", shrink=0.8)
    axis.set_title("where errors are, all frames (x: missed)", fontsize=9)


def _offsets(axis: Any, matching: Matching) -> None:
    axis.scatter(matching.dx_nm, matching.dy_nm, s=4, color=_RIGHT, alpha=0.4)
    axis.axhline(0, color=_INK, lw=0.6)
    axis.axvline(0, color=_INK, lw=0.6)
    limit = matching.tolerance_nm
    if matching.n_matched:
        limit = min(limit, 1.1 * float(np.abs([matching.dx_nm, matching.dy_nm]).max()) + 1e-9)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="dx, nm", ylabel="dy, nm", aspect="equal")
    axis.set_title("found less true", fontsize=9)


def _photons(axis: Any, truth: PunctaTruth | Localizations, found: Localizations, matching: Matching) -> None:
    real, got = truth.photons[matching.truth_row], found.photons[matching.found_row]
    known = (real > 0) & (got > 0)
    axis.set_title("photons", fontsize=9)
    axis.set(xlabel="true", ylabel="found")
    if not known.any():
        axis.text(0.5, 0.5, "not told", ha="center", va="center", transform=axis.transAxes)
        return
    axis.loglog(real[known], got[known], ".", ms=3, color=_RIGHT, alpha=0.5)
    ends = [float(min(real[known].min(), got[known].min())), float(max(real[known].max(), got[known].max()))]
    axis.loglog(ends, ends, color=_INK, lw=0.8)


def _over_photons(axis: Any, truth: PunctaTruth | Localizations, matching: Matching) -> None:
    real = truth.photons[matching.truth_row]
    known = np.isfinite(real) & (real > 0)
    axis.set_title("error over photons", fontsize=9)
    axis.set(xlabel="true photons", ylabel="error, nm")
    if not known.any():
        axis.text(0.5, 0.5, "not told", ha="center", va="center", transform=axis.transAxes)
        return
    error = np.maximum(np.hypot(matching.dx_nm, matching.dy_nm)[known], 1e-3)
    axis.loglog(real[known], error, ".", ms=3, color=_RIGHT, alpha=0.4)


def _stated(axis: Any, found: Localizations, matching: Matching) -> None:
    size_y, size_x = found.pixel_size_um
    rows = matching.found_row
    stated = 1e3 * np.concatenate([found.x_se_px[rows] * size_x, found.y_se_px[rows] * size_y])
    error = np.concatenate([matching.dx_nm, matching.dy_nm])
    known = np.isfinite(stated) & (stated > 0)
    axis.set_title("error over what was stated", fontsize=9)
    axis.set_xlabel("standard errors")
    if not known.any():
        axis.text(0.5, 0.5, "not told", ha="center", va="center", transform=axis.transAxes)
        return
    bins = np.linspace(-5, 5, 41)
    axis.hist(np.clip(error[known] / stated[known], -5, 5), bins, density=True, color=_RIGHT, alpha=0.6)
    axis.plot(bins, np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi), color=_INK, lw=1)
