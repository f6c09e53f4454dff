"""Yardstick of `slices`: scikit-image's structural similarity, which was timed when linumpy was."""
# pyright: reportMissingImports=false

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from _serve import median_seconds, serve
from skimage.metrics import structural_similarity

rng = np.random.default_rng(0)
first = rng.normal(size=(2048, 2048)).astype(np.float32)
second = first + rng.normal(size=first.shape).astype(np.float32)


def run(repeats: int) -> dict[str, Any]:
    """Time one call on two 2048x2048 images."""
    return {"seconds": median_seconds(lambda: structural_similarity(first, second, data_range=8.0), repeats)}


serve({"scikit-image": version("scikit-image")}, run=run)
