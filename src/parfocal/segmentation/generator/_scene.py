"""A specimen before any optics: labels, and how much each voxel glows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.generator import _kernel as kernel
from parfocal.segmentation.generator._nuclei import NucleiTable, draw_nuclei, draw_nucleoli
from parfocal.segmentation.generator._recipe import Scene

Volume = NDArray[np.float32]
_LEAST_SHARE = 0.12  # of its whole volume: what its neighbours leave less of is no nucleus any more
_LEAST_VOXELS = 12


@dataclass(frozen=True)
class Specimen:
    """Labels int32[z, y, x] (1 to n) and light float32[z, y, x], in levels."""

    labels: NDArray[np.int32]
    light: Volume
    radius_px: float


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], step_px: float) -> Volume:
    """Return noise of mean 0 and deviation 1 whose grain is `step_px` voxels, trilinear between random nodes."""
    steps = np.minimum(np.full(3, step_px), np.maximum(1.0, np.array(shape, dtype=float)))
    nodes = [int(size / step) + 3 for size, step in zip(shape, steps)]
    small = rng.standard_normal(nodes, dtype=np.float32)
    out = np.empty(shape, dtype=np.float32)
    kernel.enlarge(small, steps, rng.random(3), out)
    out *= 1.5  # interpolating took that much off its deviation
    return out


def draw_specimen(rng: np.random.Generator, scene: Scene, shape: tuple[int, int, int]) -> Specimen:
    """Draw one specimen on the isotropic grid."""
    nuclei = draw_nuclei(rng, scene, shape)
    body = _body(rng, scene, shape)
    if body is not None and len(nuclei.outlines):
        nuclei = _within(nuclei, body > 0.5 * float(body.max()))
    labels = np.zeros(shape, dtype=np.int32)
    depth = np.full(shape, 4.0, dtype=np.float32)
    halo = np.zeros(shape, dtype=np.float32)
    kernel.draw_outlines(nuclei.outlines, 1, labels, depth, halo)
    _drop_remains(nuclei, labels)

    coarse = smooth_noise(rng, shape, float(rng.uniform(3.0, 5.0)))
    fine = smooth_noise(rng, shape, float(rng.uniform(1.3, 2.2)))
    around = halo if body is None else np.maximum(halo, body)
    light = around * np.clip(1.0 + float(rng.uniform(0.0, 0.35)) * coarse, 0.1, 3.0)
    light = light.astype(np.float32)
    kernel.fill_insides(labels, depth, fine, coarse, nuclei.looks, light)
    kernel.dim_balls(draw_nucleoli(rng, scene, nuclei), labels, light)
    kernel.add_blobs(_unlabelled(rng, scene, shape, nuclei), light)
    return Specimen(labels=_consecutive(labels), light=light, radius_px=nuclei.radius_px)


def _body(rng: np.random.Generator, scene: Scene, shape: tuple[int, int, int]) -> Volume | None:
    """Return an embryo that fills a part of the volume or all of it; None where the scene has none."""
    level = rng.uniform(*scene.body)
    if level <= 0 or rng.random() < 0.25:
        return None
    centre = rng.uniform(0.2, 0.8, 3) * np.array(shape)
    radius = rng.uniform(0.4, 1.2) * max(shape)
    z, y, x = (np.arange(size, dtype=np.float32) - c for size, c in zip(shape, centre.astype(np.float32)))
    far = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return (level * np.clip((radius - far) / 4 + 0.5, 0, 1)).astype(np.float32)


def _within(nuclei: NucleiTable, body: NDArray[np.bool_]) -> NucleiTable:
    """Keep the nuclei whose centre, or what is nearest to it of the volume, lies in the body."""
    at = np.clip(np.rint(nuclei.outlines[:, :3]).astype(int), 0, np.array(body.shape) - 1)
    keep = body[at[:, 0], at[:, 1], at[:, 2]]
    return NucleiTable(nuclei.outlines[keep], nuclei.looks[np.concatenate([[True], keep])], nuclei.radius_px)


def _drop_remains(nuclei: NucleiTable, labels: NDArray[np.int32]) -> None:
    """Take slivers out of labels and light alike: what is seen is labelled."""
    n = len(nuclei.outlines)
    if n == 0:
        return
    o = nuclei.outlines
    flat = labels.shape[0] == 1
    whole = np.pi * o[:, kernel.AY] * o[:, kernel.AX]
    if not flat:
        squash = 1.0 / np.linalg.norm(o[:, [6, 9, 12]], axis=1)
        whole = 4 / 3 * np.pi * o[:, kernel.AZ] * o[:, kernel.AY] * o[:, kernel.AX] * squash
    voxels = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    inside = np.all((o[:, :3] > -0.5) & (o[:, :3] < np.array(labels.shape) - 0.5), axis=1)
    gone = (voxels < _LEAST_VOXELS) | (inside & (voxels < _LEAST_SHARE * whole))
    if gone.any():
        labels[np.concatenate([[False], gone])[labels]] = 0


def _consecutive(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    new = np.zeros(present.size, dtype=np.int32)
    new[present] = np.arange(1, int(present.sum()) + 1, dtype=np.int32)
    return new[labels]


def _unlabelled(
    rng: np.random.Generator, scene: Scene, shape: tuple[int, int, int], nuclei: NucleiTable
) -> NDArray[np.float64]:
    """Specks and dim blobs: what glows and is no nucleus."""
    share = float(np.prod(shape)) / (32 * 64 * 64) if shape[0] > 1 else float(np.prod(shape)) / (128 * 128)
    dimmest = scene.level[0]
    rows: list[tuple[float, ...]] = []
    for (fewest, most), small in ((scene.debris, True), (scene.blobs, False)):
        for _ in range(int(rng.poisson(share * rng.integers(fewest, most + 1)))):
            place = rng.uniform(0, 1, 3) * np.array(shape)
            if small:
                sigma = rng.uniform(0.4, max(0.7, 0.2 * nuclei.radius_px))
                level = rng.uniform(0.2, 2.0)
            else:
                sigma = rng.uniform(0.4, 1.2) * nuclei.radius_px
                level = rng.uniform(0.05, 0.45) * dimmest
            rows.append((*place, *(sigma * rng.uniform(0.7, 1.4, 3)), level))
    return np.array(rows) if rows else np.zeros((0, 7))
