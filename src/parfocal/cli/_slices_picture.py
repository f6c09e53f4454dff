"""The picture of a selection: score curve, correlation matrix, the image made, and the frames it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.slices.selection import BestImage

_KEPT, _LEFT_OUT, _INK = "#0072b2", "#d55e00", "#333333"  # told apart with any colour vision (Okabe and Ito)
_MOST_FRAMES = 12


def draw_selection(path: Path, frames: NDArray[Any], found: BestImage, title: str) -> Path:
    """Draw a selection as a PNG; return where it was written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 6.4), dpi=108, layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.7, 1.0))
    curve, matrix, image = halves[0].subplots(1, 3)
    _draw_curve(curve, found)
    _draw_matrix(matrix, found)
    _draw_image(image, found)
    shown = _shown(found)
    row: Any = halves[1].subplots(1, len(shown), squeeze=False)[0]
    low, high = np.nanpercentile(frames, (1, 99.8))
    for axis, i in zip(row, shown):
        kept = bool(found.selection.keep[i])
        axis.imshow(frames[i], cmap="gray", vmin=low, vmax=max(float(high), float(low) + 1e-9))
        axis.set_title(f"{i} {'kept' if kept else 'out'}", fontsize=8, color=_KEPT if kept else _LEFT_OUT)
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set(color=_KEPT if kept else _LEFT_OUT, linewidth=2.0)
    selection = found.selection
    figure.suptitle(
        f"{title.strip()}: {selection.rule}, {selection.keep.sum()} of {selection.keep.size} frames kept",
        fontsize=11,
        color=_INK,
    )
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _shown(found: BestImage) -> list[int]:
    """Return the frames to show: those kept and their neighbours first, evenly thinned to what fits."""
    keep = found.selection.keep
    near = keep.copy()
    near[:-1] |= keep[1:]
    near[1:] |= keep[:-1]
    frames = np.flatnonzero(near) if near.any() else np.arange(keep.size)
    if frames.size > _MOST_FRAMES:
        frames = frames[np.unique(np.linspace(0, frames.size - 1, _MOST_FRAMES).round().astype(int))]
    return [int(i) for i in frames]


def _draw_curve(axis: Any, found: BestImage) -> None:
    evidence, keep = found.evidence, found.selection.keep
    order = np.argsort(evidence.z_um, kind="stable")
    axis.plot(evidence.z_um[order], evidence.sharpness[order], color="#999999", lw=1.0, zorder=1)
    for chosen, colour, name in ((keep, _KEPT, "kept"), (~keep, _LEFT_OUT, "left out")):
        axis.scatter(evidence.z_um[chosen], evidence.sharpness[chosen], s=18, color=colour, label=name, zorder=2)
    threshold = found.selection.threshold
    by_sharpness = found.selection.rule in (
        "peak_relative",
        "mad_sharpness",
        "otsu",
        "hybrid",
        "sharpness_or_residual",
    )
    if by_sharpness and np.isfinite(threshold):
        axis.axhline(threshold, color=_INK, lw=1.0, ls="--")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8, colors=_INK)
    axis.set_xlabel("z (µm) or frame", fontsize=8, color=_INK)
    axis.set_title(f"{evidence.score_name} along the stack", fontsize=9, color=_INK)
    axis.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_matrix(axis: Any, found: BestImage) -> None:
    matrix = found.evidence.matrix
    if matrix is None:
        axis.set_axis_off()
        return
    drawn = axis.imshow(matrix, cmap="cividis", vmax=1.0, interpolation="nearest")
    axis.figure.colorbar(drawn, ax=axis, shrink=0.75).ax.tick_params(labelsize=7)
    kept = np.asarray(found.selection.frames)
    axis.scatter(kept, kept, s=14, marker="s", color="white", edgecolors=_INK, linewidths=0.5)
    axis.tick_params(labelsize=8, colors=_INK)
    axis.set_title("correlation of frames (squares: kept)", fontsize=9, color=_INK)


def _draw_image(axis: Any, found: BestImage) -> None:
    axis.set_axis_off()
    if found.composed is None:
        axis.set_title("nothing survived", fontsize=9, color=_LEFT_OUT)
        return
    low, high = np.nanpercentile(found.composed.image, (1, 99.8))
    axis.imshow(found.composed.image, cmap="gray", vmin=low, vmax=max(float(high), float(low) + 1e-9))
    axis.set_title("one image of those kept", fontsize=9, color=_INK)
