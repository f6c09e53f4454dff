"""Rows of `puncta`: a real, measured spread function pasted at known places (semi-synthetic), beside the peers.

The spread function is that of averaged beads, in focus, cut to a disc of 15 px; it has rings, tails and a tilt
that no model of a fit has. It is moved by fractions of a pixel in Fourier space, scaled to photons, and laid on a
level background; shot noise, read noise and the camera's steps are added once, to the whole. Nobody says where the
middle of such a spot is, so a constant shift of all that a program finds is taken off, of each alike.

The peers are told to fit in 9 px, five widths of the spread function; ours is told nothing. Each peer has one
threshold for all movies: the one at which it finds as many false spots as ours in frames of background alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._puncta_others import OtherPrograms, recording_of_others, show_table
from parfocal.bench._table import Row
from parfocal.files import open_stack
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations
from parfocal.puncta.detection import localize_movie
from parfocal.puncta.evaluation import Matching, match_localizations

Floats = NDArray[np.float64]

_PIXEL_UM = (0.072, 0.074)
_CAMERA = CameraModel(100.0, 2.2, 1.5)
_BACKGROUND = 20.0
_PHOTONS = (500.0, 2000.0, 10000.0)
_SIDE_PX, _N_FRAMES, _MARGIN_PX = 256, 10, 16
_N_APART, _APART_PX, _N_CROWDED = 60, 20.0, 200
_BOX_PX = 9
_RADIUS_PX = 15


@dataclass(frozen=True)
class Pasted:
    """A movie, and where its spots are."""

    movie: NDArray[np.uint16]
    truth: Localizations


def pasted_rows(others: OtherPrograms) -> list[Row]:
    """Measure spots of a real spread function at known places: beside picasso, trackpy and the bound."""
    path = recording_of_others("pyme_beads1_no_astig.tif", "pasted spots", "A_beads")
    if path is None:
        return []
    planes = open_stack(path, "ZYX").read().astype(np.float64)
    spot = unit_spot(planes[int(planes.max(axis=(1, 2)).argmax())])
    shown: dict[str, tuple[str, ...]] = {}
    scores: dict[tuple[str, str], list[Matching]] = {}
    over_bound: dict[float, float] = {}
    gradient, mass = _thresholds(others)
    peers = others.finder_names
    names = ("parfocal", *peers)
    for where in ("apart", "crowded"):
        for photons in _PHOTONS:
            made = paste(spot, photons, where == "apart", seed=int(photons))
            found = (
                localize_movie(made.movie, _CAMERA, pixel_size_um=_PIXEL_UM),
                others.found_by_picasso(made.movie, _CAMERA, _PIXEL_UM, box=_BOX_PX, gradient=gradient),
                others.found_by_trackpy(made.movie, _PIXEL_UM, diameter=_BOX_PX, minmass=mass),
            )
            for name, spots in zip(names, found):
                m = match_localizations(made.truth, spots, remove_wobble=True)
                scores.setdefault((where, name), []).append(m)
                figures = (m.precision, m.recall, m.rmse_nm, m.efficiency)
                shown[f"{where}, {photons:g} photons, {name}"] = tuple(f"{v:.3f}" for v in figures)
            if where == "apart":
                bound = bound_nm(spot, photons, _BACKGROUND + _CAMERA_VARIANCE)
                over_bound[photons] = scores[where, "parfocal"][-1].rmse_nm / bound
    show_table(
        "A real spread function pasted at known places", ("precision", "recall", "RMSE nm", "efficiency"), shown
    )
    rows: list[Row] = []
    for where in ("apart", "crowded"):
        mean = {name: float(np.mean([m.efficiency for m in scores[where, name]])) for name in names}
        best = max(peers, key=lambda name: mean[name])
        rows.append(
            Row.compared(
                f"puncta/pasted-efficiency-{where}",
                mean["parfocal"],
                max(mean[best], 1e-9),
                peer_name=f"{best}, mean of {len(_PHOTONS)} semi-synthetic movies of a real spread function",
                unit="efficiency",
                higher_is_better=True,
            )
        )
    error = {name: _pooled_rmse(scores["apart", name]) for name in names}
    best = min(peers, key=lambda name: error[name])
    worst = max(over_bound, key=lambda photons: over_bound[photons])
    return [
        *rows,
        Row.compared(
            "puncta/pasted-rmse-apart",
            error["parfocal"],
            error[best],
            peer_name=f"{best}, semi-synthetic, real spread function, all brightnesses",
            unit="nm",
        ),
        Row.limited(
            "puncta/pasted-rmse-over-crlb",
            over_bound[worst],
            1.3,
            unit="RMSE/CRLB",
            name=f"semi-synthetic, apart, worst at {worst:g} photons, bound of who knows its form; at most",
        ),
    ]


_CAMERA_VARIANCE = 1.5**2 + 1 / (12 * 2.2**2)
"""Photoelectrons² a pixel, of reading and of whole ADU."""


def unit_spot(plane: Floats) -> Floats:
    """Return a picture of a spread function without its surround, cut to a disc, all light together 1."""
    border = np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
    y, x = np.indices(plane.shape)
    middle_y, middle_x = np.unravel_index(int(plane.argmax()), plane.shape)
    away = np.hypot(y - middle_y, x - middle_x)
    # a soft edge: a hard one would ring when it is moved by a part of a pixel
    inside = np.clip((_RADIUS_PX - away) / 3.0, 0.0, 1.0)
    light = (plane - float(np.median(border))) * inside * inside * (3 - 2 * inside)
    cut = light[
        middle_y - _RADIUS_PX : middle_y + _RADIUS_PX + 1, middle_x - _RADIUS_PX : middle_x + _RADIUS_PX + 1
    ]
    return cut / cut.sum()


def moved(spot: Floats, dy_px: float, dx_px: float) -> Floats:
    """Return the picture moved by less than a pixel, exactly for what the pixels resolve, and nowhere below 0."""
    ky, kx = (np.fft.fftfreq(n) for n in spot.shape)
    phase = np.exp(-2j * np.pi * (ky[:, None] * dy_px + kx[None, :] * dx_px))
    return np.maximum(np.fft.ifft2(np.fft.fft2(spot) * phase).real, 0.0)


def paste(spot: Floats, photons: float, apart: bool, seed: int, n_frames: int = _N_FRAMES) -> Pasted:
    """Return a movie with the spot at random places, 20 px apart or more or wherever they fall."""
    rng = np.random.default_rng(seed)
    radius = spot.shape[0] // 2
    frames: list[NDArray[np.uint16]] = []
    at: list[tuple[float, float, float]] = []
    for k in range(n_frames):
        light = np.full((_SIDE_PX, _SIDE_PX), _BACKGROUND)
        for y, x in _places(rng, _N_APART if apart else _N_CROWDED, _APART_PX if apart else 0.0):
            row, column = round(y), round(x)
            window = np.s_[row - radius : row + radius + 1, column - radius : column + radius + 1]
            light[window] += photons * moved(spot, y - row, x - column)
            at.append((k, y, x))
        frames.append(taken(light, rng))
    frame, y, x = np.array(at).T
    truth = Localizations(_PIXEL_UM, frame.astype(np.int64), x, y, np.full(frame.size, photons))
    return Pasted(np.stack(frames), truth)


def taken(light: Floats, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return what the camera makes of expected photoelectrons."""
    electrons = rng.poisson(light) + rng.normal(0, 1.5, light.shape)
    return np.clip(np.round(100.0 + 2.2 * electrons), 0, 65535).astype(np.uint16)


def bound_nm(spot: Floats, photons: float, variance_e2: float) -> float:
    """Return Cramér-Rao's bound on the distance from the true place, for who knows the form of the spot.

    Unknown are place, photons and background; read noise counts as light of the same variance. The mean over
    places in a pixel, as squares.
    """
    squares: list[float] = []
    step = 1e-3
    for dy in (-0.25, 0.25):
        for dx in (-0.25, 0.25):
            here = moved(spot, dy, dx)
            along_y = (moved(spot, dy + step, dx) - moved(spot, dy - step, dx)) / (2 * step)
            along_x = (moved(spot, dy, dx + step) - moved(spot, dy, dx - step)) / (2 * step)
            slopes = np.stack([photons * along_y, photons * along_x, here, np.ones_like(here)]).reshape(4, -1)
            variance = (photons * here + variance_e2).ravel()
            covariance = np.linalg.inv((slopes / variance) @ slopes.T)
            squares.append(covariance[0, 0] * _PIXEL_UM[0] ** 2 + covariance[1, 1] * _PIXEL_UM[1] ** 2)
    return 1e3 * math.sqrt(float(np.mean(squares)))


def _places(rng: np.random.Generator, n: int, apart_px: float) -> Floats:
    """Return (y, x) of spots that lie whole inside; fewer where no room is left."""
    kept = np.empty((0, 2))
    for _ in range(200 * n):
        if len(kept) == n:
            break
        one = rng.uniform(_MARGIN_PX, _SIDE_PX - 1 - _MARGIN_PX, (1, 2))
        if not len(kept) or np.hypot(*(kept - one).T).min() >= apart_px:
            kept = np.concatenate([kept, one])
    return kept


def _thresholds(others: OtherPrograms) -> tuple[float, float]:
    """Return picasso's gradient and trackpy's mass that background alone reaches as often as ours finds a spot."""
    rng = np.random.default_rng(0)
    level = np.full((_SIDE_PX, _SIDE_PX), _BACKGROUND)
    empty = np.stack([taken(level, rng) for _ in range(4 * _N_FRAMES)])
    n = max(1, len(localize_movie(empty, _CAMERA, pixel_size_um=_PIXEL_UM)))
    by_picasso = others.found_by_picasso(empty, _CAMERA, _PIXEL_UM, box=_BOX_PX, gradient=0.0).photons
    by_trackpy = others.found_by_trackpy(empty, _PIXEL_UM, diameter=_BOX_PX, minmass=0.0).photons
    gradient, mass = (float(np.sort(scores)[-n]) for scores in (by_picasso, by_trackpy))
    names = others.finder_names
    show_table(
        f"Background alone, {empty.size / 1e6:.2f} million px",
        ("threshold", "false spots"),
        {
            "parfocal": ("auto", f"{n}"),
            names[0]: (f"gradient {gradient:.0f}", f"{n}"),
            names[1]: (f"mass {mass:.0f}", f"{n}"),
        },
    )
    return gradient, mass


def _pooled_rmse(scores: list[Matching]) -> float:
    squares = np.concatenate([np.square(m.dx_nm) + np.square(m.dy_nm) for m in scores])
    return float(np.sqrt(np.mean(squares)))
