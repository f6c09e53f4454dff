"""Rows of `slices`: a missing section made from its neighbours, beside linumpy's recorded time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.bench._peers import Peer, interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.errors import BadInputError
from parfocal.imaging import warp
from parfocal.slices.sections import interpolate_section

LINUMPY_S = 18.8
"""linumpy 80d658e, `interpolate_z_morph` of 20x512x512, 2-core 2.5 GHz Xeon."""

SSIM_THEN_S = 1.783
"""scikit-image's SSIM of 2048x2048 on that machine, that day."""

SHAPE = (20, 512, 512)
_TURN_DEG, _SHIFT_PX = 1.5, (6.0, -4.0)


def interpolation_rows(rounds: int = 7) -> list[Row]:
    """Measure `interpolate_section` of 20x512x512 against linumpy's z-morph as recorded, scaled to this machine.

    The record is multiplied by what scikit-image's SSIM takes now, turn by turn with ours, over what it took
    then. A section that is refused, or a transform that misses what was planted, is no measurement.
    """
    before, after = simulated_neighbours()
    made = interpolate_section(before, after)
    if made.failed or abs(abs(float(made.metrics["rotation_deg"] or 0.0)) - _TURN_DEG) > 0.05:
        raise BadInputError(f"bench: the planted turn was not found ({made.reason or made.metrics})")
    with Peer("skimage_ssim") as peer:
        ours, ssim_now = interleaved(
            lambda: median_seconds(lambda: interpolate_section(before, after), 1),
            lambda: peer.call("run", repeats=1)["seconds"],
            rounds=rounds,
        )
        name = f"linumpy 80d658e z-morph, {LINUMPY_S} s then, scaled by SSIM of {peer.name}"
    scaled = LINUMPY_S * ssim_now / SSIM_THEN_S
    return [
        Row.compared(
            "slices/interpolation-vs-linumpy", ours, scaled, peer_name=name, unit="s", goal=5.0, recorded=True
        )
    ]


def simulated_neighbours(seed: int = 0) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return two simulated sections of one tissue, the second turned and shifted, each with noise."""
    rng = np.random.default_rng(seed)
    height, width = SHAPE[1:]
    tissue = ndimage.gaussian_filter(rng.normal(size=(height + 96, width + 96)), 4.0)
    tissue = 20_000 + 5_000 * tissue / tissue.std()
    turn = math.radians(_TURN_DEG)
    matrix = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1.0]])
    middle = np.array([tissue.shape[0] / 2, tissue.shape[1] / 2])
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle + _SHIFT_PX
    turned = warp(tissue, matrix)
    inner = (slice(48, 48 + height), slice(48, 48 + width))

    def section(plane: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.uint16]:
        noisy = plane[inner] + rng.normal(scale=300.0, size=SHAPE)
        return noisy.clip(0, 65535).astype(np.uint16)

    return section(tissue), section(turned)
