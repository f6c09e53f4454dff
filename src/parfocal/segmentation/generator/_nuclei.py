"""Draw tables of nuclei: where they are, how they are shaped, how they look."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.generator import _kernel as kernel
from parfocal.segmentation.generator._recipe import Range, Scene

Table = NDArray[np.float64]
_DENSEST = 0.38  # packing at which balls that fall at random find no more room


@dataclass(frozen=True)
class NucleiTable:
    """Nuclei of a volume: outlines (`_kernel` names the columns), looks (a row more, for label 0), mean radius."""

    outlines: Table
    looks: Table
    radius_px: float


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """Return a number within limits above 0, each octave as likely as the next."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def draw_nuclei(rng: np.random.Generator, scene: Scene, shape: tuple[int, int, int]) -> NucleiTable:
    """Return the nuclei of a volume; some lie half outside it. A volume of one plane gets flat ones."""
    mean_radius = log_uniform(rng, scene.radius_px)
    centres, radii = _places(rng, scene, shape, mean_radius)
    flat = shape[0] == 1
    common = _direction(rng, flat)
    aligned = rng.uniform(*scene.aligned)
    # Nuclei of adherent cells are half as high as wide; a dry lens above water stretches depth by a third.
    squash = 1.0 if flat else log_uniform(rng, (0.45, 1.4))
    texture, mitotic = rng.uniform(*scene.texture), rng.uniform(*scene.mitotic)
    bump, bend = rng.uniform(*scene.bump), rng.uniform(*scene.bend)
    elongation = rng.uniform(*scene.elongation)
    levels = np.sort(rng.uniform(*scene.level, 2))
    halo, halo_level = rng.uniform(1.2, 2.0), rng.uniform(*scene.cytoplasm)
    rim, fine = rng.uniform(-0.25, 0.25), rng.uniform(0.0, 1.0)

    rows: list[Table] = []
    looks: list[tuple[float, float, float, float]] = [(0.0, 0.0, 0.0, 0.0)]
    for centre, r in zip(centres, radii):
        long = aligned * common + (1 - aligned) * _direction(rng, flat)
        rotation = _axes_along(rng, long, flat)
        level = rng.uniform(*levels)
        dividing = rng.random() < mitotic
        own = 1.0 + (elongation - 1.0) * rng.uniform(0.5, 1.2)
        plates = 2 if dividing and rng.random() < 0.4 else 1
        apart = rng.uniform(0.45, 0.9) * r if plates == 2 else 0.0
        for side in range(plates):
            row = np.zeros(kernel.N_COLUMNS)
            row[:3] = centre
            if dividing:
                wide = rng.uniform(0.7, 1.0) * r
                # A plate across its long direction: thin along it.
                row[kernel.AX], row[kernel.AY], row[kernel.AZ] = max(1.6, rng.uniform(0.3, 0.45) * r), wide, wide
                row[:3] += (2 * side - 1) * apart * rotation[2] * (plates == 2)
                look = (level * rng.uniform(1.5, 3.5), 0.5 * texture, fine, 0.0)
            else:
                row[kernel.AX] = r * own ** (2 / 3)
                row[kernel.AY], row[kernel.AZ] = r * own ** (-1 / 3) * rng.uniform(0.88, 1.12, 2)
                row[kernel.BUMPS : kernel.BUMPS + 5] = rng.normal(0, 0.6 * bump, 5).clip(-1.2 * bump, 1.2 * bump)
                row[kernel.BEND] = bend * rng.uniform(-1, 1)
                look = (level, texture, fine, rim)
            own_rotation = rotation.copy()
            own_rotation[:, 0] /= squash
            row[kernel.ROTATION : kernel.ROTATION + 9] = own_rotation.ravel()
            row[kernel.HALO], row[kernel.HALO_LEVEL] = halo, halo_level * rng.uniform(0.5, 1.0)
            rows.append(row)
            looks.append(look)
    table = np.array(rows) if rows else np.zeros((0, kernel.N_COLUMNS))
    return NucleiTable(outlines=table, looks=np.array(looks), radius_px=mean_radius)


def draw_nucleoli(rng: np.random.Generator, scene: Scene, nuclei: NucleiTable) -> Table:
    """Return dark balls float64[n, 6]: z, y, x, radius, factor, label."""
    fewest, most = scene.nucleoli
    how_dark = rng.uniform(0.15, 0.8)
    if most == 0 or rng.random() < 0.3 * (fewest == 0):
        return np.zeros((0, 6))
    balls: list[tuple[float, ...]] = []
    for n, row in enumerate(nuclei.outlines):
        least = min(row[kernel.AZ], row[kernel.AY], row[kernel.AX])
        for _ in range(int(rng.integers(fewest, most + 1))):
            radius = least * rng.uniform(*scene.nucleolus_radius)
            place = row[:3] + rng.uniform(-0.4, 0.4, 3) * least
            balls.append((*place, radius, min(1.0, how_dark * rng.uniform(0.6, 1.4)), n + 1))
    return np.array(balls) if balls else np.zeros((0, 6))


def _places(
    rng: np.random.Generator, scene: Scene, shape: tuple[int, int, int], mean_radius: float
) -> tuple[Table, Table]:
    spacing = rng.uniform(*scene.spacing)
    spread = rng.uniform(*scene.radius_spread)
    fill = rng.uniform(*scene.fill)
    beyond = 0.6 * mean_radius
    flat = shape[0] == 1
    low = np.array([0.0 if flat else -beyond, -beyond, -beyond])
    high = np.array(shape) - 1.0 - low
    room = float(np.prod((high - low)[1:])) * (1.0 if flat else float(high[0] - low[0]))
    one = math.pi * (spacing * mean_radius) ** 2 if flat else 4 / 3 * math.pi * (spacing * mean_radius) ** 3
    expected = fill * (0.5 if flat else _DENSEST) * room / one
    wanted = min(scene.most, int(rng.poisson(expected))) if expected < 8 else min(scene.most, round(expected))
    if wanted == 0:
        return np.zeros((0, 3)), np.zeros(0)
    radii = mean_radius * np.exp(rng.normal(0, spread, wanted).clip(-0.6, 0.5))
    tries = rng.random((min(40 * wanted + 50, 20_000), 5))
    centres = np.asarray(
        kernel.throw_darts(tries, radii, low, high, spacing, rng.uniform(*scene.touching), wanted),
        dtype=np.float64,
    )
    return centres, radii[: len(centres)]


def _direction(rng: np.random.Generator, flat: bool) -> Table:
    vector = rng.normal(0, 1, 3)
    if flat:
        vector[0] = 0.0
    return vector / max(1e-9, float(np.linalg.norm(vector)))


def _axes_along(rng: np.random.Generator, long: Table, flat: bool) -> Table:
    """Return a rotation whose last row is `long`; in a flat volume its first is z."""
    long = long / max(1e-9, float(np.linalg.norm(long)))
    helper = np.array([1.0, 0.0, 0.0]) if flat else _direction(rng, flat)
    middle = np.cross(helper, long)
    length = float(np.linalg.norm(middle))
    if length < 1e-3:
        middle = np.cross(np.array([0.3, 0.5, 0.81]), long)
        length = float(np.linalg.norm(middle))
    middle /= length
    return np.stack([np.cross(middle, long), middle, long])
