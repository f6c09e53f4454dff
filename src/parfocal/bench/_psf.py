"""`psf`: spot fits and direct z, as fast as whom, and how near to their bound."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._psf_dim import posterior_means
from parfocal.bench._psf_least import least_worst_error
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.errors import BadInputError
from parfocal.fitting import (
    DefocusModel,
    WidthCurve,
    crlb_z,
    estimate_z,
    estimate_zs,
    fit_psf,
    fit_psfs,
    spot_image,
)
from parfocal.optics import CameraModel

MODEL = DefocusModel(WidthCurve(1.3, -0.2, 0.4), WidthCurve(1.3, 0.2, 0.4), 0.0, (-0.4, 0.4), 0.1)
"""130 nm at focus in pixels of 100 nm, foci 400 nm apart, depth 400 nm."""

CAMERA = CameraModel(offset_adu=100.0, gain_adu_per_e=2.2, read_noise_e=1.6, saturation_adu=1e9)
PHOTONS = (500.0, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6)
BACKGROUNDS = (2.0, 10.0, 100.0)
Z_UM = (-0.4, -0.25, 0.0, 0.1, 0.35)
_SIDE_PX = 13
_N_TIMED = 1000
_PLACES_PX = (-0.5, -0.3, -0.1, 0.1, 0.3)
_QUARTERS_PX = (-0.5, -0.25, 0.0, 0.25, 0.5)
_DIM = ((500.0, 100.0), (1e3, 100.0), (500.0, 10.0))
"""Photons and background at which the bound is not reached."""


@dataclass(frozen=True)
class Cell:
    """Direct z of one brightness, background and depth, over 25 sub-pixel places."""

    photons: float
    background: float
    z_um: float
    bound_um: float
    efficiency: float
    bias_sd: float
    covered: float
    lost: float


def psf(rounds: int = 9, fits_per_cell: int = 20_000) -> list[Row]:
    """Measure spot fits and direct z beside smappy and picasso, and how near z comes to its bound."""
    rows = _speed(rounds)
    cells = efficiency_grid(fits_per_cell)
    Console(stderr=True).print(_as_table(cells))
    worst = min(cells, key=_nearness)
    small = min((cell for cell in cells if cell.bound_um < 0.1 * MODEL.x.depth_um), key=_nearness)
    biased = max(cells, key=lambda cell: abs(cell.bias_sd))
    small_biased = max(
        (cell for cell in cells if cell.bound_um < 0.1 * MODEL.x.depth_um), key=lambda cell: abs(cell.bias_sd)
    )
    return [
        *rows,
        _limited("psf/efficiency", worst, _nearness(worst), 0.95, higher_is_better=True),
        _limited("psf/efficiency-small-error", small, _nearness(small), 0.95, higher_is_better=True),
        _limited("psf/bias", biased, abs(biased.bias_sd), 0.1),
        _limited("psf/bias-small-error", small_biased, abs(small_biased.bias_sd), 0.1),
        *(_dim(photons, background) for photons, background in _DIM),
        _least(),
    ]


def _dim(photons: float, background: float, n: int = 3000) -> Row:
    """Compare RMS errors over the usable range with those of the posterior mean, depths and places at random."""
    rng = np.random.default_rng(1)
    low, high = MODEL.search_um
    z = rng.uniform(low, high, n)
    at = (_SIDE_PX - 1) / 2 + rng.uniform(-0.5, 0.5, (n, 2))
    mean = np.stack([_picture(z_k, photons, background, x, y) for z_k, (x, y) in zip(z, at, strict=True)])
    raw = np.concatenate([_noisy(picture, 1, rng) for picture in mean])
    found = estimate_zs(raw, CAMERA, MODEL)
    variance_e2 = float(np.max(CAMERA.read_noise_e)) ** 2
    least = posterior_means(CAMERA.to_electrons(raw).astype(np.float64), variance_e2, MODEL)
    counted = found.is_mle & (z >= MODEL.usable_um[0]) & (z <= MODEL.usable_um[1])
    ours, theirs = (1e3 * float(np.sqrt(np.mean(np.square(e[counted])))) for e in (found.z_um - z, least - z))
    bounds = crlb_z(z[counted], photons, background, MODEL, CAMERA, _SIDE_PX)
    bound = 1e3 * float(np.sqrt(np.mean(np.square(bounds))))
    name = f"mean of the posterior, the least squared error there is on average; bound {bound:.0f}"
    return Row.compared(
        f"psf/rms-{photons:g}-on-{background:g}", ours, theirs, peer_name=name, unit="nm", goal=0.95
    )


def _least(n_per_depth: int = 800) -> Row:
    """Tell what error any estimate has in the worst depth where there is least light, its bias being small.

    It is even told that there are 500 to 900 photons on 94 to 100, and where the usable range ends. Pixels are
    Poisson of the mean and the read variance, as the fit takes them.
    """
    efficiency, bias_sd = 0.95, 0.1
    allowed = (1 + bias_sd**2) / efficiency
    z_um = np.linspace(*MODEL.usable_um, 17)
    middle = (_SIDE_PX - 1) / 2
    lights = [(n, b) for n in np.arange(500.0, 901.0, 50.0) for b in np.arange(94.0, 101.0)]
    places = [(middle + x, middle + y) for y in _QUARTERS_PX for x in _QUARTERS_PX]
    read_e2 = float(np.max(CAMERA.read_noise_e)) ** 2
    spots = np.stack([[_picture(z, 1.0, 0.0, x, y).ravel() for x, y in places] for z in z_um])
    expected = np.concatenate([n * spots + b + read_e2 for n, b in lights], axis=1)
    bounds = [
        np.sqrt(
            np.mean([crlb_z(z_um, n, b, MODEL, CAMERA, _SIDE_PX, x_px=x, y_px=y) ** 2 for x, y in places], axis=0)
        )
        for n, b in lights
    ]
    bound_um = np.repeat(np.stack(bounds, axis=1), len(places), axis=1)
    found = least_worst_error(
        expected, z_um, bound_um, bias_in_bounds=bias_sd / efficiency**0.5, n_per_depth=n_per_depth
    )
    name = (
        f"no estimate has less in its worst depth (+-{found.over_bound_se:.3f}), its bias at most {bias_sd:g} SD; "
        f"for an efficiency of {efficiency:g}"
    )
    return Row.limited("psf/least-500-on-100", found.over_bound, allowed, unit="MSE/CRLB²", name=name)


def efficiency_grid(fits_per_cell: int, seed: int = 0) -> list[Cell]:
    """Return direct z over photons, backgrounds and depths, on noisy pictures of the model itself."""
    rng = np.random.default_rng(seed)
    return [_cell(n, b, z, fits_per_cell, rng) for b in BACKGROUNDS for n in PHOTONS for z in Z_UM]


def _cell(photons: float, background: float, z_um: float, n: int, rng: np.random.Generator) -> Cell:
    middle = (_SIDE_PX - 1) / 2
    places = [(middle + x, middle + y) for y in _PLACES_PX for x in _PLACES_PX]
    errors: list[NDArray[np.float64]] = []
    pulls: list[NDArray[np.float64]] = []
    bounds: list[float] = []
    for x, y in places:
        found = estimate_zs(
            _noisy(_picture(z_um, photons, background, x, y), n // len(places), rng), CAMERA, MODEL
        )
        error = (found.z_um - z_um)[found.is_mle]
        errors.append(error)
        pulls.append(error / found.z_se_um[found.is_mle])
        bounds.append(float(crlb_z(z_um, photons, background, MODEL, CAMERA, _SIDE_PX, x_px=x, y_px=y)))
    error = np.concatenate(errors)
    bound = float(np.sqrt(np.mean(np.square(bounds))))
    return Cell(
        photons,
        background,
        z_um,
        bound,
        efficiency=bound**2 / float(error.var()),
        bias_sd=float(error.mean() / error.std()),
        covered=float((np.abs(np.concatenate(pulls)) < 1).mean()),
        lost=1 - error.size / (n // len(places) * len(places)),
    )


def _speed(rounds: int) -> list[Row]:
    rng = np.random.default_rng(0)
    pictures = np.concatenate(
        [
            _noisy(_picture(z, 5000.0, 10.0, 6 + x, 6 + y), _N_TIMED // 25, rng)
            for z, (x, y) in zip(
                np.linspace(-0.35, 0.35, 25), np.random.default_rng(1).uniform(-0.5, 0.5, (25, 2))
            )
        ]
    )
    with (
        tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder,
        Peer("smappy_fit") as smappy,
        Peer("picasso_fit") as picasso,
    ):
        path = Path(folder) / "rois.npy"
        np.save(path, (pictures - CAMERA.offset_adu) / CAMERA.gain_adu_per_e)
        ours = fit_psfs(pictures, CAMERA, n_threads=1)
        for peer in (smappy, picasso):
            _check_same(
                float(np.median(ours.sigma_x_px)), peer.call("prepare", path=str(path))["widths_px"], peer.name
            )
        fit_s, z_s, one_z_s, smappy_s, picasso_s = interleaved(
            lambda: median_seconds(lambda: fit_psfs(pictures, CAMERA, n_threads=1), 3),
            lambda: median_seconds(lambda: estimate_zs(pictures, CAMERA, MODEL, n_threads=1), 3),
            lambda: median_seconds(lambda: estimate_z(pictures[0], CAMERA, MODEL), 301),
            lambda: smappy.call("run", repeats=1)["seconds"],
            lambda: picasso.call("run", repeats=1)["seconds"],
            rounds=rounds,
        )
        names = smappy.name, picasso.name
    fit_psf(pictures[0], CAMERA)
    per_s = [_N_TIMED / seconds for seconds in (fit_s, z_s, smappy_s, picasso_s)]
    unit = "1/s"

    def compared(id: str, ours: float, peer: float, name: str, goal: float) -> Row:
        return Row.compared(id, ours, peer, peer_name=name, unit=unit, goal=goal, higher_is_better=True)

    return [
        compared("psf/fit-vs-smappy", per_s[0], per_s[2], f"fits by {names[0]}, one thread", 3.0),
        compared("psf/fit-vs-picasso", per_s[0], per_s[3], f"fits by {names[1]} (gaussmle), one thread", 10.0),
        compared("psf/direct-z-per-s", per_s[1], per_s[2], f"fits, without z, by {names[0]}, one thread", 3.0),
        compared("psf/direct-z-vs-picasso", per_s[1], per_s[3], f"fits, without z, by {names[1]}", 10.0),
        Row.limited("psf/one-z-ms", one_z_s * 1e3, 0.3, unit="ms", name="one estimate_z call"),
    ]


def _check_same(ours_px: float, theirs_px: list[float], name: str) -> None:
    if min(abs(width - ours_px) for width in theirs_px) > 0.05:
        raise BadInputError(
            f"bench: {name} finds widths of {theirs_px} px where ours are {ours_px:.3f}: other data?"
        )


def _picture(z_um: float, photons: float, background: float, x: float, y: float) -> NDArray[np.float64]:
    sigma_x, sigma_y = (float(width) for width in MODEL.widths_px(z_um))
    return spot_image((_SIDE_PX, _SIDE_PX), x, y, sigma_x, sigma_y, photons, background)


def _noisy(mean: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    electrons = rng.poisson(mean, (n, *mean.shape)) + rng.normal(
        0, float(np.max(CAMERA.read_noise_e)), (n, *mean.shape)
    )
    return np.round(CAMERA.offset_adu + CAMERA.gain_adu_per_e * electrons).astype(np.int32)


def _nearness(cell: Cell) -> float:
    return min(cell.efficiency, 1 / cell.efficiency)


def _limited(id: str, cell: Cell, value: float, limit: float, higher_is_better: bool = False) -> Row:
    where = f"worst at {cell.photons:g} photons on {cell.background:g}, z {cell.z_um:g} um; goal"
    unit = "CRLB²/var" if higher_is_better else "SD"
    return Row.limited(id, value, limit, unit=unit, higher_is_better=higher_is_better, name=where)


def _as_table(cells: list[Cell]) -> Table:
    table = Table(title="Direct z on pictures of the model (simulated)", box=None, header_style="bold")
    for name in ("background", "photons", "z um", "bound nm", "CRLB²/var", "bias/SD", "within 1 SE", "lost"):
        table.add_column(name, justify="right")
    for c in cells:
        table.add_row(
            f"{c.background:g}",
            f"{c.photons:g}",
            f"{c.z_um:g}",
            f"{c.bound_um * 1e3:.2f}",
            f"{c.efficiency:.3f}",
            f"{c.bias_sd:+.3f}",
            f"{c.covered:.3f}",
            f"{c.lost:.2%}",
        )
    return table
