"""Peer of `puncta`: trackpy's locate with numba, one thread."""
# pyright: reportMissingImports=false

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import trackpy
from _serve import median_seconds, serve

trackpy.quiet()
state: dict[str, Any] = {}


def _locate(frame: Any, diameter: int, minmass: float) -> Any:
    return trackpy.locate(frame, diameter, minmass=minmass, engine="numba")


def prepare(path: str, diameter: int, minmass: float) -> dict[str, Any]:
    """Load a frame; return how many spots are found in it."""
    state.update(frame=np.load(path), diameter=diameter, minmass=minmass)
    return {"n": len(_locate(state["frame"], diameter, minmass))}


def run(repeats: int) -> dict[str, Any]:
    """Time one call."""
    return {
        "seconds": median_seconds(lambda: _locate(state["frame"], state["diameter"], state["minmass"]), repeats)
    }


def find(path: str, out: str, diameter: int, minmass: float) -> dict[str, Any]:
    """Locate the spots of a movie; write frame, x, y (px, centres at integers) and mass."""
    rows: list[tuple[float, float, float, float]] = []
    for k, frame in enumerate(np.load(path)):
        found = _locate(frame, diameter, minmass)
        rows += [(k, float(x), float(y), float(m)) for x, y, m in zip(found["x"], found["y"], found["mass"])]
    np.save(out, np.array(rows, dtype=np.float64).reshape(-1, 4))
    return {"n": len(rows)}


serve({"trackpy": version("trackpy")}, prepare=prepare, run=run, find=find)
