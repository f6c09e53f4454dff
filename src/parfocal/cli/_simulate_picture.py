"""The picture of a sample: a frame of each channel, where puncta went, and what their calcium did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.puncta import PunctaTruth
from parfocal.puncta.simulation import MOTIONS, read_sample

_INK, _PUNCTUM, _CALCIUM = "#333333", "#e69f00", "#0072b2"
_COLOURS = dict(zip(MOTIONS, ("#999999", "#0072b2", "#009e73", "#d55e00")))  # Okabe and Ito: told apart by anyone
_MOST_TRACES = 8


def draw_sample(path: Path, folder: Path) -> Path:
    """Draw a sample as a PNG; return where it was written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    recording = read_sample(folder)
    truth = recording.truth
    figure = Figure(figsize=(13.0, 4.6), dpi=108, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 4, squeeze=False)[0]
    middle = recording.movie.shape[0] // 2
    if truth.is_calcium_on.any():  # the frame in which most is going on
        middle = int(np.argmax(np.bincount(truth.frame, truth.calcium)))
    _show(axes[0], recording.movie[middle], f"puncta, frame {middle}")
    here = (truth.frame == middle) & truth.is_visible
    axes[0].scatter(truth.x_px[here], truth.y_px[here], s=60, facecolors="none", edgecolors=_PUNCTUM, lw=0.9)
    _draw_ways(axes[1], truth, recording.movie.shape)
    if recording.calcium is not None:
        _show(axes[2], recording.calcium[middle], f"calcium, frame {middle}")
        on = here & truth.is_calcium_on
        axes[2].scatter(truth.x_px[on], truth.y_px[on], s=90, facecolors="none", edgecolors=_CALCIUM, lw=1.1)
        _draw_traces(axes[3], truth)
    else:
        axes[2].set_axis_off()
        axes[3].set_axis_off()
    figure.suptitle(f"{folder.name}, simulated", fontsize=11, color=_INK)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _show(axis: Any, image: NDArray[Any], title: str) -> None:
    low, high = np.percentile(image, (1, 99.8))
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(float(high), float(low) + 1))
    axis.set_title(title, fontsize=9, color=_INK)
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_ways(axis: Any, truth: PunctaTruth, shape: tuple[int, ...]) -> None:
    for punctum in np.unique(truth.punctum):
        rows = truth.punctum == punctum
        axis.plot(truth.x_px[rows], truth.y_px[rows], color="#cccccc", lw=0.5, zorder=1)
    for motion, colour in _COLOURS.items():
        rows = truth.motion == motion
        axis.scatter(truth.x_px[rows], truth.y_px[rows], s=1.5, color=colour, label=motion, zorder=2)
    axis.set_xlim(-0.5, shape[2] - 0.5)
    axis.set_ylim(shape[1] - 0.5, -0.5)
    axis.set_aspect("equal")
    axis.set_title("where they went", fontsize=9, color=_INK)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(fontsize=7, frameon=False, markerscale=4, loc="upper right")


def _draw_traces(axis: Any, truth: PunctaTruth) -> None:
    total = np.bincount(truth.punctum, truth.calcium)
    order = np.argsort(-total, kind="stable")[: min(_MOST_TRACES, int((total > 0).sum()))]
    step = max(1.0, float(truth.calcium.max(initial=0.0))) * 1.1
    for row, punctum in enumerate(order.tolist()):
        rows = truth.punctum == punctum
        t_s = truth.frame[rows] * truth.frame_interval_s
        axis.plot(t_s, truth.calcium[rows] + row * step, color=_CALCIUM, lw=0.9)
        axis.text(0, row * step, f"{punctum} ", fontsize=7, ha="right", color=_INK)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.set_yticks([])
    axis.tick_params(labelsize=8, colors=_INK)
    axis.set_xlabel("s", fontsize=8, color=_INK)
    axis.set_title("dF/F0 of their events", fontsize=9, color=_INK)
