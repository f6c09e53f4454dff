"""What looks in a sample now for `parfocal evaluate puncta`: a detector or a network, with a clock beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.cli._evaluate_source import Found, Judged
from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta import CalciumEvents, Localizations, PunctaTracks, PunctaTruth
from parfocal.puncta.calcium import calcium_sigma_px, calcium_traces, find_events, own_events
from parfocal.puncta.detection import localize_movie
from parfocal.puncta.tracking import TrackSettings, track_puncta

Find = Callable[[Judged, NDArray[Any]], Localizations]
"""Finds puncta in frames (some or all) of a recording."""


@dataclass(frozen=True)
class Finder:
    """What finds puncta, what it is called, and for which sizes of frames it was compiled already."""

    name: str
    find: Find
    warm: set[tuple[int, ...]] = field(default_factory=set[tuple[int, ...]])


def finder_of(detector: str, model: str) -> Finder:
    """Return what finds puncta.

    `detector` is classical, hybrid or network, `model` what `find_puncta_weights` takes.
    """
    if detector == "classical":
        if model:
            raise BadInputError(f"--model {model}: is of a network; expected --detector hybrid or network")
        return Finder(
            "classical detector",
            lambda it, movie: localize_movie(
                movie, it.camera_model or CameraModel(), pixel_size_um=it.truth.pixel_size_um
            ),
        )
    from parfocal.puncta.networks import find_puncta_weights, localize_with_net, open_puncta_net

    net = open_puncta_net(find_puncta_weights(model))

    def find(it: Judged, movie: NDArray[Any]) -> Localizations:
        camera = it.camera_model or CameraModel()
        two: dict[str, Any] = {}
        if net.has_calcium:
            if it.calcium is None:
                raise BadInputError(f"{it.name}: has no calcium channel, which network {net.name} looks at")
            two = {"calcium": it.calcium[: len(movie)], "calcium_camera": it.calcium_camera_model or camera}
        refit = "crowds" if detector == "hybrid" else "none"
        size = it.truth.pixel_size_um
        return localize_with_net(movie, net, camera_model=camera, pixel_size_um=size, refit=refit, **two)

    return Finder(f"{detector} {net.name} {(net.model_hash or '')[:12]}", find)


def find_here(judged: Judged, finder: Finder, settings: TrackSettings, with_events: bool) -> Found:
    """Look in the sample's own pixels, and measure how long it takes."""
    if judged.movie is None or not isinstance(judged.truth, PunctaTruth):
        raise BadInputError(f"{judged.name}: what was found must be given, there are no pixels to look in")
    if judged.movie.shape[1:] not in finder.warm:
        finder.find(judged, judged.movie[:2])  # compiled before the clock runs
        finder.warm.add(judged.movie.shape[1:])
    began = time.perf_counter()
    localizations = finder.find(judged, judged.movie)
    seconds = time.perf_counter() - began
    tracks = track_puncta(localizations, settings)
    events = _events(judged, judged.truth, localizations, tracks) if with_events else None
    return Found(finder.name, localizations, tracks, events, seconds)


def _events(
    judged: Judged, truth: PunctaTruth, localizations: Localizations, tracks: PunctaTracks
) -> CalciumEvents:
    """Find events in traces, whatever found the puncta: a network that looks at calcium has no say in them."""
    if judged.calcium is None:
        raise BadInputError(f"{judged.name}: has no calcium channel; leave out --both-tasks")
    sigma_px = float(np.nanmedian(truth.sigma_px)) if len(truth.frame) else 1.0
    traces = calcium_traces(
        judged.calcium,
        localizations,
        tracks,
        calcium_sigma_px(sigma_px, truth.pixel_size_um[0]),
        truth.frame_interval_s,
        camera_model=judged.calcium_camera_model,
        bleed_through=None,
    )
    events = find_events(traces)
    return events.take(own_events(events, localizations))
