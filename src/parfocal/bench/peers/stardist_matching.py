"""Peer of `segmentation`: StarDist's own comparison of labels, which needs no TensorFlow."""
# pyright: reportMissingImports=false

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np
from _serve import serve
from stardist.matching import matching


def run(path: str, tau: float) -> dict[str, Any]:
    """Compare the labels of an npz (truth, found) at one IoU."""
    with np.load(path) as stored:
        truth, found = stored["truth"], stored["found"]
    began = time.perf_counter()
    answer = matching(truth, found, thresh=tau)
    seconds = time.perf_counter() - began
    names = ("tp", "fp", "fn", "accuracy", "f1", "panoptic_quality")
    return {"seconds": seconds, **{name: float(getattr(answer, name)) for name in names}}


serve({"stardist": version("stardist")}, run=run)
