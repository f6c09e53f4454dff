"""Light that is no punctum: illumination, a cell, a low-frequency field, haze; it moves and bleaches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from parfocal.puncta.simulation._draws import Part, generator
from parfocal.puncta.simulation._scene import PunctaScene
from parfocal.puncta.simulation._spots import paint_gaussians

Floats = NDArray[np.float64]
Image = NDArray[np.float32]

_WAVES = 48


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a scene's puncta stand in, on a canvas `margin_px` larger than the image on every side.

    Attributes
    ----------
    cell : float32[y, x]
        1 inside the cell's outline (everywhere, where there is none), 0 outside, soft between.
    texture : float32[y, x]
        Relative strength of what glows in the cell, mean about 1.
    haze_photons : float32[y, x]
        Of puncta far out of focus.
    illumination : float32[y, x]
        Of the image itself, 1 where brightest; it does not move with the sample.
    """

    scene: PunctaScene
    margin_px: int
    cell: Image
    texture: Image
    haze_photons: Image
    illumination: Image

    def moved(self, canvas: Image, shift_px: tuple[float, float]) -> Image:
        """Return the image's part of a canvas after the sample moved by (y, x) pixels."""
        height, width = self.scene.shape_px
        m = self.margin_px
        y, x = m - shift_px[0], m - shift_px[1]
        top, left = math.floor(y), math.floor(x)
        f_y, f_x = np.float32(y - top), np.float32(x - left)
        if f_y == 0 and f_x == 0:
            return canvas[top : top + height, left : left + width]
        part = canvas[top : top + height + 1, left : left + width + 1]
        rows = part[:-1] * (1 - f_y) + part[1:] * f_y
        return rows[:, :-1] * (1 - f_x) + rows[:, 1:] * f_x

    @property
    def sample_photons(self) -> Image:
        """Return what glows in the sample, on the canvas, before illumination."""
        return self.cell * self.texture * np.float32(self.scene.background.sample_photons) + self.haze_photons

    def decay(self, t_s: float | Floats) -> Floats:
        """Return how much of the sample's light is left after a time."""
        told = self.scene.background
        if told.bleaching_s is None:
            return np.ones_like(np.asarray(t_s, dtype=np.float64))
        return told.bleaching_floor + (1 - told.bleaching_floor) * np.exp(-np.asarray(t_s) / told.bleaching_s)

    def at(self, canvas: Image, y_px: Floats, x_px: Floats) -> Floats:
        """Return a canvas at places of the unmoved image."""
        places = np.stack([y_px + self.margin_px, x_px + self.margin_px])
        return map_coordinates(canvas, places, np.float64, order=1, mode="nearest")


def make_surroundings(scene: PunctaScene, reach_px: float) -> Surroundings:
    """Return the surroundings of a scene whose sample moves at most `reach_px`."""
    told, rng = scene.background, generator(scene.seed, Part.BACKGROUND)
    margin = math.ceil(max(reach_px, scene.margin_px, 0)) + 2
    height, width = (n + 2 * margin for n in scene.shape_px)
    y_um = (np.arange(height) - margin) * scene.pixel_size_um[0]
    x_um = (np.arange(width) - margin) * scene.pixel_size_um[1]
    phases, turns = rng.uniform(0, 2 * np.pi, _WAVES), rng.normal(0, 1, (_WAVES, 2))
    texture = np.ones((height, width), np.float32)
    if told.field_contrast:
        texture = _low_frequency(y_um, x_um, phases, turns * 2 * np.pi / told.field_period_um)
        texture = np.maximum(1 + told.field_contrast * texture, 0.05).astype(np.float32)
    cell = np.ones((height, width), np.float32)
    if told.has_cell:
        cell = _outline(scene, y_um, x_um, rng.normal(0, 1, 6), rng.uniform(0, 2 * np.pi, 6))
    haze = np.zeros((height, width), np.float32)
    count = int(rng.poisson(told.haze_count)) if told.haze_count else 0
    if count:
        y, x = rng.uniform(0, height, count), rng.uniform(0, width, count)
        sigma_um = told.haze_sigma_um * rng.uniform(0.7, 1.5, count)
        photons = told.haze_photons * np.exp(rng.normal(0, 0.5, count))
        sigma_y, sigma_x = (sigma_um / p for p in scene.pixel_size_um)
        paint_gaussians(haze, y, x, sigma_y, sigma_x, photons * cell[y.astype(int), x.astype(int)])
    return Surroundings(scene, margin, cell, texture, haze, _illumination(scene))


def _low_frequency(y_um: Floats, x_um: Floats, phases: Floats, k_per_um: Floats) -> Image:
    """Return a random field of mean 0 and standard deviation 1: a sum of plane waves."""
    along_y = (np.outer(y_um, k_per_um[:, 0]) + phases).astype(np.float32)
    along_x = np.outer(k_per_um[:, 1], x_um).astype(np.float32)
    # Not BLAS: its threads cost a small image more than they save it.
    field = np.einsum("yk,kx->yx", np.cos(along_y), np.cos(along_x))
    field -= np.einsum("yk,kx->yx", np.sin(along_y), np.sin(along_x))
    return field * math.sqrt(2 / phases.size)


def _outline(scene: PunctaScene, y_um: Floats, x_um: Floats, bumps: Floats, phases: Floats) -> Image:
    """Return a cell in the middle of the image, about 1 um soft at its edge: a circle with bumps."""
    (height, width), (pixel_y, pixel_x) = scene.shape_px, scene.pixel_size_um
    half_y, half_x = (height - 1) / 2 * pixel_y, (width - 1) / 2 * pixel_x
    d_y, d_x = (y_um - half_y)[:, None], (x_um - half_x)[None, :]
    radius_um = scene.background.cell_share * min(half_y, half_x)
    angle = np.arctan2(d_y, d_x)
    edge_um = np.full(angle.shape, radius_um)
    for k in range(bumps.size):
        edge_um += 0.12 * radius_um / (k + 1) * bumps[k] * np.cos((k + 2) * angle + phases[k])
    soft_um = min(0.5, radius_um / 8)
    return np.clip((edge_um - np.hypot(d_y, d_x)) / soft_um + 0.5, 0, 1).astype(np.float32)


def _illumination(scene: PunctaScene) -> Image:
    """Return a Gaussian beam in the middle of the image, `tirf_falloff` weaker in its corners."""
    height, width = scene.shape_px
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    strength = -math.log(1 - scene.background.tirf_falloff) / 2
    return np.exp(-strength * (y**2 + x**2)).astype(np.float32)
