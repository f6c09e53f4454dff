"""From raw frames to what the network sees: noise of one everywhere, whatever the camera and the light."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel

Floats = NDArray[np.float32]

BLOCK_PX = 48
"""Side of the blocks by which a frame's background is measured."""
_DARK_SHARE = 0.4  # quantile that stands for a block's background: puncta are bright, and cover less than half
_ANSCOMBE = 0.375
_SIGNAL_UNIT = 4.0
_NO_FRAME_LEVEL = -3.0


@dataclass(frozen=True)
class SeenFrame:
    """One frame as the network sees it.

    Parameters
    ----------
    planes : float32[2, y, x]
        The picture, variance-stabilised, in units of 4 standard deviations of its noise; and how bright its
        background is (a quarter of its binary logarithm, less 1.25).
    level : float32[y, x]
        Counts per pixel that the picture was compared with, read variance included.
    variance : float32[y, x] or float
        Of the read noise, counts².
    excess_noise : float
        Electrons per count.
    """

    planes: Floats
    level: Floats
    variance: Floats | float
    excess_noise: float


def seen_frame(frame: NDArray[Any], camera_model: CameraModel, excess_noise: float | None = None) -> SeenFrame:
    """Return a raw frame `[y, x]` (ADU) as the network sees it; no other frame has a part in it.

    Counts n are photoelectrons over the excess noise (2 of an EMCCD); with read variance v and local background b
    the picture is 2 (sqrt(n + v + 3/8) - sqrt(b + v + 3/8)), whose noise is 1 wherever there is light (Anscombe
    1948; with read noise, Murtagh et al. 1995).

    Raises
    ------
    BadInputError
        It is no picture of real numbers.
    """
    if frame.ndim != 2 or frame.dtype.kind not in "uif":
        raise BadInputError(
            f"puncta network: frame of {frame.dtype} and shape {frame.shape}, expected real [y, x]"
        )
    excess = camera_model.excess_noise if excess_noise is None else excess_noise
    counts = camera_model.to_electrons(frame) / np.float32(excess)
    variance = np.square(np.asarray(camera_model.read_noise_e, np.float32) / np.float32(excess))
    return seen_counts(counts, variance if variance.ndim else float(variance), excess)


def seen_counts(counts: Floats, variance: Floats | float, excess_noise: float = 1.0) -> SeenFrame:
    """Return a picture in counts `[y, x]` as the network sees it."""
    level = np.maximum(local_background(counts), 0.0) + np.float32(_ANSCOMBE) + variance
    stabilised = np.sqrt(np.maximum(counts + (variance + np.float32(_ANSCOMBE)), 0.0)) - np.sqrt(level)
    planes = np.empty((2, *counts.shape), np.float32)
    planes[0] = stabilised * np.float32(2.0 / _SIGNAL_UNIT)
    planes[1] = np.log2(level) * np.float32(0.25) - np.float32(1.25)
    return SeenFrame(planes, level.astype(np.float32, copy=False), variance, excess_noise)


def no_frame(shape: tuple[int, ...]) -> Floats:
    """Return what the network sees where there is no frame: before the first, after the last."""
    planes = np.zeros((2, *shape), np.float32)
    planes[1] = _NO_FRAME_LEVEL
    return planes


def local_background(counts: Floats) -> Floats:
    """Return the local background: a low quantile of each block, interpolated between blocks' centres."""
    height, width = counts.shape
    n_y, n_x = max(1, height // BLOCK_PX), max(1, width // BLOCK_PX)
    if n_y == n_x == 1:
        return np.full(counts.shape, _dark(counts.ravel()), np.float32)
    edges_y, edges_x = np.linspace(0, height, n_y + 1).astype(int), np.linspace(0, width, n_x + 1).astype(int)
    grid = np.array(
        [[_dark(counts[y0:y1, x0:x1].ravel()) for x0, x1 in pairwise(edges_x)] for y0, y1 in pairwise(edges_y)],
        np.float32,
    )
    rows = _weights(height, edges_y) @ grid
    return rows @ _weights(width, edges_x).T


def _dark(values: Floats) -> float:
    k = int(_DARK_SHARE * (values.size - 1))
    return float(np.partition(values, k)[k])


def _weights(n: int, edges: NDArray[np.int_]) -> Floats:
    """Return (n, blocks) weights of linear interpolation between the blocks' centres."""
    centres = 0.5 * (edges[:-1] + edges[1:] - 1)
    blocks = np.eye(len(centres))
    at = np.arange(n)
    return np.stack([np.interp(at, centres, row) for row in blocks], axis=1).astype(np.float32)
