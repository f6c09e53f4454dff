"""`puncta`, the network: frames a second, crowds beside the classical detector, lone puncta against their bound.

All movies here are simulated. In each, every frame is a draw of its own, so that neighbouring frames help nobody.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._table import Row
from parfocal.fitting import crlb_psf
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations, PunctaTruth, join_localizations
from parfocal.puncta.detection import LocalizeSettings, localize
from parfocal.puncta.evaluation import Matching, match_localizations, score_probabilities
from parfocal.puncta.networks import PunctaNet, Refit, localize_with_net, open_puncta_net
from parfocal.puncta.simulation import (
    IMMOBILE,
    Background,
    Calcium,
    CameraChain,
    Psf,
    PunctaScene,
    simulate_puncta,
)

_PIXEL_UM = 0.13
_ACCELERATED_FPS_GOAL, _ACCELERATED_TIMES = 100.0, 16
_FPS_GOAL, _EFFICIENCY_GOAL, _CRLB_GOAL, _FALSE_GOAL = 20.0, 85.0, 1.3, 0.1
_WITHIN_ONE_SIGMA, _SIGMA_OFF_GOAL = 0.6827, 0.025
_SIDE_PX = 128
_ON_DFF, _OFF_DFF, _CALCIUM_GOAL = 0.35, 0.05, 0.8
LONE = ((200.0, 5.0), (1000.0, 5.0), (1000.0, 50.0), (1000.0, 500.0), (10000.0, 50.0), (10000.0, 500.0))
"""Photons and background of the rows of lone puncta. At 200 photons on 50 or more, none is seen reliably."""


def net_rows(rounds: int = 5, n_frames: int = 6) -> list[Row]:
    """Measure the shipped network: speed, and accuracy in crowds, alone and where there is nothing.

    `hybrid` is the default (each punctum fitted from where the network sees it), `network` what it says itself.
    The classical detector sees the same frames: `one-each` fits a spot at each maximum, `together` is its default.
    """
    import torch

    before = torch.get_num_threads()
    try:
        rows = _speed_rows(rounds)
        torch.set_num_threads(1)
        net = open_puncta_net("puncta", device="cpu")
        return [
            *rows,
            *_crowd_rows(net, n_frames),
            *_lone_rows(net, n_frames),
            *_empty_rows(net, n_frames),
            *_calcium_rows(),
        ]
    finally:
        torch.set_num_threads(before)


def _speed_rows(rounds: int) -> list[Row]:
    """Measure two threads at once, each with its half of the frames, in the threads' own time.

    What others do on the machine counts as little as it can; what the two do to each other counts.
    """
    import torch

    torch.set_num_threads(1)
    net = open_puncta_net("puncta", device="cpu")
    halves = [_one_movie(n_puncta=20.0, side_px=256, n_frames=8, seed=seed) for seed in (7, 8)]

    def own_seconds(half: tuple[NDArray[Any], CameraModel], refit: Refit) -> float:
        torch.set_num_threads(1)
        began = time.thread_time()
        _asked(net, *half, refit)
        return time.thread_time() - began

    rows: list[Row] = []
    arms: tuple[tuple[str, Refit], ...] = (("", "crowds"), ("-without-refit", "none"))
    with ThreadPoolExecutor(2, thread_name_prefix="network-fps") as pool:
        for name, refit in arms:
            slowest = [
                max(pool.map(own_seconds, halves, [refit, refit])) / len(halves[0][0]) for _ in range(rounds + 1)
            ]
            fps = 2 / min(slowest[1:])
            rows.append(
                Row.limited(f"puncta/network-fps{name}", fps, _FPS_GOAL, unit="frames/s", higher_is_better=True)
            )
    return [*rows, *_accelerated_rows(halves[0], rounds)]


def _accelerated_rows(movie: tuple[NDArray[Any], CameraModel], rounds: int) -> list[Row]:
    """Measure by the clock on an accelerator, the network alone and with its fits; nothing where there is none."""
    import torch

    if not torch.cuda.is_available():
        return []
    net = open_puncta_net("puncta", device="cuda")
    longer = (np.concatenate([movie[0]] * _ACCELERATED_TIMES), movie[1])
    rows: list[Row] = []
    arms: tuple[tuple[str, Refit], ...] = (("", "crowds"), ("-without-refit", "none"))
    for name, refit in arms:
        seconds: list[float] = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            _asked(net, *longer, refit)
            seconds.append(time.perf_counter() - began)
        fps = len(longer[0]) / min(seconds[1:])
        told: Any = {"unit": "frames/s", "higher_is_better": True, "name": torch.cuda.get_device_name()}
        rows.append(Row.limited(f"puncta/network-fps-accelerated{name}", fps, _ACCELERATED_FPS_GOAL, **told))
    return rows


def _crowd_rows(net: PunctaNet, n_frames: int) -> list[Row]:
    rows: list[Row] = []
    for psf in ("gaussian", "diffraction"):
        movies = _movies(psf, 4 * _SIDE_PX**2 / 1000, 1000.0, 50.0, n_frames)
        arms: dict[str, Callable[[NDArray[Any], CameraModel], Localizations]] = {
            "hybrid": lambda frame, camera: _asked(net, frame, camera, "crowds"),
            "network": lambda frame, camera: _asked(net, frame, camera, "none"),
            "one-each": lambda frame, camera: localize(
                frame, camera, LocalizeSettings(max_emitters=1), (_PIXEL_UM, _PIXEL_UM)
            ),
            "together": lambda frame, camera: localize(frame, camera, None, (_PIXEL_UM, _PIXEL_UM)),
        }
        said = {name: _matched(movies, arm)[0].efficiency for name, arm in arms.items()}
        suffix = "" if psf == "gaussian" else f"-{psf}"
        rows.append(
            Row.limited(
                f"puncta/efficiency-dense{suffix}",
                said["hybrid"],
                _EFFICIENCY_GOAL,
                unit="%",
                higher_is_better=True,
            )
        )
        for name, peer in (
            ("one-each", "wavelet + one MLE fit a spot"),
            ("together", "wavelet + MLE of several spots"),
        ):
            rows.append(
                Row.compared(
                    f"puncta/efficiency-dense{suffix}-beside-{name}",
                    said["hybrid"],
                    max(said[name], 1.0),
                    peer_name=f"{peer}, ours",
                    unit="%",
                    higher_is_better=True,
                )
            )
        rows.append(
            Row.limited(
                f"puncta/efficiency-dense{suffix}-network-alone",
                said["network"],
                _EFFICIENCY_GOAL,
                unit="%",
                higher_is_better=True,
            )
        )
    return rows


def _lone_rows(net: PunctaNet, n_frames: int) -> list[Row]:
    rows: list[Row] = []
    for psf in ("gaussian", "diffraction"):
        errors: list[NDArray[np.float64]] = []
        for photons, background in LONE:
            movies = _movies(psf, 12, photons, background, n_frames, min_distance_px=16.0, margin_px=-6.0)
            name = f"{psf}-{photons:g}-on-{background:g}"
            arms: tuple[tuple[str, Refit], ...] = (("", "crowds"), ("network-alone-", "none"))
            for arm, refit in arms:
                matching, found = _matched(movies, partial(_asked_again, net, refit))
                bound = _bound_nm(float(np.median(movies[0][1].sigma_px)), photons, background)
                ratio = matching.rmse_nm / bound
                rows.append(Row.limited(f"puncta/{arm}rmse-over-crlb-{name}", ratio, _CRLB_GOAL, unit="x CRLB"))
                if not arm:
                    errors.append(matching.dx_nm / (1e3 * _PIXEL_UM * found.x_se_px[matching.found_row]))
                    errors.append(matching.dy_nm / (1e3 * _PIXEL_UM * found.y_se_px[matching.found_row]))
        off = float(np.mean(np.abs(np.concatenate(errors)) < 1)) - _WITHIN_ONE_SIGMA
        name = f"share within one stated error {off:+.3f} off 0.683, all of these together"
        rows.append(Row.limited(f"puncta/sigma-off-{psf}", abs(off), _SIGMA_OFF_GOAL, unit="share", name=name))
    return rows


def _empty_rows(net: PunctaNet, n_frames: int) -> list[Row]:
    n_false = n_pixels = 0
    for background in (5.0, 50.0, 500.0):
        for frame, _, camera in _movies("gaussian", 0.0, 1000.0, background, 2 * n_frames):
            n_false += len(_asked(net, frame, camera, "crowds"))
            n_pixels += frame.size
    rate = 1000 * n_false / n_pixels
    return [Row.limited("puncta/network-false-per-1000-px", max(rate, 1e-6), _FALSE_GOAL, unit="per 1000 px")]


def _calcium_rows() -> list[Row]:
    """Measure each frame of each punctum by itself: dF/F0 above 0.35 is on, below 0.05 off."""
    net = open_puncta_net("puncta-calcium", device="cpu")
    rows: list[Row] = []
    for name, calcium in (
        ("", Calcium(events_per_s=0.6)),
        ("-confounders", Calcium(events_per_s=0.6, waves_per_min=20.0, stray_per_s=0.5, bleed_through=0.02)),
    ):
        scene = PunctaScene(
            shape_px=(96, 96), pixel_size_um=(_PIXEL_UM, _PIXEL_UM), n_frames=40, n_puncta=14.0, photons=1500.0,
            calcium=calcium, seed=4,
        )  # fmt: skip
        both = simulate_puncta(scene)
        found = localize_with_net(
            both.movie, net, camera_model=both.camera_model, pixel_size_um=(_PIXEL_UM, _PIXEL_UM),
            calcium=both.calcium, calcium_camera=both.calcium_camera_model,
        )  # fmt: skip
        matching = match_localizations(both.truth, found)
        score = score_probabilities(both.truth, found, matching, dff_levels=(_OFF_DFF, _ON_DFF))
        f1 = 0.0 if score is None else score.f1_of_found
        rows.append(
            Row.limited(
                f"puncta/network-calcium-f1{name}", f1, _CALCIUM_GOAL, unit="F1 of frames", higher_is_better=True
            )
        )
    return rows


def _asked(net: PunctaNet, frames: NDArray[Any], camera: CameraModel, refit: Refit) -> Localizations:
    movie = frames if frames.ndim == 3 else frames[np.newaxis]
    return localize_with_net(movie, net, camera_model=camera, pixel_size_um=(_PIXEL_UM, _PIXEL_UM), refit=refit)


def _asked_again(net: PunctaNet, refit: Refit, frame: NDArray[Any], camera: CameraModel) -> Localizations:
    return _asked(net, frame, camera, refit)


Movie = tuple[NDArray[Any], PunctaTruth, CameraModel]


def _scene(psf: str, n_puncta: float, photons: float, background: float, seed: int, **more: Any) -> PunctaScene:
    told: dict[str, Any] = {"shape_px": (_SIDE_PX, _SIDE_PX), "n_frames": 1} | more
    return PunctaScene(
        pixel_size_um=(_PIXEL_UM, _PIXEL_UM), psf=Psf(kind=psf), n_puncta=n_puncta,  # pyright: ignore[reportArgumentType]
        photons=photons, photons_spread=0.0, motion=IMMOBILE, camera=CameraChain("scmos"), seed=seed,
        background=Background(offset_photons=background, sample_photons=0.0, field_contrast=0.0), **told,
    )  # fmt: skip


def _movies(
    psf: str, n_puncta: float, photons: float, background: float, n_frames: int, **more: Any
) -> list[Movie]:
    """Return frames of their own, each with its truth and its camera."""
    made: list[Movie] = []
    for seed in range(100, 100 + n_frames):
        recording = simulate_puncta(_scene(psf, n_puncta, photons, background, seed, **more))
        made.append((recording.movie[0], recording.truth, recording.camera_model))
    return made


def _one_movie(n_puncta: float, side_px: int, n_frames: int, seed: int) -> tuple[NDArray[Any], CameraModel]:
    recording = simulate_puncta(
        _scene("gaussian", n_puncta, 1000.0, 50.0, seed, shape_px=(side_px, side_px), n_frames=n_frames)
    )
    return recording.movie, recording.camera_model


def _matched(
    movies: list[Movie], arm: Callable[[NDArray[Any], CameraModel], Localizations]
) -> tuple[Matching, Localizations]:
    """Return what an arm found in all frames beside all that was there."""
    found: list[Localizations] = []
    truths: list[PunctaTruth] = []
    for number, (frame, truth, camera) in enumerate(movies):
        said = arm(frame, camera)
        found.append(dataclasses.replace(said, frame=np.full(len(said), number, np.int64)))
        truths.append(truth)
    first = truths[0]
    columns = [
        f.name
        for f in dataclasses.fields(first)
        if isinstance(value := getattr(first, f.name), np.ndarray) and value.shape == first.frame.shape
    ]
    joined: dict[str, Any] = {name: np.concatenate([getattr(truth, name) for truth in truths]) for name in columns}
    joined["frame"] = np.concatenate([np.full(len(t.frame), k, np.int64) for k, t in enumerate(truths)])
    table = join_localizations(found)
    return match_localizations(dataclasses.replace(first, **joined), table), table


def _bound_nm(sigma_px: float, photons: float, background: float) -> float:
    """Return the least lateral error, sqrt(var x + var y), of a Gaussian spot of that width."""
    covariance = crlb_psf(sigma_px, sigma_px, photons, background, CameraModel(100.0, 2.2, 1.4), 13)
    return 1e3 * _PIXEL_UM * math.sqrt(covariance[0, 0] + covariance[1, 1])
