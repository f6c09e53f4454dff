"""The picture of the demo: where focus was, and what it looked like there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parfocal.catalog import Catalog
from parfocal.files import write_atomically
from parfocal.frames import Frames


def draw_picture(catalog: Catalog, uid: str, path: Path) -> Path:
    """Draw best planes, focus curves and focus over time of one run; return where it was written."""
    from matplotlib.figure import Figure

    scores = _table(catalog, uid, "scores")
    stacks = _table(catalog, uid, "stacks")
    uri = next(doc["uri"] for name, doc in catalog.documents(uid) if name == "stream_resource")
    frames = Frames()
    places = sorted(set(scores["position"].tolist())) or [0]
    shown = places[:4]
    figure = Figure(figsize=(3.1 * max(len(shown), 2), 6.4), dpi=110, layout="constrained")
    grid = figure.subplots(2, max(len(shown), 2), squeeze=False)
    for axis in grid.flat:
        axis.set_visible(False)
    for column, place in enumerate(shown):
        axis = grid[0][column]
        axis.set_visible(True)
        index, title = _best_of(stacks, scores, place)
        pixels = np.asarray(frames.get(uri, index), dtype=float)
        low, high = np.percentile(pixels, (1, 99.8))
        axis.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
        axis.set_title(f"position {place}: {title}", fontsize=9)
        axis.set_axis_off()
    _curves(grid[1][0], scores, stacks, shown)
    _over_time(grid[1][1], stacks, shown)
    figure.suptitle(f"run {uid[:8]}: sharpest planes, and where focus was", fontsize=10)
    with write_atomically(path) as temporary:
        figure.savefig(temporary)
    return path


def _table(catalog: Catalog, uid: str, stream: str) -> dict[str, Any]:
    for run in catalog.analyses_of(uid):
        if stream in run:
            data: Any = run[stream].read()
            return {str(key): np.asarray(data[key]) for key in data}
    return {"position": np.array([], int), "time_point": np.array([], int)}


def _best_of(stacks: dict[str, Any], scores: dict[str, Any], place: int) -> tuple[int, str]:
    here = np.flatnonzero(stacks["position"] == place)
    if here.size:
        row = here[0]
        return int(stacks["best_frame"][row]), f"z {float(stacks['best_z_um'][row]):.2f} um"
    frames = scores["raw_frame"][scores["position"] == place] if "raw_frame" in scores else np.array([0])
    return int(frames[0]), "one plane"


def _curves(axis: Any, scores: dict[str, Any], stacks: dict[str, Any], places: list[int]) -> None:
    axis.set_visible(True)
    for place in places:
        chosen = (scores["position"] == place) & (scores["time_point"] == 0)
        z_um, value = scores["z_um"][chosen], scores["tenengrad"][chosen]
        if z_um.size < 2:
            continue
        order = np.argsort(z_um)
        peak = max(float(np.nanmax(value)), 1e-12)
        (line,) = axis.plot(z_um[order], value[order] / peak, "o-", ms=3, lw=1, label=f"position {place}")
        here = np.flatnonzero((stacks["position"] == place) & (stacks["time_point"] == 0))
        if here.size:
            axis.axvline(float(stacks["best_z_um"][here[0]]), color=line.get_color(), lw=0.8, ls=":")
    axis.set_xlabel("z (um)", fontsize=8)
    axis.set_ylabel("Tenengrad, noise subtracted (of peak)", fontsize=8)
    axis.tick_params(labelsize=7)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7)


def _over_time(axis: Any, stacks: dict[str, Any], places: list[int]) -> None:
    if "best_z_um" not in stacks:
        return
    axis.set_visible(True)
    for place in places:
        here = stacks["position"] == place
        axis.errorbar(
            stacks["time_point"][here],
            stacks["best_z_um"][here],
            yerr=np.nan_to_num(stacks["sigma_z_um"][here]),
            fmt="o-",
            ms=3,
            lw=1,
            capsize=2,
        )
    axis.set_xlabel("time point", fontsize=8)
    axis.set_ylabel("best z (um)", fontsize=8)
    axis.tick_params(labelsize=7)
