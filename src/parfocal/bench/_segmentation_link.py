"""Rows of `segmentation`: linking planes, linking points over time, comparing with the truth."""

from __future__ import annotations

import contextlib
import io
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._segmentation_stacks import ellipsoid_stack, touching_columns
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.errors import BadInputError
from parfocal.linking import link_points
from parfocal.segmentation.measures import compare
from parfocal.segmentation.planes import LinkSettings, link_planes

EZQUANT_S = 96.7
"""EZQUANT's `Hybrid2D3DBackend` on 20x512x512 with about 94 masks a plane, 2-core 2.5 GHz Xeon."""

N_ELLIPSOIDS = 240
"""About 94 masks a plane."""

_MAX_DISTANCE, _MAX_MISSING = 7.0, 2


def link_rows(rounds: int = 9) -> list[Row]:
    """Measure the linker: time beside EZQUANT's recorded one and Cellpose's `stitch3D`, and what each finds."""
    truth, planes = ellipsoid_stack(n=N_ELLIPSOIDS)
    columns_truth, columns = touching_columns()
    stitch = _stitch3d()
    ours_ap = compare(truth, link_planes(planes).labels).ap(0.5)
    theirs_ap = compare(truth, stitch(planes)).ap(0.5)
    ours_s, theirs_s = interleaved(
        lambda: median_seconds(lambda: link_planes(planes), 3),
        lambda: median_seconds(lambda: stitch(planes), 3),
        rounds=rounds,
    )
    peer = f"cellpose {version('cellpose')} stitch3D(0.25)"
    n_masks = np.mean([np.unique(plane).size - 1 for plane in planes])
    stack = f"20x512x512, {n_masks:.0f} masks a plane"
    return [
        Row.limited("segmentation/link-time", ours_s, 0.2, unit="s", name=f"{stack}, at most"),
        Row.compared(
            "segmentation/link-vs-ezquant",
            ours_s,
            EZQUANT_S,
            peer_name=f"EZQUANT Hybrid2D3DBackend, {stack}",
            unit="s",
            goal=480.0,
            recorded=True,
        ),
        # gaps, caps, necks and filling for the time of a linker that has none of them
        Row.compared(
            "segmentation/link-vs-stitch3d", ours_s, theirs_s, peer_name=f"{peer}, {stack}", unit="s", goal=0.8
        ),
        Row.compared(
            "segmentation/link-ap50-vs-stitch3d",
            ours_ap,
            theirs_ap,
            peer_name=f"{peer}, {N_ELLIPSOIDS} ellipsoids, 3 % of masks missing",
            unit="AP@0.5",
            goal=0.98 / max(theirs_ap, 1e-9),
            higher_is_better=True,
        ),
        Row.limited(
            "segmentation/link-ap50-columns",
            compare(columns_truth, link_planes(columns).labels).ap(0.5),
            0.9,
            unit="AP@0.5",
            higher_is_better=True,
            name="touching columns, at least",
        ),
    ]


def track_rows(rounds: int = 3) -> list[Row]:
    """Measure `link_points` beside laptrack on 9,000 points that diffuse, a tenth missing: time, true links."""
    frames, truth = diffusing_points()
    ours = link_points(frames, _MAX_DISTANCE, _MAX_MISSING)
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder, Peer("laptrack_nuclei") as peer:
        path = Path(folder, "points.npz")
        at = np.concatenate(frames)
        np.savez(path, frame=ours.frame, y=at[:, 0], x=at[:, 1])
        asked: dict[str, Any] = {
            "path": str(path),
            "max_distance": _MAX_DISTANCE,
            "max_missing_frames": _MAX_MISSING,
        }
        theirs = {(a, b) for a, b in peer.call("run", **asked)["links"]}
        ours_s, theirs_s = interleaved(
            lambda: median_seconds(lambda: link_points(frames, _MAX_DISTANCE, _MAX_MISSING), 3),
            lambda: peer.call("run", **asked)["seconds"],
            rounds=rounds,
        )
        name = peer.name
    found = {(a, b) for a, b in ours.links.tolist()}
    return [
        Row.compared("segmentation/tracks-vs-laptrack", ours_s, theirs_s, peer_name=name, unit="s", goal=50.0),
        Row.compared(
            "segmentation/tracks-f1-vs-laptrack",
            _f1(found, truth),
            _f1(theirs, truth),
            peer_name=f"{name}, F1 of links",
            unit="F1",
            goal=0.999,
            higher_is_better=True,
        ),
    ]


def compare_rows(rounds: int = 5) -> list[Row]:
    """Measure `compare` beside StarDist's `matching`, both asked for everything at an IoU of 0.5."""
    truth, planes = ellipsoid_stack(n=N_ELLIPSOIDS)
    found = link_planes(planes, LinkSettings(max_distance_z=1)).labels  # with errors to be counted
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder, Peer("stardist_matching") as peer:
        path = Path(folder, "labels.npz")
        np.savez(path, truth=truth, found=found)
        theirs = peer.call("run", path=str(path), tau=0.5)
        if abs(theirs["accuracy"] - compare(truth, found).ap(0.5)) > 1e-9:
            raise BadInputError(f"bench: StarDist says {theirs['accuracy']}, not {compare(truth, found).ap(0.5)}")
        ours_s, theirs_s = interleaved(
            lambda: median_seconds(lambda: compare(truth, found).at(0.5), 3),
            lambda: peer.call("run", path=str(path), tau=0.5)["seconds"],
            rounds=rounds,
        )
        name = f"{peer.name}, 20x512x512"
    return [Row.compared("segmentation/compare-vs-stardist", ours_s, theirs_s, peer_name=name, unit="s", goal=5.0)]


def diffusing_points(
    n_frames: int = 100, n: int = 100, missing: float = 0.1, seed: int = 0
) -> tuple[list[NDArray[np.float64]], set[tuple[int, int]]]:
    """Return points of each frame, shuffled, and the pairs that follow each other, up to two frames missing."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 512, (n, 2))
    frames: list[NDArray[np.float64]] = []
    last: dict[int, tuple[int, int]] = {}
    truth: set[tuple[int, int]] = set()
    n_points = 0
    for t in range(n_frames):
        seen = rng.permutation(np.flatnonzero(rng.random(n) >= missing))
        frames.append(at[seen])
        for name in seen.tolist():
            if name in last and t - last[name][0] <= _MAX_MISSING + 1:
                truth.add((last[name][1], n_points))
            last[name] = t, n_points
            n_points += 1
        at = at + rng.normal(0, 1.5, at.shape)
    return frames, truth


def _f1(found: set[tuple[int, int]], truth: set[tuple[int, int]]) -> float:
    return 2 * len(found & truth) / (len(found) + len(truth))


def _stitch3d() -> Any:
    """Return Cellpose's linker, without its progress bar."""
    try:
        from cellpose import utils
    except ImportError as error:
        raise BadInputError("bench: stitch3D needs Cellpose: pip install 'parfocal[cellpose]'") from error

    def stitch(planes: NDArray[np.int32]) -> NDArray[np.int32]:
        with contextlib.redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
            return np.asarray(utils.stitch3D(planes.copy(), 0.25))  # it writes into what it is given

    return stitch


__all__ = ["compare_rows", "link_rows", "track_rows"]
