"""Images of glowing matter: planes of the sample, each blurred by its own defocus, added up.

What the camera sees of a fixed place as the focus moves is band-limited in z, so it is kept as a focal series
on a z grid (made where first asked for) and combined by cubic interpolation; sideways motion is a phase ramp.
A frame then costs four spectra and one inverse FFT, however many planes the sample has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from parfocal.optics._fourier import even_size, frequencies, half_frequencies, irfft2, rfft2
from parfocal.optics._lru import ArrayCache, cubic_weights, one_for
from parfocal.optics._objective import Objective
from parfocal.optics._psf import Pupil, make_pupil
from parfocal.optics._samples import Box, VolumeLayer

_MARGIN_PX = 64  # beyond the camera on each side: half a re-anchoring step plus the reach of out-of-focus light
_ANCHOR_STEP_PX = 32
# Shared by all of a process, as they are the same whatever lies under the objective.
_OTFS = ArrayCache(320 * 2**20)


class VolumeImages:
    """Renders the volume layers of one channel for one camera format."""

    def __init__(
        self,
        objective: Objective,
        zernike_waves: Mapping[int, float],
        layers: tuple[VolumeLayer, ...],
        shape: tuple[int, int],
        max_bytes: int = 256 * 2**20,
    ) -> None:
        self._objective = objective
        self._zernike_waves = dict(zernike_waves)
        self._layers = layers
        self._shape = shape
        self._fine = math.ceil(max(objective.pixel_size_um) * 2 * objective.cutoff_per_um - 1e-3)
        self._grid = (
            even_size(self._fine * (shape[0] + 2 * _MARGIN_PX)),
            even_size(self._fine * (shape[1] + 2 * _MARGIN_PX)),
        )
        pixel_y, pixel_x = objective.pixel_size_um
        self._step_um = (pixel_y / self._fine, pixel_x / self._fine)
        # Nyquist for matter that is itself smooth in z; the series is finer, as it is interpolated.
        self._series_step_um = 1 / (20 * objective.axial_cutoff_per_um)
        self._plane_every = max(1, round(0.5 / (objective.axial_cutoff_per_um * self._series_step_um) * 0.6))
        self._densities = ArrayCache(max_bytes // 4)
        self._series = ArrayCache(max_bytes * 3 // 4)
        self._optics = one_for(objective, tuple(sorted(self._zernike_waves.items())), self._grid)
        self._pupil: Pupil | None = None

    def photons_per_s(self, y_um: float, x_um: float, focus_um: float) -> NDArray[np.float32]:
        """Return detected photons/s in each pixel of a camera centred on (y, x) of the sample, `[y, x]`.

        `focus_um` is the height of the focal plane in the sample.
        """
        pixel_y, pixel_x = self._objective.pixel_size_um
        anchor = (round(y_um / (pixel_y * _ANCHOR_STEP_PX)), round(x_um / (pixel_x * _ANCHOR_STEP_PX)))
        offset = (
            y_um / pixel_y - anchor[0] * _ANCHOR_STEP_PX,
            x_um / pixel_x - anchor[1] * _ANCHOR_STEP_PX,
        )
        below = math.floor(focus_um / self._series_step_um)
        weights = cubic_weights(focus_um / self._series_step_um - below).astype(np.float32)
        series = [self._focal_image(anchor, below - 1 + k) for k in range(4)]
        # Camera pixel r sits on grid sample fine * r + start; the ramp brings that to a whole sample.
        starts = [
            (n - 1) / 2 - self._fine * (side - 1) / 2 + self._fine * o
            for n, side, o in zip(self._grid, self._shape, offset)
        ]
        whole = [round(start) for start in starts]
        ramp_y = np.exp(2j * np.pi * frequencies(self._grid[0]) * (starts[0] - whole[0])).astype(np.complex64)
        ramp_x = np.exp(2j * np.pi * half_frequencies(self._grid[1]) * (starts[1] - whole[1])).astype(np.complex64)
        spectrum = np.empty_like(series[0])
        _combine(series[0], series[1], series[2], series[3], weights, ramp_y, ramp_x, spectrum)
        image = irfft2(spectrum, self._grid, overwrite=True)
        f = self._fine
        rows = slice(whole[0], whole[0] + f * self._shape[0], f)
        columns = slice(whole[1], whole[1] + f * self._shape[1], f)
        return np.maximum(image[rows, columns], 0).astype(np.float32)

    def _focal_image(self, anchor: tuple[int, int], index: int) -> NDArray[np.complex64]:
        """Return the spectrum of the image with the focus on step `index` of the series."""
        return self._series.get((anchor, index), lambda: self._make_focal_image(anchor, index))

    def _make_focal_image(self, anchor: tuple[int, int], index: int) -> NDArray[np.complex64]:
        total = np.zeros((self._grid[0], self._grid[1] // 2 + 1), dtype=np.complex64)
        first, count = self._planes_of(anchor)
        spectra = self._densities.get(anchor, lambda: self._density_spectra(anchor, first, count))
        for k in range(count):
            _multiply_add(total, spectra[k], self._otf((first + k) * self._plane_every - index))
        return total

    def _planes_of(self, anchor: tuple[int, int]) -> tuple[int, int]:
        """Return number of the lowest plane of matter and how many there are."""
        box = self._box(anchor)
        extents = [layer.z_extent_um(box) for layer in self._layers]
        spacing = self._plane_every * self._series_step_um
        first = math.floor(min(low for low, _ in extents) / spacing)
        return first, math.ceil(max(high for _, high in extents) / spacing) - first + 1

    def _axes_um(self, anchor: tuple[int, int]) -> list[NDArray[np.float64]]:
        return [
            a * _ANCHOR_STEP_PX * pixel + (np.arange(n) - (n - 1) / 2) * step
            for a, pixel, n, step in zip(anchor, self._objective.pixel_size_um, self._grid, self._step_um)
        ]

    def _box(self, anchor: tuple[int, int]) -> Box:
        y, x = self._axes_um(anchor)
        return Box(float(y[0]), float(x[0]), float(y[-1]), float(x[-1]))

    def _density_spectra(self, anchor: tuple[int, int], first: int, count: int) -> NDArray[np.complex64]:
        y, x = self._axes_um(anchor)
        spacing = self._plane_every * self._series_step_um
        z = (first + np.arange(count)) * spacing
        density = np.sum([layer.density(z, y, x) for layer in self._layers], axis=0, dtype=np.float32)
        # Photons/s of a voxel, spread over the pixel: the transfer function integrates over whole pixels.
        density *= np.float32(spacing * self._step_um[0] * self._step_um[1] * self._fine**2)
        return rfft2(density).astype(np.complex64)

    def _otf(self, steps: int) -> NDArray[np.complex64]:
        """Return the transfer function of a defocus, in steps of the series."""
        return _OTFS.get((self._optics, steps), lambda: self._make_otf(steps))

    def _make_otf(self, steps: int) -> NDArray[np.complex64]:
        if self._pupil is None:
            self._pupil = make_pupil(self._objective, self._zernike_waves, self._grid, self._step_um)
        return self._pupil.otf(steps * self._series_step_um, np.complex64)


@njit(cache=True, fastmath=True, nogil=True)
def _multiply_add(total: Any, a: Any, b: Any) -> None:
    for y in range(total.shape[0]):
        for x in range(total.shape[1]):
            total[y, x] += a[y, x] * b[y, x]


@njit(cache=True, fastmath=True, nogil=True)
def _combine(s0: Any, s1: Any, s2: Any, s3: Any, w: Any, ramp_y: Any, ramp_x: Any, out: Any) -> None:
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            value = w[0] * s0[y, x] + w[1] * s1[y, x] + w[2] * s2[y, x] + w[3] * s3[y, x]
            out[y, x] = value * (ramp_y[y] * ramp_x[x])
