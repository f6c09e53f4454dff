"""`puncta`, calcium: events, where they are, and what chance gives, on simulated recordings.

The scene of the events is simulated (`_scene`): 15 puncta of 1000 photons that move as the simulator mixes them,
at 20 frames a second for 20 s, with 9 waves a minute, an event every 2 s where there is no punctum, bleaching, and
2 % of the puncta's light in the calcium channel. Puncta are localized and tracked, not told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._table import Row

_SEEDS = (1, 2, 3)
_NEAR_PX = 3.0
_EARLY_S, _LATE_S = 0.1, 0.2
_MARGIN_FRAMES = 20


@dataclass
class _Counts:
    right: int = 0
    wrong: int = 0
    missed: int = 0
    quiet: int = 0
    called_quiet: int = 0
    with_punctum: int = 0
    of_puncta: int = 0


def calcium_rows() -> list[Row]:
    """Measure events, association and co-localization (simulated), and the time to read a frame."""
    counts, onset_s, distance_nm = _Counts(), list[float](), list[float]()
    for seed in _SEEDS:
        _measure(seed, counts, onset_s, distance_nm)
    c = counts
    name = "simulated; goal"
    percent: Any = {"unit": "%", "higher_is_better": True, "name": name}
    return [
        Row.limited("puncta/calcium-f1", 200.0 * c.right / (2 * c.right + c.wrong + c.missed), 90.0, **percent),
        Row.limited("puncta/calcium-sensitivity", 100.0 * c.right / (c.right + c.missed), 95.0, **percent),
        Row.limited("puncta/calcium-specificity", 100.0 * c.called_quiet / c.quiet, 90.0, **percent),
        Row.limited("puncta/calcium-onset", 1e3 * float(np.std(onset_s)), 25.0, unit="ms", name=name),
        Row.limited("puncta/association", 100.0 * c.with_punctum / c.of_puncta, 90.0, **percent),
        Row.limited("puncta/colocalization", float(np.median(distance_nm)), 50.0, unit="nm", name=name),
        _reading_row(),
    ]


def _scene(seed: int) -> Any:
    from parfocal.puncta.simulation import Calcium, PunctaScene

    return PunctaScene(
        shape_px=(128, 128),
        n_frames=400,
        n_puncta=15,
        is_count_exact=True,
        margin_px=-8,
        min_distance_px=8,
        calcium=Calcium(waves_per_min=9, stray_per_s=0.5, bleed_through=0.02, bleaching_s=60),
        seed=seed,
    )


def _measure(seed: int, counts: _Counts, onset_s: list[float], distance_nm: list[float]) -> None:
    from parfocal.puncta.calcium import associate, calcium_traces, find_events, find_sites, own_events
    from parfocal.puncta.detection import localize_movie
    from parfocal.puncta.simulation import simulate_puncta
    from parfocal.puncta.tracking import TrackSettings, track_puncta

    scene = _scene(seed)
    recording = simulate_puncta(scene)
    truth, calcium = recording.truth, recording.calcium
    assert calcium is not None
    pixel_um = truth.pixel_size_um
    spots = localize_movie(recording.movie, recording.camera_model, pixel_size_um=pixel_um)
    tracks = track_puncta(spots, TrackSettings(max_missing_frames=5, min_frames=20))
    sigma_px = scene.calcium.sigma_um / pixel_um[0]
    camera = recording.calcium_camera_model
    traces = calcium_traces(
        calcium, spots, tracks, sigma_px, truth.frame_interval_s, camera_model=camera, bleed_through=None
    )
    events = find_events(traces)
    own = events.take(own_events(events, spots))
    sites = find_sites(calcium, sigma_px, camera_model=camera)
    distance_nm += _distances(associate(traces, events, spots, tracks, sites))
    at_event = _positions(spots, tracks, own)
    is_free = np.ones(len(own), bool)
    for onset, y, x, whose in zip(truth.event_onset_s, truth.event_y_px, truth.event_x_px, truth.event_punctum):
        frame = onset / truth.frame_interval_s
        if whose < 0 or not _MARGIN_FRAMES / 4 < frame < scene.n_frames - _MARGIN_FRAMES / 4:
            continue
        late = own.onset_s - onset
        near = np.hypot(at_event[:, 0] - y, at_event[:, 1] - x) < _NEAR_PX
        fits = np.flatnonzero(is_free & near & (late > -_EARLY_S) & (late < _LATE_S))
        counts.right += int(fits.size > 0)
        counts.missed += int(fits.size == 0)
        if fits.size:
            is_free[fits[0]] = False
            onset_s.append(float(late[fits[0]]))
        seen = np.abs(sites.frame - frame) < _MARGIN_FRAMES / 4
        seen &= np.hypot(sites.y_px - y, sites.x_px - x) < _NEAR_PX
        if seen.any():
            counts.of_puncta += 1
            counts.with_punctum += int(fits.size > 0)
    inside = (own.begin_frame > _MARGIN_FRAMES / 4) & (own.begin_frame < scene.n_frames - _MARGIN_FRAMES / 4)
    counts.wrong += int((is_free & inside).sum())
    _count_quiet(truth, spots, tracks, own, counts)


def _distances(association: Any) -> list[float]:
    return (1e3 * association.site_distance_um[association.site_track >= 0]).tolist()


def _positions(spots: Any, tracks: Any, events: Any) -> NDArray[np.float64]:
    """Return where the punctum of each event is when it peaks."""
    found = np.empty((len(events), 2))
    for i, (track, frame) in enumerate(zip(events.track, events.peak_frame)):
        row = np.flatnonzero((tracks.track == track) & (spots.frame == frame))[0]
        found[i] = spots.y_px[row], spots.x_px[row]
    return found


def _count_quiet(truth: Any, spots: Any, tracks: Any, own: Any, counts: _Counts) -> None:
    """Count puncta-frames without an event, and those of them in which none was called."""
    called = np.zeros((tracks.n_tracks, int(truth.frame.max()) + 1), bool)
    for track, begin, end in zip(own.track, own.begin_frame, own.end_frame):
        called[track, begin : end + 1] = True
    for frame in range(called.shape[1]):
        at = np.flatnonzero(truth.frame == frame)
        for row in np.flatnonzero((spots.frame == frame) & (tracks.track >= 0)):
            distance = np.hypot(truth.y_px[at] - spots.y_px[row], truth.x_px[at] - spots.x_px[row])
            nearest = int(distance.argmin())
            if distance[nearest] < _NEAR_PX and not truth.is_calcium_on[at[nearest]]:
                counts.quiet += 1
                counts.called_quiet += int(not called[tracks.track[row], frame])


def _reading_row() -> Row:
    """Time the reading of 100 puncta in a frame of 512x512."""
    from parfocal.puncta.calcium import ReadSettings, read_signals

    rng = np.random.default_rng(0)
    image = rng.poisson(30.0, (512, 512)).astype(np.float32)
    y, x = rng.uniform(5, 506, (2, 100))
    settings = ReadSettings(2.7)
    read_signals(image, y, x, settings)
    best = np.inf
    for _ in range(20):
        began = time.perf_counter()
        read_signals(image, y, x, settings)
        best = min(best, time.perf_counter() - began)
    return Row.limited("puncta/calcium-read", 1e3 * float(best), 20.0, unit="ms")
