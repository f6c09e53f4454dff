"""Layers of points, beads and puncta, and the cells that the puncta sit on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics._samples import Box, Floats, Surface, jittered_cells, surface_range


@dataclass(frozen=True, eq=False)
class PointList:
    """Points given one by one: `positions_um` is `[n, (z, y, x)]`, `photons_per_s` is `[n]`."""

    positions_um: Floats
    photons_per_s: Floats

    def __post_init__(self) -> None:
        if self.positions_um.ndim != 2 or self.positions_um.shape != (self.photons_per_s.size, 3):
            raise BadInputError(
                f"points: positions have shape {self.positions_um.shape} and photons "
                f"{self.photons_per_s.shape}, expected (n, 3) in the order z, y, x, and (n,)"
            )

    def points_in(self, box: Box) -> tuple[Floats, Floats]:
        """Return the points inside the box; see `PointLayer`."""
        inside = box.contains(self.positions_um[:, 1], self.positions_um[:, 2])
        return self.positions_um[inside], self.photons_per_s[inside]


@dataclass(frozen=True)
class BeadField:
    """Beads stuck to the cover glass, about one every `spacing_um` squared."""

    seed: int
    surface: Surface
    spacing_um: float = 7.0
    photons_per_s: float = 4e5
    spread: float = 0.15
    z_spread_um: float = 0.02

    def points_in(self, box: Box) -> tuple[Floats, Floats]:
        """Return the beads inside the box; see `PointLayer`."""
        positions: list[tuple[float, float, float]] = []
        photons: list[float] = []
        for rng, y, x in jittered_cells(box, self.spacing_um, self.seed, 0xBEAD, jitter=0.9):
            z = float(self.surface.height_um(y, x)) + float(rng.normal(0, self.z_spread_um))
            brightness = self.photons_per_s * math.exp(float(rng.normal(0, self.spread)))
            if rng.random() < 0.8:
                positions.append((z, y, x))
                photons.append(brightness)
        return _inside(positions, photons, box)


@dataclass(frozen=True)
class PunctaField:
    """Puncta on the lower membrane of round cells that stand `cell_spacing_um` apart."""

    seed: int
    surface: Surface
    cell_spacing_um: float = 24.0
    cell_radius_um: float = 9.0
    puncta_per_cell: float = 24.0
    photons_per_s: float = 4e4
    spread: float = 0.5

    def points_in(self, box: Box) -> tuple[Floats, Floats]:
        """Return the puncta inside the box; see `PointLayer`."""
        positions: list[tuple[float, float, float]] = []
        photons: list[float] = []
        for _, places, brightness in self.cells_in(box):
            positions.extend(zip(*places.T.tolist()))
            photons.extend(brightness.tolist())
        return _inside(positions, photons, box)

    def cells_in(self, box: Box) -> Iterator[tuple[int, Floats, Floats]]:
        """Yield a seed of its own, positions `[n, (z, y, x)]` and photons/s `[n]` of each cell in reach."""
        reach = Box(*(np.array(box) + self.cell_radius_um * np.array([-1, -1, 1, 1])))
        for rng, y, x in jittered_cells(reach, self.cell_spacing_um, self.seed, 0xCE11, jitter=0.2):
            count = int(rng.poisson(self.puncta_per_cell))
            r = self.cell_radius_um * np.sqrt(rng.random(count))
            angle = rng.uniform(0, 2 * np.pi, count)
            ys, xs = y + r * np.sin(angle), x + r * np.cos(angle)
            zs = self.surface.height_um(ys, xs) + np.abs(rng.normal(0, 0.1, count))
            photons = self.photons_per_s * np.exp(rng.normal(0, self.spread, count))
            yield int(rng.integers(2**62)), np.stack([zs, ys, xs], axis=1), photons


@dataclass(frozen=True)
class CellField:
    """The faint cytoplasm of the cells of a `PunctaField`: domes that stand on the surface."""

    puncta: PunctaField
    photons_per_s_um3: float = 1500.0
    height_um: float = 4.0

    def z_extent_um(self, box: Box) -> tuple[float, float]:
        """Return the z range of the cells; see `VolumeLayer`."""
        low, high = surface_range(self.puncta.surface, box)
        return low, high + self.height_um

    def density(self, z_um: Floats, y_um: Floats, x_um: Floats) -> NDArray[np.float32]:
        """Return how much the cytoplasm glows; see `VolumeLayer`."""
        field_ = self.puncta
        radius = field_.cell_radius_um
        out = np.zeros((z_um.size, y_um.size, x_um.size), dtype=np.float32)
        reach = Box(y_um[0] - radius, x_um[0] - radius, y_um[-1] + radius, x_um[-1] + radius)
        above = z_um[:, None, None] - field_.surface.height_um(y_um[:, None], x_um[None, :])[None]
        for _, y, x in jittered_cells(reach, field_.cell_spacing_um, field_.seed, 0xCE11, jitter=0.2):
            r2 = ((y_um[:, None] - y) ** 2 + (x_um[None, :] - x) ** 2) / radius**2
            roof = self.height_um * np.sqrt(np.maximum(1 - r2, 0))
            filled = np.clip(np.minimum(above, roof[None] - above) / 0.5 + 0.5, 0, 1) * (r2 < 1)[None]
            np.maximum(out, self.photons_per_s_um3 * filled, out=out, casting="unsafe")
        return out


def _inside(positions: list[tuple[float, float, float]], photons: list[float], box: Box) -> tuple[Floats, Floats]:
    places = np.array(positions, dtype=np.float64).reshape(-1, 3)
    inside = box.contains(places[:, 1], places[:, 2])
    return places[inside], np.array(photons, dtype=np.float64)[inside]
