"""How far each nucleus is seen to reach: its own blurred light against half of what it has inside; compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _taps(sigma: float) -> Any:
    reach = int(np.ceil(2.5 * sigma)) if sigma > 0.2 else 0
    taps = np.empty(2 * reach + 1, np.float32)
    for k in range(taps.size):
        taps[k] = np.exp(-0.5 * ((k - reach) / sigma) ** 2) if reach else 1.0
    return taps / taps.sum()


@njit(cache=True, nogil=True)
def _midway(light: Any) -> Any:
    """Return the level midway between nothing and the mean of what is above it (Ridler and Calvard)."""
    top = np.float32(0.0)
    for v in light.flat:
        top = max(top, v)
    level = 0.5 * top
    for _ in range(12):
        total, count = 0.0, 0
        for v in light.flat:
            if v > level:
                total += v
                count += 1
        new = 0.5 * total / max(count, 1)
        if abs(new - level) < 0.004 * top:
            return new
        level = new
    return level


@njit(cache=True, nogil=True)
def _spread(labels: Any, i: int, box: Any, low: Any, high: Any, sigma: Any) -> Any:
    """Return what nucleus `i`, evenly bright, sends to the voxels from `low` up to `high` through a Gaussian.

    `box` holds its first and last voxel along each axis. What lies outside of the volume is what its edge shows,
    as in the blur of the image.
    """
    nz, ny, nx = labels.shape
    tz, ty, tx = _taps(sigma[0]), _taps(sigma[1]), _taps(sigma[2])
    rz, ry, rx = tz.size // 2, ty.size // 2, tx.size // 2
    # Along x first, where there is anything; then y, then z, over what has become of it.
    along_x = np.zeros((box[1] + 1 - box[0], box[3] + 1 - box[2], high[2] - low[2]), np.float32)
    for z in range(along_x.shape[0]):
        for y in range(along_x.shape[1]):
            row = labels[z + box[0], y + box[2]]
            for x in range(low[2], high[2]):
                total = np.float32(0.0)
                for k in range(tx.size):
                    if row[min(max(x + k - rx, 0), nx - 1)] == i:
                        total += tx[k]
                along_x[z, y, x - low[2]] = total
    along_y = np.zeros((along_x.shape[0], high[1] - low[1], along_x.shape[2]), np.float32)
    for z in range(along_y.shape[0]):
        for y in range(low[1], high[1]):
            for k in range(ty.size):
                at = min(max(y + k - ry, 0), ny - 1) - box[2]
                if 0 <= at < along_x.shape[1]:
                    for x in range(along_x.shape[2]):
                        along_y[z, y - low[1], x] += ty[k] * along_x[z, at, x]
    spread = np.zeros((high[0] - low[0], along_y.shape[1], along_y.shape[2]), np.float32)
    for z in range(low[0], high[0]):
        for k in range(tz.size):
            at = min(max(z + k - rz, 0), nz - 1) - box[0]
            if 0 <= at < along_y.shape[0]:
                for y in range(along_y.shape[1]):
                    for x in range(along_y.shape[2]):
                        spread[z - low[0], y, x] += tz[k] * along_y[at, y, x]
    return spread


@njit(cache=True, nogil=True)
def _boxes(labels: Any, n: int) -> Any:
    """Return the first and last voxel of each nucleus along each axis; the last is -1 where there is none."""
    nz, ny, nx = labels.shape
    box = np.empty((n + 1, 6), np.int64)
    for i in range(n + 1):
        box[i] = np.array([nz, -1, ny, -1, nx, -1])
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = labels[z, y, x]
                if i > 0:
                    b = box[i]
                    b[0], b[1] = min(b[0], z), max(b[1], z)
                    b[2], b[3] = min(b[2], y), max(b[3], y)
                    b[4], b[5] = min(b[4], x), max(b[5], x)
    return box


@njit(cache=True, nogil=True)
def draw_seen(
    labels: Any,
    n: int,
    core: Any,
    tail: Any,
    tail_share: float,
    by_plane: bool,
    visible: float,
    best: Any,
    seen: Any,
) -> None:
    """Write to `seen` which of the `n` nuclei each voxel is seen to belong to; `best` float32 begins as 0.

    The blur is a Gaussian of `core`, and `tail_share` of it one of `tail`. Where `by_plane`, each plane has a
    level of its own, if it shows `visible` of what the brightest one does and no other nucleus lies over its
    brightest voxel.
    """
    nz = labels.shape[0]
    box = _boxes(labels, n)
    brightest = np.full((n + 1, nz, 2), -1, np.int64)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    share = np.float32(tail_share)
    for i in range(1, n + 1):
        if box[i, 1] < 0:
            continue
        for axis in range(3):
            reach = _taps(core[axis]).size // 2
            if tail_share > 0:
                reach = max(reach, _taps(tail[axis]).size // 2)
            low[axis] = max(0, box[i, 2 * axis] - reach)
            high[axis] = min(labels.shape[axis], box[i, 2 * axis + 1] + 1 + reach)
        light = _spread(labels, i, box[i], low, high, core)
        if tail_share > 0:
            light = (np.float32(1.0) - share) * light + share * _spread(labels, i, box[i], low, high, tail)
        level = _midway(light)
        if level <= 0:
            continue
        top = light.max()
        for z in range(low[0], high[0]):
            plane = light[z - low[0]]
            # `least` decides who reaches a voxel, `level` whose it is where several do.
            least = np.float32(level)
            if by_plane:
                if plane.max() < visible * top:
                    continue
                least = np.float32(_midway(plane))
                at = np.argmax(plane)
                brightest[i, z, 0] = low[1] + at // plane.shape[1]
                brightest[i, z, 1] = low[2] + at % plane.shape[1]
            for y in range(low[1], high[1]):
                for x in range(low[2], high[2]):
                    here = plane[y - low[1], x - low[2]]
                    relative = here / np.float32(level)
                    if here >= least and relative >= best[z, y, x]:
                        best[z, y, x] = relative
                        seen[z, y, x] = i
    hidden = np.zeros((n + 1, nz), np.bool_)
    for i in range(1, n + 1):
        for z in range(nz):
            y, x = brightest[i, z]
            hidden[i, z] = y >= 0 and seen[z, y, x] != i
    for z in range(nz):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if hidden[seen[z, y, x], z]:
                    seen[z, y, x] = 0
