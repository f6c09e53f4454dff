"""Rows of `slices`: all frames of a stack against all, beside NumPy's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.errors import BadInputError
from parfocal.imaging import correlation_matrix

N_FRAMES, _SIDE_PX = 40, 512
_SAME_SCENE = 0.95
_REPEATS = 3


def correlation_rows(rounds: int = 9) -> list[Row]:
    """Measure `correlation_matrix` of 40 uint16 frames of 512x512 against `np.corrcoef`, both on all cores.

    NumPy is handed the stack as rows of float64 beforehand, as it would like it; ours begins at the camera's type.
    Binned 4x, the graph of frames that show one scene (r >= 0.95) must be the one that NumPy finds at full size.
    """
    stack = simulated_stack()
    rows = stack.reshape(N_FRAMES, -1).astype(np.float64)
    expected = np.corrcoef(rows) >= _SAME_SCENE
    for bin_px in (1, 4):
        if not np.array_equal(correlation_matrix(stack, bin_px) >= _SAME_SCENE, expected):
            raise BadInputError(f"bench: binned {bin_px}x, other frames are alike than by np.corrcoef")
    full, binned, theirs = interleaved(
        lambda: median_seconds(lambda: correlation_matrix(stack), _REPEATS),
        lambda: median_seconds(lambda: correlation_matrix(stack, bin_px=4), _REPEATS),
        lambda: median_seconds(lambda: np.corrcoef(rows), _REPEATS),
        rounds=rounds,
    )
    peer = f"np.corrcoef, numpy {np.__version__}, float64 rows made beforehand"
    return [
        Row.compared(
            "slices/correlation-vs-corrcoef", full * 1e3, theirs * 1e3, peer_name=peer, unit="ms", goal=2.5
        ),
        Row.compared(
            "slices/correlation-binned-vs-corrcoef",
            binned * 1e3,
            theirs * 1e3,
            peer_name=f"{peer}, not binned",
            unit="ms",
            goal=5.0,
        ),
    ]


def simulated_stack(side_px: int = _SIDE_PX, seed: int = 0) -> NDArray[np.uint16]:
    """Return a simulated z-stack: cells that defocus slowly, shot noise, three frames taken while it all moved."""
    rng = np.random.default_rng(seed)
    shape = (side_px + 32, side_px + 32)
    cells = np.zeros(shape)
    n = round(400 * (side_px / _SIDE_PX) ** 2)
    cells[tuple(rng.integers(0, shape[0], (2, n)))] = rng.uniform(0.5, 1.0, n)
    cells = ndimage.gaussian_filter(cells, 6.0)
    cells *= 3000 / cells.max()
    frames = np.empty((N_FRAMES, side_px, side_px), np.uint16)
    blurred = {blur: 100 + ndimage.gaussian_filter(cells, blur) for blur in np.arange(0.0, 5.1, 0.25)}
    for z in range(N_FRAMES):
        scene = blurred[abs(z - N_FRAMES // 2) * 0.25]
        offset = 16 + (14 if z in (7, 19, 31) else 0)
        frames[z] = rng.poisson(scene[offset : offset + side_px, 16 : 16 + side_px])
    return frames
