"""`scores`: all six focus scores of a camera frame, beside OpenCV's Laplacian alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.imaging import sharpness, usable_cores

_SIDE_PX = 2048
_REPEATS = 5


def scores(rounds: int = 15) -> list[Row]:
    """Measure `sharpness` of a 2048x2048 uint16 frame against `cv2.Laplacian(image, CV_32F).var()`.

    Both sides use all usable cores. `vs-cv2-laplacian` hands OpenCV the image made float32 beforehand, as it
    would like it; `vs-cv2-laplacian-converted` counts that conversion, which ours always does.
    """
    frame = np.random.default_rng(0).poisson(200, (_SIDE_PX, _SIDE_PX)).astype(np.uint16)
    cores = usable_cores()
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder, Peer("cv2_laplacian") as peer:
        path = Path(folder) / "frame.npy"
        np.save(path, frame)
        peer.call("prepare", path=str(path), threads=cores)

        def ours() -> float:
            return median_seconds(lambda: sharpness(frame, n_threads=cores), _REPEATS)

        def theirs(kind: str) -> float:
            return peer.call("run", kind=kind, repeats=_REPEATS)["seconds"]

        us, given, converted = interleaved(
            ours, lambda: theirs("given"), lambda: theirs("converted"), rounds=rounds
        )
        name = f"Laplacian variance by {peer.name}, {cores} threads"
    return [
        Row.compared("scores/vs-cv2-laplacian", us * 1e3, given * 1e3, peer_name=name, unit="ms"),
        Row.compared(
            "scores/vs-cv2-laplacian-converted",
            us * 1e3,
            converted * 1e3,
            peer_name=f"{name}, from uint16",
            unit="ms",
        ),
    ]
