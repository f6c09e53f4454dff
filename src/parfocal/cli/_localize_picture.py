"""The picture of what was localized: spots on a frame, how many in each, photons and standard errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parfocal.cli._localize_source import Movie
from parfocal.files import write_atomically
from parfocal.puncta import Localizations

_ONE, _SEVERAL, _INK = "#e69f00", "#56b4e9", "#333333"  # told apart with any colour vision (Okabe and Ito)


def draw_localizations(path: Path, movie: Movie, spots: Localizations, facts: dict[str, Any]) -> Path:
    """Draw a PNG of the frame with most spots, rings about them, and the numbers; return where it was written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.bincount(spots.frame, minlength=movie.n_frames)
    shown = int(counts.argmax())
    frame = np.asarray(next(pixels for k, pixels in enumerate(movie.frames()) if k == shown), np.float32)
    here = spots.take(spots.frame == shown)
    figure = Figure(figsize=(11.0, 6.6), dpi=108, layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.7, 1.0))
    left, right = halves
    image: Any = left.subplots()
    low, high = np.percentile(frame, (1, 99.8))
    image.imshow(frame, cmap="gray", vmin=low, vmax=max(float(high), float(low) + 1e-9))
    for several, colour in ((False, _ONE), (True, _SEVERAL)):
        which = (here.n_emitters > 1) == several
        image.scatter(
            here.x_px[which], here.y_px[which], s=60, facecolors="none", edgecolors=colour, linewidths=0.8
        )
    image.set_xticks([])
    image.set_yticks([])
    image.set_title(f"frame {shown}: {len(here)} puncta (blue: fitted with neighbours)", fontsize=9, color=_INK)
    axes: Any = right.subplots(3, 1)
    axes[0].plot(np.arange(counts.size), counts, color=_ONE, linewidth=1.0, marker="." if counts.size < 20 else "")
    axes[0].set_xlabel("frame", fontsize=8)
    axes[0].set_ylabel("puncta", fontsize=8)
    _histogram(axes[1], spots.photons, "photoelectrons")
    _histogram(axes[2], spots.x_se_px * spots.pixel_size_um[1] * 1e3, "standard error of x, nm")
    for axis in axes:
        axis.tick_params(labelsize=7)
    name = Path(str(facts["source"])).name
    figure.suptitle(f"{name}: {len(spots)} puncta in {movie.n_frames} frames", fontsize=11, color=_INK)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _histogram(axis: Any, values: Any, label: str) -> None:
    known = values[np.isfinite(values) & (values > 0)]
    if known.size:
        axis.hist(known, bins=np.linspace(0.0, float(np.percentile(known, 99)), 41), color=_ONE)
    axis.set_xlabel(label, fontsize=8)
