"""Peer of `psf`: smappy's elliptical maximum-likelihood fit, one thread."""
# pyright: reportMissingImports=false

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from _serve import median_seconds, serve
from smappy import GaussianPSF

state: dict[str, Any] = {}


def prepare(path: str) -> dict[str, Any]:
    """Load the pictures, in photoelectrons; return the widths found, so that it is seen to fit the same."""
    state["rois"] = np.ascontiguousarray(np.load(path), dtype=np.float32)
    state["model"] = GaussianPSF(sigma=1.3, elliptical=True)
    found = state["model"].unpack(state["model"].fit(state["rois"], 50, 1))
    return {"widths_px": [float(np.median(found[name])) for name in ("sigma_x_pix", "sigma_y_pix")]}


def run(repeats: int) -> dict[str, Any]:
    """Time one call over all pictures."""
    return {"seconds": median_seconds(lambda: state["model"].fit(state["rois"], 50, 1), repeats)}


serve({"smappy-smlm": version("smappy-smlm")}, prepare=prepare, run=run)
