"""Peer of `puncta`: picasso's identify, and its maximum-likelihood fit of round spots, one thread."""
# pyright: reportMissingImports=false

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from _serve import median_seconds, serve
from picasso import gaussmle, localize

state: dict[str, Any] = {}


def prepare_fit(path: str) -> dict[str, Any]:
    """Load pictures in photoelectrons; return the median width found, so that it is seen to fit the same."""
    state["spots"] = np.ascontiguousarray(np.load(path), dtype=np.float32)
    found = gaussmle.gaussmle(state["spots"], 0.001, 100, "sigma")[0]
    return {"width_px": float(np.median(found[:, 4]))}


def fit(repeats: int) -> dict[str, Any]:
    """Time one call over all pictures."""
    return {"seconds": median_seconds(lambda: gaussmle.gaussmle(state["spots"], 0.001, 100, "sigma"), repeats)}


def find(path: str, out: str, box: int, gradient: float, offset: float, e_per_adu: float) -> dict[str, Any]:
    """Identify and fit the spots of a movie; write frame, x, y (px, centres at integers), net gradient."""
    movie = np.load(path)
    half = box // 2
    rows: list[tuple[float, float, float, float]] = []
    for k, frame in enumerate(movie):
        y, x, net = localize.identify_in_image(np.ascontiguousarray(frame, np.float32), gradient, box)
        if not len(x):
            continue
        windows = np.stack([frame[j - half : j + half + 1, i - half : i + half + 1] for j, i in zip(y, x)])
        spots = np.ascontiguousarray((windows - offset) * e_per_adu, dtype=np.float32)
        theta = gaussmle.gaussmle(spots, 0.001, 100, "sigma")[0]
        inside = (np.abs(theta[:, 0] - half) <= half) & (np.abs(theta[:, 1] - half) <= half)
        rows += [
            (k, float(i + t[0] - half), float(j + t[1] - half), float(g))
            for i, j, t, g in zip(x[inside], y[inside], theta[inside], net[inside])
        ]
    np.save(out, np.array(rows, dtype=np.float64).reshape(-1, 4))
    return {"n": len(rows)}


serve({"picassosr": version("picassosr")}, prepare_fit=prepare_fit, fit=fit, find=find)
