"""Nuclei in three dimensions: tilted ellipsoids with chromatin, bright foci and dark nucleoli."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.optics._samples import Box, Floats, Surface, jittered_cells, surface_range

_EDGE_UM = 0.15


@dataclass(frozen=True)
class NucleusField:
    """A monolayer of nuclei, at most one in each square of `spacing_um`, centred about the surface.

    Parameters
    ----------
    seed : int
        Which nuclei.
    surface : Surface
        Height of their centres, but for `z_spread_um`.
    spacing_um : float
        Side of the square that a nucleus has for itself.
    photons_per_s_um3 : float
        Mean brightness of chromatin, detected photons/(s um^3).
    share : float
        Share of squares that hold a nucleus.
    """

    seed: int
    surface: Surface
    spacing_um: float = 13.0
    photons_per_s_um3: float = 120000.0
    share: float = 0.75
    z_spread_um: float = 0.8

    def z_extent_um(self, box: Box) -> tuple[float, float]:
        """Return the z range of the nuclei; see `VolumeLayer`."""
        low, high = surface_range(self.surface, box)
        return low - 4.5, high + 4.5

    def density(self, z_um: Floats, y_um: Floats, x_um: Floats) -> NDArray[np.float32]:
        """Return how much the nuclei glow; see `VolumeLayer`."""
        out = np.zeros((z_um.size, y_um.size, x_um.size), dtype=np.float32)
        reach = Box(y_um[0] - 8, x_um[0] - 8, y_um[-1] + 8, x_um[-1] + 8)
        for rng, y, x in jittered_cells(reach, self.spacing_um, self.seed, 0x2C1E, jitter=0.35):
            if rng.random() > self.share:
                continue
            self._add(out, rng, (z_um, y_um, x_um), y, x)
        return out

    def _add(
        self,
        out: NDArray[np.float32],
        rng: np.random.Generator,
        axes: tuple[Floats, Floats, Floats],
        y: float,
        x: float,
    ) -> None:
        """Draw one nucleus at (y, x) into the grid; every draw is made before any part may be out of view."""
        z = float(self.surface.height_um(y, x)) + float(np.clip(rng.normal(0, self.z_spread_um), -1.5, 1.5))
        half = np.array([rng.uniform(2.0, 3.0), rng.uniform(3.2, 4.4), rng.uniform(4.2, 5.6)])
        angle = float(rng.uniform(0, math.pi))
        brightness = self.photons_per_s_um3 * math.exp(float(rng.normal(0, 0.25)))
        waves = rng.normal(0, 1, (32, 3))
        waves *= (2 * math.pi / rng.uniform(0.5, 2.4, (32, 1))) / np.linalg.norm(waves, axis=1, keepdims=True)
        phases = rng.uniform(0, 2 * math.pi, 32)
        spots = rng.uniform(-0.6, 0.6, (9, 3)) * half
        spot_radius = np.concatenate([rng.uniform(0.7, 1.1, 2), rng.uniform(0.2, 0.4, 7)])
        spot_gain = np.concatenate([np.full(2, -0.75), rng.uniform(1.5, 4.0, 7)])

        window = [
            slice(int(np.searchsorted(axis, c - r)), int(np.searchsorted(axis, c + r)))
            for axis, c, r in zip(axes, (z, y, x), (half[0] + 0.6, half[2] + 0.6, half[2] + 0.6))
        ]
        if any(part.start >= part.stop for part in window):
            return
        dz = (axes[0][window[0]] - z).astype(np.float32)[:, None, None]
        dy = (axes[1][window[1]] - y).astype(np.float32)[None, :, None]
        dx = (axes[2][window[2]] - x).astype(np.float32)[None, None, :]
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        short, long = cos * dy - sin * dx, sin * dy + cos * dx
        radius = np.sqrt((dz / half[0]) ** 2 + (short / half[1]) ** 2 + (long / half[2]) ** 2)
        # Distance to the surface, to first order: softens the rim so that the grid does not show.
        inside = np.clip((1 - radius) * half[1] / _EDGE_UM + 0.5, 0, 1).astype(np.float32)
        chromatin = np.zeros_like(radius, dtype=np.float32)
        for (kz, ky, kx), phase in zip(waves.astype(np.float32), phases):
            chromatin += np.cos(kz * dz + ky * short + kx * long + np.float32(phase))
        texture = np.exp(0.16 * chromatin)
        for (sz, sy, sx), spot, gain in zip(spots.astype(np.float32), spot_radius, spot_gain):
            r2 = (dz - sz) ** 2 + (short - sy) ** 2 + (long - sx) ** 2
            texture *= 1 + gain * np.exp(-r2 / np.float32(2 * (spot * 0.7) ** 2))
        part = out[window[0], window[1], window[2]]
        np.maximum(part, brightness * inside * texture, out=part, casting="unsafe")
