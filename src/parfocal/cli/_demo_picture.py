"""The picture of the demo: the sharpest planes, the stacks from the side, and where focus was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks import RunView
from parfocal.catalog import Catalog
from parfocal.files import write_atomically
from parfocal.frames import Frames

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart with any colour vision (Okabe and Ito)
_INK = "#333333"
_GREYS = 64  # a picture of noise does not compress: fewer greys do
_SECTION_ROWS = 16


@dataclass(frozen=True)
class _Place:
    """One position: its first stack, sorted by z, and the best plane of each time point."""

    name: int
    colour: str
    z_um: NDArray[np.float64]
    score: NDArray[np.float64]
    sharpest: int  # index of the plane with the highest score
    plane: NDArray[np.float64]  # [y, x], that plane
    section: NDArray[np.float64]  # [z, x]
    time_points: NDArray[np.int64]
    best_z_um: NDArray[np.float64]
    sigma_z_um: NDArray[np.float64]


def draw_picture(catalog: Catalog, uid: str, path: Path) -> Path:
    """Draw one run with its focus scores as a PNG; return where it was written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    view = _view(catalog, uid)
    pixel_um = [float(v) for v in view.configuration("pixel_size_um", (1.0, 1.0))]
    places = _places(catalog, uid)
    columns = max(len(places), 3)
    figure = Figure(figsize=(columns * 3.0, 7.2), dpi=108, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.65, 1.0))
    top, bottom = halves
    grid = top.subplots(2, columns, squeeze=False, height_ratios=(3, 1))
    for axis in grid.flat:
        axis.set_axis_off()
    for place, (image, side) in zip(places, grid.T[(columns - len(places)) // 2 :]):
        _draw_plane(image, place, pixel_um)
        if place.z_um.size > 1:
            _draw_side(side, place, pixel_um[1])
    curves, times = bottom.subplots(1, 2)
    for axis in (curves, times):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=_INK)
    _draw_curves(curves, places)
    _draw_times(times, places)
    start = view.start
    figure.suptitle(
        f"{start.get('sample', '')}, {start.get('instrument', '')} microscope, run {uid[:8]}",
        fontsize=11,
        color=_INK,
    )
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    with write_atomically(path) as temporary:
        drawn.quantize(palette=palette, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)
    return path


def _palette() -> list[int]:
    """Return red, green, blue of the greys, and of our colours as lines blend into black and white."""
    from matplotlib.colors import to_rgb

    greys = [(level, level, level) for level in np.linspace(0.0, 1.0, _GREYS)]
    blends = [
        tuple(part * (1 - share) + ground * share for part in to_rgb(colour))
        for colour in _COLOURS
        for ground, share in ((0.0, 0.0), (0.0, 0.3), (0.0, 0.6), (1.0, 0.25), (1.0, 0.5), (1.0, 0.75))
    ]
    return [round(255 * part) for colour in (*greys, *blends) for part in colour]


def _view(catalog: Catalog, uid: str) -> RunView:
    """Gather what the run says of itself."""
    documents = list(catalog.documents(uid))
    view = RunView(documents[0][1])
    for name, doc in documents:
        if name == "descriptor":
            view.add_descriptor(doc)
    return view


def _places(catalog: Catalog, uid: str) -> list[_Place]:
    scores, stacks = _table(catalog, uid, "scores"), _table(catalog, uid, "stacks")
    if not scores:
        return []
    uri = next(doc["uri"] for name, doc in catalog.documents(uid) if name == "stream_resource")
    frames = Frames()
    places: list[_Place] = []
    for place, colour in zip(np.unique(scores["position"]).tolist(), _COLOURS):
        rows = np.flatnonzero((scores["position"] == place) & (scores["time_point"] == 0))
        rows = rows[scores["channel"][rows] == scores["channel"][rows[0]]]
        rows = rows[np.argsort(scores["z_um"][rows], kind="stable")]
        score, indices = scores["tenengrad"][rows], scores["raw_frame"][rows].tolist()
        sharpest = int(np.nanargmax(score)) if np.isfinite(score).any() else 0
        plane = np.asarray(frames.get(uri, indices[sharpest]), dtype=float)
        band = _brightest_band(plane)
        section = [frames.get(uri, index)[band].mean(axis=0, dtype=float) for index in indices]
        best: list[NDArray[Any]] = [np.zeros(0)] * 3
        if stacks:
            chosen = (stacks["position"] == place) & (stacks["channel"] == scores["channel"][rows[0]])
            best = [stacks[key][chosen] for key in ("time_point", "best_z_um", "sigma_z_um")]
        z_um = scores["z_um"][rows]
        places.append(_Place(place, colour, z_um, score, sharpest, plane, np.array(section), *best))
    return places


def _brightest_band(plane: NDArray[np.float64]) -> slice:
    """Return the few rows with most to see: their mean shows a stack from the side through the noise."""
    rows = min(_SECTION_ROWS, plane.shape[0])
    brightness = np.convolve(np.nan_to_num(plane).mean(axis=1), np.ones(rows), mode="valid")
    first = int(np.argmax(brightness))
    return slice(first, first + rows)


def _table(catalog: Catalog, uid: str, stream: str) -> dict[str, NDArray[Any]]:
    for run in catalog.analyses_of(uid):
        if stream in run:
            data: Any = run[stream].read()
            return {str(key): np.asarray(data[key]) for key in data}
    return {}


def _draw_plane(axis: Any, place: _Place, pixel_um: list[float]) -> None:
    height, width = place.plane.shape
    low, high = np.nanpercentile(place.plane, (1, 99.8))
    extent = (0.0, width * pixel_um[1], height * pixel_um[0], 0.0)
    axis.imshow(place.plane, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), extent=extent)
    axis.set_title(
        f"position {place.name}, z {place.z_um[place.sharpest]:+.1f} µm", fontsize=9, color=place.colour
    )
    bar_um = _round_length(extent[1] / 4)
    x, y = extent[1] * 0.95, extent[2] * 0.94
    axis.plot([x - bar_um, x], [y, y], color="white", lw=3, solid_capstyle="butt")
    axis.text(x - bar_um / 2, y - extent[2] * 0.025, f"{bar_um:g} µm", color="white", fontsize=8, ha="center")


def _draw_side(axis: Any, place: _Place, pixel_x_um: float) -> None:
    """Draw x and z, with the best plane."""
    step_um = float(np.median(np.diff(place.z_um)))
    width_um = place.section.shape[1] * pixel_x_um
    extent = (0.0, width_um, place.z_um[0] - step_um / 2, place.z_um[-1] + step_um / 2)
    axis.imshow(place.section, cmap="gray", origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    if place.best_z_um.size:
        axis.axhline(place.best_z_um[0], color=place.colour, lw=1.5, ls="--")
    axis.text(0.01, 0.95, "from the side", color="white", fontsize=7, va="top", transform=axis.transAxes)


def _draw_curves(axis: Any, places: list[_Place]) -> None:
    for place in (p for p in places if p.z_um.size > 1):
        peak = max(float(np.nanmax(place.score)), 1e-12)
        axis.plot(place.z_um, place.score / peak, "o-", ms=3.5, lw=1.2, color=place.colour)
        if place.best_z_um.size:
            axis.axvline(place.best_z_um[0], color=place.colour, lw=1.2, ls="--")
    axis.set_title("focus score along z (dashed: best plane)", fontsize=9, color=_INK)
    axis.set_xlabel("z (µm)", fontsize=8, color=_INK)
    axis.set_ylabel("Tenengrad less noise, of peak", fontsize=8, color=_INK)


def _draw_times(axis: Any, places: list[_Place]) -> None:
    from matplotlib.ticker import MaxNLocator

    for n, place in enumerate(places):
        found = np.isfinite(place.sigma_z_um)
        if not found.any():
            continue
        # Beside each other, so that one error bar does not hide another.
        shifted = place.time_points[found] + 0.04 * (n - (len(places) - 1) / 2)
        drift_um = place.best_z_um[found] - place.best_z_um[found][0]
        axis.errorbar(
            shifted,
            drift_um,
            yerr=place.sigma_z_um[found],
            fmt="o-",
            ms=3.5,
            lw=1.2,
            capsize=3,
            color=place.colour,
        )
    axis.set_title("how far focus has moved (±1 standard error of a stack)", fontsize=9, color=_INK)
    axis.set_xlabel("time point", fontsize=8, color=_INK)
    axis.set_ylabel("best z less the first (µm)", fontsize=8, color=_INK)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _round_length(about_um: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above a length."""
    power = 10.0 ** np.floor(np.log10(about_um))
    return float(power * max(step for step in (1, 2, 5) if step * power <= about_um))
