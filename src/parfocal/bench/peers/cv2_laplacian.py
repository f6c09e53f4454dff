"""Peer of `scores`: variance of OpenCV's Laplacian."""
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from _serve import median_seconds, serve

state: dict[str, Any] = {}


def prepare(path: str, threads: int) -> dict[str, Any]:
    """Load the image that both sides score."""
    cv2.setNumThreads(threads)
    state["raw"] = np.load(path)
    state["float32"] = state["raw"].astype(np.float32)
    return {"threads": cv2.getNumThreads()}


def run(kind: str, repeats: int) -> dict[str, Any]:
    """Time one call, on the image made float32 beforehand ("given") or within ("converted")."""
    if kind == "given":
        image = state["float32"]
        return {"seconds": median_seconds(lambda: cv2.Laplacian(image, cv2.CV_32F).var(), repeats)}
    raw = state["raw"]
    return {"seconds": median_seconds(lambda: cv2.Laplacian(raw.astype(np.float32), cv2.CV_32F).var(), repeats)}


serve({"opencv": cv2.__version__}, prepare=prepare, run=run)
