"""Rows of `puncta`: calcium read back from real footprints with known traces (semi-synthetic).

Footprints, traces and motion are what CaImAn extracted from its real two-photon demo movie. Footprint times trace,
summed, moved as that movie moved and laid on a background, with shot noise, is a movie whose traces are known. The
background is level, or swings together everywhere as neuropil does. Each cell is read at the middle of its
footprint, by ours and as most would: the mean of a disc, that mean less an annulus around it, and the one pixel in
the middle. All are told the cells' size and none the footprints. What counts is the correlation with the known
trace, median over all cells, bright and dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.bench._puncta_others import recording_of_others, show_table
from parfocal.bench._table import Row
from parfocal.puncta import Localizations, PunctaTracks
from parfocal.puncta.calcium import calcium_traces, pearson

Floats = NDArray[np.float64]

_N_FRAMES = 1000
_INTERVAL_S = 1 / 30
_PHOTONS = 4000.0
"""Of the brightest cell, in its brightest frame."""
_BACKGROUND = 5.0
_SWING, _SWING_S = 0.2, 3.0
_DISC = "disc less annulus"


@dataclass(frozen=True)
class KnownCalcium:
    """A movie of known cells.

    Parameters
    ----------
    movie : float64[n_frames, height, width]
        Photons.
    y_px, x_px : float64[n_cells]
        Middle of each footprint.
    traces : float64[n_cells, n_frames]
        Photons of each cell.
    radius_px : float
        Of a disc as wide as the footprints are, by their median.
    """

    movie: Floats
    y_px: Floats
    x_px: Floats
    traces: Floats
    radius_px: float


def footprint_rows() -> list[Row]:
    """Measure how the traces of real footprints are read back, beside the mean of a disc and one pixel."""
    path = recording_of_others("caiman_demoMovie_components.npz", "calcium of real footprints", "E_calcium")
    if path is None:
        return []
    rows: list[Row] = []
    shown: dict[str, tuple[str, ...]] = {}
    for name, swing in (("level", 0.0), ("neuropil", _SWING)):
        known = known_calcium(path, swing)
        read = {
            "parfocal": _ours(known),
            **{way: disc_traces(known, way) for way in ("disc", _DISC)},
            "pixel": known.movie[:, np.rint(known.y_px).astype(int), np.rint(known.x_px).astype(int)].T,
        }
        scores = {way: correlations(traces, known.traces) for way, traces in read.items()}
        for way, one in scores.items():
            cells = (float(np.median(one)), float(one.min()), float(one.max()))
            shown[f"{name}, {way}"] = tuple(f"{value:.3f}" for value in cells)
        medians = {way: float(np.median(one)) for way, one in scores.items()}
        best = max(("disc", _DISC, "pixel"), key=lambda way: medians[way])
        rows.append(
            Row.compared(
                f"puncta/calcium-footprints-{name}",
                medians["parfocal"],
                medians[best],
                peer_name=f"{best}; semi-synthetic, {len(known.traces)} real footprints, median correlation",
                unit="r",
                higher_is_better=True,
            )
        )
    show_table("Traces of real footprints read back (semi-synthetic)", ("median r", "least", "most"), shown)
    return [
        *rows,
        Row.limited(
            "puncta/calcium-footprints-r",
            rows[0].ours,
            0.8,
            unit="r",
            higher_is_better=True,
            name="semi-synthetic, level background; at least",
        ),
    ]


def known_calcium(path: Path, swing: float, n_frames: int = _N_FRAMES, seed: int = 0) -> KnownCalcium:
    """Return a movie of CaImAn's footprints and traces; `swing` is by how much the background rises and falls."""
    with np.load(path) as stored:
        footprints = stored["footprints"].astype(np.float64)
        shapes = stored["traces"][:, :n_frames].astype(np.float64)
        shifts = stored["rigid_shifts_px"][:n_frames].astype(np.float64)
    weight = footprints.sum(axis=(1, 2))
    scale = _PHOTONS / float((weight * shapes.max(axis=1)).max())
    yy, xx = np.indices(footprints.shape[1:])
    y, x = ((footprints * grid).sum(axis=(1, 2)) / weight for grid in (yy, xx))
    spread = (footprints * ((yy - y[:, None, None]) ** 2 + (xx - x[:, None, None]) ** 2)).sum(axis=(1, 2)) / weight
    rng = np.random.default_rng(seed)
    level = _BACKGROUND * (1 + swing * np.sin(2 * np.pi * np.arange(n_frames) * _INTERVAL_S / _SWING_S))
    movie = np.empty((n_frames, *footprints.shape[1:]))
    for k in range(n_frames):
        light = ndimage.shift(
            scale * np.tensordot(shapes[:, k], footprints, 1), shifts[k], order=1, mode="nearest"
        )
        movie[k] = rng.poisson(np.maximum(light, 0) + level[k])
    # the light of a flat disc lies, in the mean of squares, at the radius over the root of 2
    return KnownCalcium(movie, y, x, scale * weight[:, None] * shapes, float(np.sqrt(2 * np.median(spread))))


def disc_traces(known: KnownCalcium, way: str) -> Floats:
    """Return the mean of a disc around each cell's middle, less that of an annulus with the way of that name."""
    yy, xx = np.indices(known.movie.shape[1:])
    traces = np.empty((len(known.y_px), len(known.movie)))
    for i, (y, x) in enumerate(zip(known.y_px, known.x_px)):
        away = np.hypot(yy - y, xx - x)
        traces[i] = known.movie[:, away <= known.radius_px].mean(axis=1)
        if way == _DISC:
            around = (away > known.radius_px + 1) & (away <= known.radius_px + 4)
            traces[i] -= known.movie[:, around].mean(axis=1)
    return traces


def correlations(read: Floats, known: Floats) -> Floats:
    """Return each cell's correlation with its known trace."""
    return np.array([pearson(a.astype(np.float64), b) for a, b in zip(read, known)])


def _ours(known: KnownCalcium) -> Floats:
    n, n_frames = len(known.y_px), len(known.movie)
    track, frame = (grid.ravel() for grid in np.meshgrid(np.arange(n), np.arange(n_frames), indexing="ij"))
    spots = Localizations((1.0, 1.0), frame, known.x_px[track], known.y_px[track], np.ones(track.size))
    tracks = PunctaTracks(track, np.empty((0, 2), np.int64), n)
    # a disc's width is half its radius
    traces = calcium_traces(known.movie, spots, tracks, known.radius_px / 2, _INTERVAL_S)
    return traces.signal.astype(np.float64)
