"""Peer of `orchestration`: pymmcore-plus' MDA runner with its OME-Zarr sink, on the C++ demo camera."""
# pyright: reportMissingImports=false

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from _serve import serve
from pymmcore_plus import CMMCorePlus
from useq import MDASequence

core = CMMCorePlus()
core.loadSystemConfiguration()
core.setAutoShutter(False)


def prepare(exposure_ms: float) -> dict[str, Any]:
    """Set the camera as the other side has it."""
    core.setExposure(exposure_ms)
    return {"shape": [core.getImageHeight(), core.getImageWidth()]}


def stack(path: str, n_planes: int) -> dict[str, Any]:
    """Time a z-stack, plane by plane, into an OME-Zarr."""
    return _run(
        MDASequence.model_validate({"z_plan": {"range": (n_planes - 1) * 0.5, "step": 0.5}}), path, n_planes
    )


def burst(path: str, n_frames: int) -> dict[str, Any]:
    """Time frames as fast as they come: the runner makes one hardware sequence of them."""
    return _run(MDASequence.model_validate({"time_plan": {"interval": 0, "loops": n_frames}}), path, n_frames)


def _run(sequence: MDASequence, path: str, n_frames: int) -> dict[str, Any]:
    came: list[int] = []
    core.mda.events.frameReady.connect(lambda *_: came.append(1))
    began = time.perf_counter()
    core.mda.run(sequence, output=path)
    seconds = time.perf_counter() - began
    core.mda.events.frameReady.disconnect()
    if len(came) != n_frames:
        raise RuntimeError(f"{len(came)} of {n_frames} frames came")
    return {"seconds": seconds}


serve(
    {"pymmcore-plus": version("pymmcore-plus"), "ome-writers": version("ome-writers")},
    prepare=prepare,
    stack=stack,
    burst=burst,
)
