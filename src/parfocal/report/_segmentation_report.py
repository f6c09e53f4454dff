"""The picture and the page of a segmentation: what was found, outlined on the projection, and its numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.report._page import page, table
from parfocal.segmentation import Segmentation
from parfocal.segmentation.backends import ObjectTable

_OUTLINE = "#e69f00"
_SHOWN = ("volume_um3", "diameter_um", "elongation", "solidity", "contact", "n_planes")


def draw_segmentation(path: Path, image: NDArray[np.generic], segmentation: Segmentation, title: str) -> Path:
    """Draw the maximum along z and along y with the outlines of all objects; return where it was written."""
    pixels, labels = np.asarray(image), segmentation.labels
    along_z, along_y = (Projection(pixels.max(axis=a), labels.max(axis=a)) for a in (0, 1))
    return draw_projections(path, along_z, along_y, segmentation.voxel_size_um, title)


@dataclass(frozen=True)
class Projection:
    """Maxima of a volume and of its labels along an axis: what is left of both is `[y, x]` or `[z, x]`."""

    image: NDArray[np.generic]
    labels: NDArray[np.int32]


def draw_projections(
    path: Path, along_z: Projection, along_y: Projection, voxel_size_um: tuple[float, float, float], title: str
) -> Path:
    """Draw projections as `draw_segmentation` does, of a volume that is not in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    z_um, y_um, x_um = voxel_size_um
    height, width = along_z.image.shape
    depth = along_y.image.shape[0]
    sides = depth > 1
    ratios = (height * y_um, depth * z_um) if sides else (1.0,)
    figure = Figure(figsize=(8.0, 8.0 * sum(ratios) / (width * x_um) + 0.8 if sides else 8.4), dpi=120)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    for axis, one, aspect, name in zip(axes, (along_z, along_y), (y_um / x_um, z_um / x_um), "yz"):
        seen = one.image.astype(np.float32)
        low, high = np.percentile(seen, (1, 99.8))
        axis.imshow(seen, cmap="gray", vmin=low, vmax=max(float(high), float(low) + 1e-9), aspect=aspect)
        axis.contour(_outlines(one.labels), levels=[0.5], colors=_OUTLINE, linewidths=0.8)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_ylabel(name)
    axes[0].set_title(title, fontsize=10)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def write_segmentation_page(
    path: Path,
    segmentation: Segmentation,
    objects: ObjectTable,
    facts: Mapping[str, str],
    picture: Path | None,
    *,
    time_s: float | None = None,
) -> Path:
    """Write one HTML page: the facts, the remarks, the spread of each measure, the picture."""
    columns = {name: column for name, column in objects.columns().items() if len(objects) and _is_measure(name)}
    rows = [
        (name, *(f"{v:.4g}" for v in np.nanpercentile(column, (5, 50, 95)))) for name, column in columns.items()
    ]
    content = [("What was done", table(facts.items()))]
    if rows:
        content.append(("Objects", table(rows, ("measure", "5 %", "median", "95 %"))))
    if picture is not None:
        encoded = base64.b64encode(picture.read_bytes()).decode()
        content.append(
            (
                "Seen along z and along y",
                f'<img style="max-width:100%" alt="outlines" src="data:image/png;base64,{encoded}">',
            )
        )
    weak = sum(link.weak for link in segmentation.links)
    notes = [*segmentation.remarks, *([f"{weak} of {len(segmentation.links)} links are weak"] if weak else [])]
    text = page(escape(f"{len(objects)} nuclei by {segmentation.backend}"), time_s, notes, content)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _is_measure(name: str) -> bool:
    return name in _SHOWN or name.startswith(("mean_", "sd_", "max_"))


def _outlines(top: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return 1 where the projected objects are and 0 where they end, also between two that touch."""
    edge = np.zeros(top.shape, bool)
    edge[:, :-1] |= top[:, :-1] != top[:, 1:]
    edge[:-1] |= top[:-1] != top[1:]
    return (top > 0).astype(np.float32) * np.where(edge, np.float32(0.0), np.float32(1.0))
