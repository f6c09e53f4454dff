"""Rows of `slices`: the quality of a section, beside linumpy's recorded time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.errors import BadInputError
from parfocal.slices.sections import SectionArrays, assess_quality

LINUMPY_S = 2.6
"""linumpy 80d658e, `assess_slice_quality` of one 20x1024x1024 section, two neighbours, 2-core 2.5 GHz Xeon."""

SSIM_THEN_S = 1.783
"""scikit-image's SSIM of 2048x2048 on that machine, that day."""

SHAPE = (20, 1024, 1024)
N_SECTIONS = 6
_MOVED_PX = 5


def quality_rows(rounds: int = 7) -> list[Row]:
    """Measure `assess_quality` of six sections of 20x1024x1024, by section, against linumpy's as recorded.

    Both compare 5 planes with both neighbours; ours registers them first, and compares the neighbours with each
    other as well. The record is multiplied by what scikit-image's SSIM takes now, turn by turn with ours, over
    what it took then. A section that falls for being moved by 5 px is no measurement.
    """
    sections = SectionArrays(simulated_sections())
    scores = [s.value for s in assess_quality(sections, exclude_first=0).stamps if s.column == "quality_score"]
    if min(float(score or 0.0) for score in scores) < 0.9 * float(np.median([float(s or 0.0) for s in scores])):
        raise BadInputError(f"bench: a section that was only moved fell: {scores}")
    with Peer("skimage_ssim") as peer:
        ours, ssim_now = interleaved(
            lambda: median_seconds(lambda: assess_quality(sections, exclude_first=0), 1) / N_SECTIONS,
            lambda: peer.call("run", repeats=1)["seconds"],
            rounds=rounds,
        )
        name = f"linumpy 80d658e quality, {LINUMPY_S} s then, scaled by SSIM of {peer.name}"
    scaled = LINUMPY_S * ssim_now / SSIM_THEN_S
    return [
        Row.compared("slices/quality-vs-linumpy", ours, scaled, peer_name=name, unit="s", goal=5.0, recorded=True)
    ]


def simulated_sections(seed: int = 0) -> dict[str, NDArray[np.uint16]]:
    """Return simulated sections of one tissue, each with its own noise; the fourth is moved by 5 px."""
    rng = np.random.default_rng(seed)
    depth, height, width = SHAPE
    margin = 2 * _MOVED_PX
    tissue = ndimage.gaussian_filter(rng.normal(size=(height + margin, width + margin)), 4.0)
    tissue = (20_000 + 5_000 * tissue / tissue.std()).astype(np.float32)
    volumes: dict[str, NDArray[np.uint16]] = {}
    for i in range(N_SECTIONS):
        at = _MOVED_PX + (_MOVED_PX if i == 3 else 0)
        plane = tissue[at : at + height, at : at + width]
        noisy = plane + 500 * rng.standard_normal((depth, height, width), np.float32)
        volumes[f"{i:02d}"] = noisy.clip(0, 65535).astype(np.uint16)
    return volumes
