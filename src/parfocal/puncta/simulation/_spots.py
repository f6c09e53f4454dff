"""Spots painted into an image, each over the pixels it reaches and no others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import j1

from parfocal.optics import Objective, PointImages
from parfocal.puncta.simulation._scene import Psf, PunctaScene

Floats = NDArray[np.float64]
Paint = Callable[[NDArray[np.float32], Floats, Floats, Floats, Floats, Floats], None]
"""Adds spots to an image: (image, y_px, x_px, z_um, sigma_px, photons)."""

_REACH_SIGMA = 6.0
_AIRY_REACH_SIGMA = 18.0  # the rings beyond hold 3 % of the light
_TABLE_STEPS_PER_V = 64


def painter(scene: PunctaScene) -> Paint:
    """Return what paints the spots of a scene."""
    if scene.psf.kind == "gaussian":
        ratio = scene.pixel_size_um[1] / scene.pixel_size_um[0]
        return lambda image, y, x, _z, sigma, photons: paint_gaussians(image, y, x, sigma * ratio, sigma, photons)
    if scene.psf.kind == "airy":
        return _airy(scene.psf, scene.pixel_size_um)
    return _diffraction(scene.psf, scene.pixel_size_um)


@njit(cache=True, nogil=True)
def paint_gaussians(image: Any, y_px: Any, x_px: Any, sigma_y_px: Any, sigma_x_px: Any, photons: Any) -> None:
    """Add Gaussians integrated over pixels: photons / 4 times the differences of erf along y and along x."""
    height, width = image.shape
    for i in range(y_px.size):
        reach_y = math.ceil(_REACH_SIGMA * sigma_y_px[i]) + 1
        reach_x = math.ceil(_REACH_SIGMA * sigma_x_px[i]) + 1
        row, column = math.floor(y_px[i] + 0.5), math.floor(x_px[i] + 0.5)
        top, bottom = max(row - reach_y, 0), min(row + reach_y + 1, height)
        left, right = max(column - reach_x, 0), min(column + reach_x + 1, width)
        if top >= bottom or left >= right:
            continue
        along_x = np.empty(right - left, np.float32)
        scale = 1.0 / (math.sqrt(2.0) * sigma_x_px[i])
        before = math.erf((left - 0.5 - x_px[i]) * scale)
        for x in range(left, right):
            after = math.erf((x + 0.5 - x_px[i]) * scale)
            along_x[x - left] = after - before
            before = after
        scale = 1.0 / (math.sqrt(2.0) * sigma_y_px[i])
        before = math.erf((top - 0.5 - y_px[i]) * scale)
        for y in range(top, bottom):
            after = math.erf((y + 0.5 - y_px[i]) * scale)
            share = np.float32(0.25 * photons[i] * (after - before))
            before = after
            for x in range(left, right):
                image[y, x] += share * along_x[x - left]


@njit(cache=True, nogil=True, fastmath=True)
def _paint_airy(
    image: Any, y_px: Any, x_px: Any, photons: Any, table: Any, per_v: Any, v_y: Any, v_x: Any, v_max: Any
) -> None:
    height, width = image.shape
    reach_y, reach_x = math.ceil(v_max / v_y) + 1, math.ceil(v_max / v_x) + 1
    limit = v_max * v_max
    for i in range(y_px.size):
        row, column = math.floor(y_px[i] + 0.5), math.floor(x_px[i] + 0.5)
        top, bottom = max(row - reach_y, 0), min(row + reach_y + 1, height)
        left, right = max(column - reach_x, 0), min(column + reach_x + 1, width)
        for y in range(top, bottom):
            for x in range(left, right):
                total = 0.0
                for sub_y in range(5):
                    d_y = (y + (sub_y - 2) * 0.2 - y_px[i]) * v_y
                    for sub_x in range(5):
                        d_x = (x + (sub_x - 2) * 0.2 - x_px[i]) * v_x
                        v2 = d_y * d_y + d_x * d_x
                        if v2 < limit:
                            where = math.sqrt(v2) * per_v
                            below = int(where)
                            total += table[below] + (table[below + 1] - table[below]) * (where - below)
                image[y, x] += np.float32(total * photons[i])


def _airy(psf: Psf, pixel_size_um: tuple[float, float]) -> Paint:
    """Return a painter of Airy patterns, whose energy is 1 over the infinite plane.

    I(v) = (2 J1(v) / v)² / (4 pi) per unit of v², v = 2 pi NA r / wavelength.
    """
    per_um = 2 * math.pi * psf.na / psf.wavelength_um
    v_y, v_x = pixel_size_um[0] * per_um, pixel_size_um[1] * per_um
    v_max = _AIRY_REACH_SIGMA * psf.core_sigma_um * per_um
    v = np.arange(math.ceil(v_max * _TABLE_STEPS_PER_V) + 2) / _TABLE_STEPS_PER_V
    v[0] = 1e-9
    table = (2 * j1(v) / v) ** 2 / (4 * math.pi) * v_y * v_x / 25

    def paint(
        image: NDArray[np.float32], y: Floats, x: Floats, _z: Floats, _sigma: Floats, photons: Floats
    ) -> None:
        _paint_airy(image, y, x, photons, table, float(_TABLE_STEPS_PER_V), v_y, v_x, v_max)

    return paint


def _diffraction(psf: Psf, pixel_size_um: tuple[float, float]) -> Paint:
    objective = Objective(psf.na, psf.immersion_index, psf.wavelength_um, pixel_size_um)
    images = PointImages(objective, dict(psf.zernike_waves))

    def paint(
        image: NDArray[np.float32], y: Floats, x: Floats, z: Floats, _sigma: Floats, photons: Floats
    ) -> None:
        images.add(image, y, x, z, photons)

    return paint
