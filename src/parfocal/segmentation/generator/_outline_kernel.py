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
def draw_seen(labels: Any, n: int, sigma: Any, by_plane: bool, visible: float, best: Any, seen: Any) -> None:
    """Write to `seen` which of the `n` nuclei each voxel is seen to belong to; `best` float32 begins as 0.

    Where `by_plane`, each plane has a level of its own, if it shows `visible` of what the brightest one does and
    no other nucleus lies over its brightest voxel. What lies outside of the volume is what its edge shows, as in
    the blur of the image.
    """
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
    brightest = np.full((n + 1, nz, 2), -1, np.int64)
    tz, ty, tx = _taps(sigma[0]), _taps(sigma[1]), _taps(sigma[2])
    rz, ry, rx = tz.size // 2, ty.size // 2, tx.size // 2
    for i in range(1, n + 1):
        if box[i, 1] < 0:
            continue
        z0, z1 = max(0, box[i, 0] - rz), min(nz, box[i, 1] + 1 + rz)
        y0, y1 = max(0, box[i, 2] - ry), min(ny, box[i, 3] + 1 + ry)
        x0, x1 = max(0, box[i, 4] - rx), min(nx, box[i, 5] + 1 + rx)
        # Along x first, where there is anything; then y, then z, over what has become of it.
        a = np.zeros((box[i, 1] + 1 - box[i, 0], box[i, 3] + 1 - box[i, 2], x1 - x0), np.float32)
        for z in range(a.shape[0]):
            for y in range(a.shape[1]):
                row = labels[z + box[i, 0], y + box[i, 2]]
                for x in range(x0, x1):
                    total = np.float32(0.0)
                    for k in range(tx.size):
                        if row[min(max(x + k - rx, 0), nx - 1)] == i:
                            total += tx[k]
                    a[z, y, x - x0] = total
        b2 = np.zeros((a.shape[0], y1 - y0, x1 - x0), np.float32)
        for z in range(a.shape[0]):
            for y in range(y0, y1):
                for k in range(ty.size):
                    at = min(max(y + k - ry, 0), ny - 1) - box[i, 2]
                    if 0 <= at < a.shape[1]:
                        for x in range(x1 - x0):
                            b2[z, y - y0, x] += ty[k] * a[z, at, x]
        c = np.zeros((z1 - z0, y1 - y0, x1 - x0), np.float32)
        for z in range(z0, z1):
            for k in range(tz.size):
                at = min(max(z + k - rz, 0), nz - 1) - box[i, 0]
                if 0 <= at < a.shape[0]:
                    for y in range(y1 - y0):
                        for x in range(x1 - x0):
                            c[z - z0, y, x] += tz[k] * b2[at, y, x]
        level = _midway(c)
        if level <= 0:
            continue
        top = c.max()
        for z in range(z0, z1):
            plane = c[z - z0]
            # `least` decides who reaches a voxel, `level` whose it is where several do.
            least = np.float32(level)
            if by_plane:
                if plane.max() < visible * top:
                    continue
                least = np.float32(_midway(plane))
                at = np.argmax(plane)
                brightest[i, z, 0] = y0 + at // plane.shape[1]
                brightest[i, z, 1] = x0 + at % plane.shape[1]
            for y in range(y0, y1):
                for x in range(x0, x1):
                    relative = plane[y - y0, x - x0] / np.float32(level)
                    if plane[y - y0, x - x0] >= least and relative >= best[z, y, x]:
                        best[z, y, x] = relative
                        seen[z, y, x] = i
    hidden = np.zeros((n + 1, nz), np.bool_)
    for i in range(1, n + 1):
        for z in range(nz):
            y, x = brightest[i, z]
            hidden[i, z] = y >= 0 and seen[z, y, x] != i
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if hidden[seen[z, y, x], z]:
                    seen[z, y, x] = 0
