"""Rows of `puncta`: linking beside LapTrack and trackpy, and how whole tracks are in a simulated recording."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.puncta import Localizations
from parfocal.puncta.detection import localize_movie
from parfocal.puncta.evaluation import match_localizations, score_tracks
from parfocal.puncta.simulation import PunctaScene, simulate_puncta
from parfocal.puncta.tracking import TrackSettings, track_puncta

_MAX_STEP_PX, _MAX_MISSING, _PIXEL_UM = 7.0, 2, 0.1
_STEP_PX = 1.0


def track_rows(rounds: int = 3) -> list[Row]:
    """Measure `track_puncta`, gaps, merges and splits sought, beside LapTrack (which seeks them) and trackpy.

    100 frames of 100 simulated puncta that diffuse, a tenth of them missing in each frame; F1 is of links.
    """
    found, who = diffusing_puncta()
    truth = links_of(found.frame, who, _MAX_MISSING)
    reach = _MAX_STEP_PX * _PIXEL_UM
    settings = TrackSettings(reach, _MAX_MISSING, max_split_um=reach, max_merge_um=reach, min_frames=1)
    ours_f1 = f1_of_links(links_of(found.frame, track_puncta(found, settings).track), truth)

    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder, Peer("puncta_tracks") as peer:
        path = Path(folder, "points.npz")
        np.savez(path, frame=found.frame, y=found.y_px, x=found.x_px)
        asked: dict[str, Any] = {
            "path": str(path),
            "max_distance": _MAX_STEP_PX,
            "max_missing_frames": _MAX_MISSING,
        }

        def f1_of(answer: dict[str, Any]) -> float:
            return f1_of_links(links_of(found.frame, np.array(answer["track"], np.int64)), truth)

        # LapTrack's own tracks end at splits: what it finds without them is its best
        lap_f1 = f1_of(peer.call("laptrack", **asked, branches=False))
        trackpy_f1 = f1_of(peer.call("trackpy_link", **asked))
        ours_s, lap_s, trackpy_s = interleaved(
            lambda: median_seconds(lambda: track_puncta(found, settings), 3),
            lambda: peer.call("laptrack", **asked, branches=True)["seconds"],
            lambda: peer.call("trackpy_link", **asked)["seconds"],
            rounds=rounds,
        )
        versions = {name: f"{name} {number}" for name, number in peer.versions.items()}
    scene = f"{len(found)} simulated points, gaps, merges and splits sought"
    return [
        Row.compared(
            "puncta/track-vs-laptrack",
            ours_s,
            lap_s,
            peer_name=f"{versions['laptrack']}, {scene}",
            unit="s",
            goal=20.0,
        ),
        Row.compared(
            "puncta/track-vs-trackpy",
            ours_s,
            trackpy_s,
            peer_name=f"{versions['trackpy']} link, {len(found)} simulated points, which seeks gaps only",
            unit="s",
            goal=0.5,
        ),
        _of_links("puncta/track-f1-vs-laptrack", ours_f1, lap_f1, versions["laptrack"]),
        _of_links("puncta/track-f1-vs-trackpy", ours_f1, trackpy_f1, versions["trackpy"]),
    ]


def completeness_rows() -> list[Row]:
    """Measure how whole tracks are that the classical detector and `track_puncta` make of a simulated movie."""
    recording = simulate_puncta(PunctaScene(shape_px=(128, 128), n_frames=100, n_puncta=15, seed=4))
    truth = recording.truth
    found = localize_movie(recording.movie, recording.camera_model, pixel_size_um=truth.pixel_size_um)
    tracks = track_puncta(found)
    score = score_tracks(truth, found.frame, tracks, match_localizations(truth, found))
    return [
        Row.limited(
            "puncta/completeness",
            score.completeness,
            0.85,
            unit="share of a true track",
            higher_is_better=True,
            name=f"{score.n_puncta} simulated puncta, 100 frames, purity {score.purity:.3f}, at least",
        )
    ]


def diffusing_puncta(
    n_frames: int = 100, n: int = 100, missing: float = 0.1, seed: int = 0
) -> tuple[Localizations, NDArray[np.int64]]:
    """Return localizations of puncta that diffuse, shuffled in each frame, and whose each is."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 512, (n, 2)) + np.cumsum(rng.normal(0, _STEP_PX, (n_frames, n, 2)), axis=0)
    frame, who = np.nonzero(rng.random((n_frames, n)) >= missing)
    order = np.lexsort((rng.random(frame.size), frame))
    frame, who = frame[order], who[order]
    y, x = at[frame, who].T
    return Localizations((_PIXEL_UM, _PIXEL_UM), frame, x, y, rng.normal(1000, 40, frame.size)), who


def links_of(frame: NDArray[Any], owner: NDArray[Any], max_missing: int | None = None) -> set[tuple[int, int]]:
    """Return the pairs of rows that follow each other in a track; `owner` says whose each is, -1 nobody's."""
    order = np.lexsort((frame, owner))
    a, b = order[:-1], order[1:]
    same = (owner[a] == owner[b]) & (owner[a] >= 0)
    if max_missing is not None:
        same &= frame[b] - frame[a] <= max_missing + 1
    return set(zip(a[same].tolist(), b[same].tolist()))


def f1_of_links(found: set[tuple[int, int]], truth: set[tuple[int, int]]) -> float:
    """Return F1 of links, or how two linkers agree: it is the same whichever is called the truth."""
    return 2 * len(found & truth) / (len(found) + len(truth))


def _of_links(name: str, ours: float, theirs: float, peer: str) -> Row:
    return Row.compared(
        name, ours, theirs, peer_name=f"{peer}, F1 of links", unit="F1", goal=0.999, higher_is_better=True
    )


__all__ = ["completeness_rows", "diffusing_puncta", "f1_of_links", "links_of", "track_rows"]
