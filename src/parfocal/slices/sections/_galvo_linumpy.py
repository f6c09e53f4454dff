"""linumpy's search for the galvo's way back, number for number: for comparison only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

FloatArray = NDArray[np.float64]


def linumpy_galvo_shift(aip: FloatArray, n_extra: int) -> tuple[int, float]:
    """Return its shift, one line more than the band needs, and its confidence in a dark band there."""
    n_lines = aip.shape[0]
    profile = median_filter(aip.mean(axis=1), 5)
    steps = np.abs(np.diff(profile))
    n = steps.size - n_extra
    if n <= 0:
        return 0, 0.0
    begin = int(np.argmax(steps[:n] * steps[n_extra:]))
    return n_lines - begin - n_extra, _dark_band(aip, begin, begin + n_extra)


def linumpy_galvo_for_slice(
    tile: Callable[[int], FloatArray],
    n_tiles: int,
    n_extra: int,
    threshold: float,
    n_samples: int,
    min_intensity: float,
) -> tuple[int, float]:
    """Return its best tile's shift (0 below the threshold), the confidence lowered where tiles disagree."""
    if n_tiles == 0 or n_extra <= 0:
        return 0, 0.0
    first, last = int(n_tiles * 0.2), int(n_tiles * 0.8)
    candidates = dict.fromkeys(
        np.linspace(first, max(last - 1, first), min(n_samples, n_tiles), dtype=int).tolist()
    )
    found: list[tuple[int, float]] = []
    for index in candidates:
        aip = tile(index)
        if aip.mean() >= min_intensity:
            found.append(linumpy_galvo_shift(aip, n_extra))
    if not found:
        return 0, 0.0
    shift, confidence = max(found, key=lambda one: one[1])
    near = [abs(one - shift) <= max(n_extra // 4, 5) for one, _ in found]
    confidence *= float(np.sqrt(np.mean(near)))
    return (shift if confidence >= threshold else 0), confidence


def _dark_band(aip: FloatArray, begin: int, end: int) -> float:
    """Return 0.4 (share of columns darker) + 0.35 (share darker by 10 %) + 0.25 (mean drop / 30 %)."""
    width = end - begin
    reach = 2 * max(10, width // 2)
    before, after = aip[max(0, begin - reach) : begin], aip[end : end + reach]
    if width < 5 or not before.size or not after.size:
        return 0.0
    columns = np.linspace(0, aip.shape[1] - 1, min(aip.shape[1], 20), dtype=int)
    beside = (before[:, columns].mean(axis=0) + after[:, columns].mean(axis=0)) / 2
    within = aip[begin:end, columns].mean(axis=0)
    lit = beside >= 10
    if not lit.any():
        return 0.0
    drop = np.clip((beside[lit] - within[lit]) / beside[lit], 0, None)
    darker = drop > 0
    share = float(darker.mean())
    if share < 0.5:
        return 0.3 * share
    mean_drop = float(drop.sum() / max(int(darker.sum()), 1))
    score = 0.4 * share + 0.35 * float(np.mean(drop > 0.10)) + 0.25 * min(mean_drop / 0.3, 1.0)
    return min(max(score, 0.0), 1.0)
