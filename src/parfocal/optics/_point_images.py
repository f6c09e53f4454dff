"""Images of points, fast: one table of spots a z step, looked up between samples and between steps.

In y and x the table holds coefficients of a cubic B-spline, prefiltered exactly in the Fourier domain; in z
four neighbouring planes are combined with cubic Lagrange weights. Intensity is band-limited in all three, so
both errors are bounded: below 5e-4 of the peak of the spot in focus at the defaults (tested).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from parfocal.optics._fourier import frequencies, half_frequencies, irfft2
from parfocal.optics._lru import ArrayCache, cubic_weights, one_for
from parfocal.optics._objective import Objective
from parfocal.optics._psf import Pupil, image_grid, make_pupil

_SAMPLES_PER_PIXEL = 4  # half of that beyond four depths of field
# Half window beyond the geometric cone, in Airy radii: leaves out some 3 % of the light, in far rings.
_MARGIN_AIRY = 6.0
_COARSER_BEYOND_DOF = 4.0
# Shared by all of a process: what is seen through the same optics again, by a new scene or another camera, is not
# computed again.
_PLANES = ArrayCache(256 * 2**20)


class PointImages:
    """Adds spots to an image at any place and defocus, for any number of threads.

    Parameters
    ----------
    objective : Objective
        What forms the image.
    zernike_waves : mapping of int to float
        Aberrations, Noll index to waves RMS.
    z_step_um : float
        Distance of the table's planes; five times that beyond four depths of field, where spots are faint.
    """

    def __init__(
        self,
        objective: Objective,
        zernike_waves: Mapping[int, float],
        z_step_um: float | None = None,
    ) -> None:
        self._objective = objective
        self._zernike_waves = dict(zernike_waves)
        # At least 32 steps in the shortest axial period: a cubic in z is then good to a few 1e-5.
        self._z_step_um = z_step_um or min(0.02, 1 / (32 * objective.axial_cutoff_per_um))
        self._near_um = _COARSER_BEYOND_DOF * objective.depth_of_field_um
        self._optics = one_for(objective, tuple(sorted(self._zernike_waves.items())))
        self._pupils: dict[int, Pupil] = {}

    def reach_px(self, defocus_um: float) -> float:
        """Return how far from its centre a spot reaches, pixels."""
        airy_um = 0.61 * self._objective.wavelength_um / self._objective.na
        reach_um = self._objective.blur_radius_um(defocus_um) * 1.1 + _MARGIN_AIRY * airy_um
        return reach_um / min(self._objective.pixel_size_um)

    def add(
        self,
        image: NDArray[np.float32],
        y_px: NDArray[np.float64],
        x_px: NDArray[np.float64],
        defocus_um: NDArray[np.float64],
        photons: NDArray[np.float64],
    ) -> None:
        """Add spots of given energies to an image `[y, x]` in place; spots out of view cost nothing."""
        order = np.argsort(defocus_um, kind="stable")  # neighbours in z share planes, which then stay in the CPU
        for i in order.tolist():
            y, x, z = float(y_px[i]), float(x_px[i]), float(defocus_um[i])
            half = 4 * math.ceil(self.reach_px(z) / 4)  # in fours, so that windows are of few sizes
            if not (-half < y < image.shape[0] + half and -half < x < image.shape[1] + half):
                continue
            near = abs(z) < self._near_um
            step = self._z_step_um if near else 5 * self._z_step_um
            samples = _SAMPLES_PER_PIXEL if near else _SAMPLES_PER_PIXEL // 2
            below = math.floor(z / step)
            p0, p1, p2, p3 = (self._plane(below - 1 + k, step, half, samples) for k in range(4))
            weights = (cubic_weights(z / step - below) * float(photons[i])).astype(np.float32)
            _add_spot(image, p0, p1, p2, p3, weights, y, x)

    def _plane(self, index: int, step: float, half: int, samples: int) -> NDArray[np.float32]:
        key = (self._optics, index, step, half, samples)
        return _PLANES.get(key, lambda: self._make_plane(index * step, half, samples))

    def _make_plane(self, defocus_um: float, half: int, samples: int) -> NDArray[np.float32]:
        """Return a spot's spline coefficients by phase, `[phase_y, phase_x, y, x]`, centred on `half`."""
        pupil = self._pupils.get(half)
        if pupil is None:
            _, shape, step_um = image_grid(self._objective, 2 * half + 2, defocus_um, 1)
            pupil = make_pupil(self._objective, self._zernike_waves, shape, step_um)
            self._pupils[half] = pupil
        # The transfer function ends at the cutoff: computed on the coarse grid, padded to the fine one.
        coarse = pupil.otf(defocus_um, np.complex64)
        zoom = math.ceil(samples * pupil.step_um[0] / self._objective.pixel_size_um[0])
        fine = zoom * round(self._objective.pixel_size_um[0] / pupil.step_um[0])
        (height, width), rows = pupil.shape, pupil.shape[0] // 2
        otf = np.zeros((zoom * height, zoom * width // 2 + 1), dtype=np.complex64)
        otf[:rows, : coarse.shape[1]] = coarse[:rows]
        otf[-rows:, : coarse.shape[1]] = coarse[-rows:]
        otf *= np.float32(fine**2)
        otf /= _spline_response(frequencies(zoom * height)).astype(np.float32)[:, None]
        otf /= _spline_response(half_frequencies(zoom * width)).astype(np.float32)
        image = irfft2(otf, (zoom * height, zoom * width))
        span = np.arange(-half * fine, (half + 1) * fine)
        window = image[(span % image.shape[0])[:, None], (span % image.shape[1])[None, :]]
        side = 2 * half + 1
        return np.ascontiguousarray(window.reshape(side, fine, side, fine).transpose(1, 3, 0, 2), np.float32)


def _spline_response(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transfer function of a cubic B-spline sampled at its knots."""
    return (2 + np.cos(2 * np.pi * frequency)) / 3


@njit(cache=True, fastmath=True, nogil=True)
def _add_spot(
    image: Any,
    plane_0: Any,
    plane_1: Any,
    plane_2: Any,
    plane_3: Any,
    w_z: Any,
    y_px: Any,
    x_px: Any,
) -> None:
    fine, side = plane_0.shape[0], plane_0.shape[2]
    height, width = image.shape
    # Sample of the table that falls on pixel (0, 0), and the spline's four taps around it.
    u_y = (side // 2 - y_px) * fine
    u_x = (side // 2 - x_px) * fine
    k_y, k_x = math.floor(u_y), math.floor(u_x)
    w_y, w_x = np.empty(4, np.float32), np.empty(4, np.float32)
    for w, f in ((w_y, u_y - k_y), (w_x, u_x - k_x)):
        w[0] = (1 - f) ** 3 / 6
        w[1] = (3 * f**3 - 6 * f**2 + 4) / 6
        w[2] = (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6
        w[3] = f**3 / 6
    for ty in range(4):
        q_y, p_y = divmod(k_y - 1 + ty, fine)
        for tx in range(4):
            q_x, p_x = divmod(k_x - 1 + tx, fine)
            w_0, w_1 = w_y[ty] * w_x[tx] * w_z[0], w_y[ty] * w_x[tx] * w_z[1]
            w_2, w_3 = w_y[ty] * w_x[tx] * w_z[2], w_y[ty] * w_x[tx] * w_z[3]
            x0, x1 = max(0, -q_x), min(width, side - q_x)
            for y in range(max(0, -q_y), min(height, side - q_y)):
                target = image[y, x0:x1]
                s_0 = plane_0[p_y, p_x, y + q_y, x0 + q_x : x1 + q_x]
                s_1 = plane_1[p_y, p_x, y + q_y, x0 + q_x : x1 + q_x]
                s_2 = plane_2[p_y, p_x, y + q_y, x0 + q_x : x1 + q_x]
                s_3 = plane_3[p_y, p_x, y + q_y, x0 + q_x : x1 + q_x]
                for x in range(x1 - x0):
                    target[x] += w_0 * s_0[x] + w_1 * s_1[x] + w_2 * s_2[x] + w_3 * s_3[x]
