"""Peer of `psf`: picasso's elliptical maximum-likelihood fit, one thread."""
# pyright: reportMissingImports=false

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from _serve import median_seconds, serve
from picasso import gaussmle

state: dict[str, Any] = {}


def prepare(path: str) -> dict[str, Any]:
    """Load the pictures, in photoelectrons; return the widths found, so that it is seen to fit the same."""
    state["spots"] = np.ascontiguousarray(np.load(path), dtype=np.float32)
    found = gaussmle.gaussmle(state["spots"], 0.001, 100, "sigmaxy")[0]
    return {"widths_px": [float(np.median(found[:, k])) for k in (4, 5)]}


def run(repeats: int) -> dict[str, Any]:
    """Time one call over all pictures."""
    return {"seconds": median_seconds(lambda: gaussmle.gaussmle(state["spots"], 0.001, 100, "sigmaxy"), repeats)}


serve({"picassosr": version("picassosr")}, prepare=prepare, run=run)
