"""Stacks of labels whose truth is known, to link and to compare: drawn, not imaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]


def ellipsoid_stack(
    shape: tuple[int, int, int] = (20, 512, 512), n: int = 200, dropped: float = 0.03, seed: int = 0
) -> tuple[Labels, Labels]:
    """Return the truth and the planes: ellipsoids apart from each other, masks missing, ids shuffled by plane.

    Depth 3 to 6.5 planes to either side, radius 9 to 19 px, about 94 masks a plane of the shape that is default.
    """
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.int32)
    depth, height, width = shape
    z, y, x = np.ogrid[:depth, :height, :width]
    placed = 0
    for _ in range(200 * n):
        if placed == n:
            break
        centre = rng.uniform((0, 10, 10), (depth, height - 10, width - 10))
        half = np.array([rng.uniform(3.0, 6.5), *rng.uniform(9, 15, 2)])
        low = np.maximum(np.floor(centre - half - 1), 0).astype(int)
        high = np.minimum(np.ceil(centre + half + 2), shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        inside = (
            ((z[box[0]] - centre[0]) / half[0]) ** 2
            + ((y[:, box[1]] - centre[1]) / half[1]) ** 2
            + ((x[:, :, box[2]] - centre[2]) / half[2]) ** 2
        ) <= 1
        if inside.sum() < 200 or np.any(truth[box][inside]):
            continue
        placed += 1
        truth[box][inside] = placed
    return truth, shuffled_planes(truth, dropped, rng)


def touching_columns(
    n_side: int = 8, pitch_px: int = 24, n_layers: int = 3, dropped: float = 0.03, seed: int = 0
) -> tuple[Labels, Labels]:
    """Return the truth and the planes: nuclei packed side by side until they touch, stacked one upon another.

    Each is 7 to 11 planes deep; upon it, with 0 to 2 empty planes between, lies the next. Sideways each pixel
    belongs to the nearest (by its own radii) that reaches it.
    """
    rng = np.random.default_rng(seed)
    side = n_side * pitch_px
    depth = n_layers * 12 + 4
    truth = np.zeros((depth, side, side), np.int32)
    nearest = np.full(truth.shape, 1.0)
    z, y, x = np.ogrid[:depth, :side, :side]
    label = 0
    for row in range(n_side):
        for column in range(n_side):
            begins = rng.uniform(0, 3)
            for _ in range(n_layers):
                half_z = rng.uniform(3.5, 5.5)
                centre = (
                    begins + half_z,
                    (row + 0.5) * pitch_px + rng.normal(0, 1.5),
                    (column + 0.5) * pitch_px + rng.normal(0, 1.5),
                )
                half_y, half_x = rng.uniform(0.5, 0.68, 2) * pitch_px
                distance = (
                    ((z - centre[0]) / half_z) ** 2
                    + ((y - centre[1]) / half_y) ** 2
                    + ((x - centre[2]) / half_x) ** 2
                )
                label += 1
                truth[distance < nearest] = label
                nearest = np.minimum(nearest, distance)
                begins += 2 * half_z + rng.uniform(0, 2)
    return truth, shuffled_planes(truth, dropped, rng)


def shuffled_planes(truth: Labels, dropped: float, rng: np.random.Generator) -> Labels:
    """Return each plane's masks under ids of its own, a share of them missing."""
    planes = np.zeros_like(truth)
    for z, plane in enumerate(truth):
        ids = np.unique(plane[plane > 0])
        names = np.zeros(int(truth.max()) + 1, np.int32)
        names[ids] = rng.permutation(ids.size) + 1
        names[ids[rng.random(ids.size) < dropped]] = 0
        planes[z] = names[plane]
    return planes
