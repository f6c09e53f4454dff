"""Point spread functions by scalar diffraction through an aberrated pupil.

The pupil is sampled on the frequency grid of the image, so that one FFT gives the field. Intensity is
band-limited, which makes two things exact that are often approximated: integration over the camera pixel (a
product with sinc in the transfer function) and sampling at any oversampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.optics._fourier import even_size, fft2, frequencies, half_frequencies, irfft2, rfft2
from parfocal.optics._objective import Objective
from parfocal.optics._zernike import zernike_polynomial

Dtype = type[np.complexfloating[Any, Any]]

_EDGE_CELLS = 8  # sub-cells along each axis that decide how much of a pupil sample lies inside the aperture


@dataclass(frozen=True, eq=False)
class Pupil:
    """The aberrated pupil of an objective on the frequency grid of an image, only where light passes."""

    objective: Objective
    shape: tuple[int, int]
    step_um: tuple[float, float]
    index: NDArray[np.intp]
    transmission: NDArray[np.complex128]
    k_z_rad_per_um: NDArray[np.float64]

    def field(self, defocus_um: float, dtype: Dtype) -> NDArray[Any]:
        """Return the pupil function of an emitter at a defocus, in FFT order."""
        out = np.zeros(self.shape, dtype=dtype)
        out.flat[self.index] = self.transmission * np.exp(1j * self.k_z_rad_per_um * defocus_um)
        return out

    def otf(self, defocus_um: float, dtype: Dtype = np.complex128) -> NDArray[Any]:
        """Return the transfer function of a defocus in `rfft2` order, pixel integration included."""
        field = fft2(self.field(defocus_um, dtype))
        otf = rfft2(field.real**2 + field.imag**2)
        pixel_y, pixel_x = self.objective.pixel_size_um
        otf *= np.sinc(frequencies(self.shape[0], self.step_um[0]) * pixel_y)[:, None].astype(otf.real.dtype)
        otf *= np.sinc(half_frequencies(self.shape[1], self.step_um[1]) * pixel_x).astype(otf.real.dtype)
        return otf


def make_pupil(
    objective: Objective,
    zernike_waves: Mapping[int, float],
    shape: tuple[int, int],
    step_um: tuple[float, float],
) -> Pupil:
    """Return the pupil for an image grid of a shape and step (y, x).

    It is normalized so that the image of the whole aperture holds unit energy over the infinite plane (the
    grid holds its share, all but a few parts in a thousand). Phase along the axis is relative to that of the
    central ray, which intensity ignores.
    """
    n_over_lambda = objective.immersion_index / objective.wavelength_um
    radius = objective.na / objective.wavelength_um
    f_y = frequencies(shape[0], step_um[0])[:, None]
    f_x = frequencies(shape[1], step_um[1])[None, :]
    cell = (1 / (shape[0] * step_um[0]), 1 / (shape[1] * step_um[1]))
    amplitude = _aperture_share(f_y, f_x, radius, cell).ravel()
    index = np.flatnonzero(amplitude)
    f_r = np.hypot(f_y, f_x).ravel()[index]
    rho = np.minimum(f_r / radius, 1.0)
    theta = np.arctan2(*np.broadcast_arrays(f_y, f_x)).ravel()[index]
    phase = np.zeros(index.size)
    for j, waves in zernike_waves.items():
        phase += 2 * np.pi * waves * zernike_polynomial(j, rho, theta)
    amplitude = amplitude[index] / np.sqrt(np.sum(amplitude) * amplitude.size)
    k_z = 2 * np.pi * (np.sqrt(np.maximum(n_over_lambda**2 - f_r**2, 0.0)) - n_over_lambda)
    return Pupil(objective, shape, step_um, index, amplitude * np.exp(1j * phase), k_z)


def otf_plane(
    objective: Objective,
    zernike_waves: Mapping[int, float],
    defocus_um: float,
    shape: tuple[int, int],
    step_um: tuple[float, float],
) -> NDArray[np.complex128]:
    """Return the transfer function of emitters at one defocus, pixel integration included.

    Parameters
    ----------
    objective : Objective
        Aperture, wavelength and the camera pixel over which light is integrated.
    zernike_waves : mapping of int to float
        Aberrations: Noll index to waves RMS at the objective's wavelength.
    defocus_um : float
        Height of the emitters beyond the focal plane, um.
    shape, step_um : (y, x)
        Image grid; the step must be at most wavelength / (4 NA).

    Returns
    -------
    ndarray of shape (height, width // 2 + 1), complex
        In the order of `scipy.fft.rfft2`; at zero frequency the share of light that the grid holds, nearly 1.

    Raises
    ------
    BadInputError
        If the grid is too coarse to hold the image without aliasing.
    """
    coarsest_um = 1 / (2 * objective.cutoff_per_um)
    if max(step_um) > coarsest_um * 1.001:
        raise BadInputError(
            f"transfer function: grid step is {max(step_um):.4g} um, expected at most {coarsest_um:.4g} um "
            "(wavelength / 4 NA)"
        )
    return make_pupil(objective, zernike_waves, shape, step_um).otf(defocus_um)


def psf_stack(
    objective: Objective,
    zernike_waves: Mapping[int, float],
    z_um: ArrayLike,
    size_px: int,
    oversampling: int = 1,
    centre_px: Sequence[float] = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Return the image of one emitter at each defocus: the share of its light in each camera pixel.

    Parameters
    ----------
    objective : Objective
        Aperture, index, wavelength and camera pixel.
    zernike_waves : mapping of int to float
        Aberrations of the pupil: Noll index to waves RMS. Positive vertical astigmatism (6) brings x to focus
        for emitters beyond the focal plane (z above 0), where the spot is then narrower along x.
    z_um : array_like
        Heights of the emitter above the focal plane, growing away from the objective, um. The defocus phase
        is exact: z (2 pi / wavelength) sqrt(n^2 - NA^2 rho^2).
    size_px : int
        Side of the square window, camera pixels.
    oversampling : int
        Samples per pixel along each axis. Every sample is the light in a whole camera pixel centred on it, so
        that ``[:, ::oversampling, ::oversampling]`` is again an image.
    centre_px : (float, float)
        Where the emitter is, (y, x), relative to sample ``size_px * oversampling // 2``, in camera pixels.

    Returns
    -------
    ndarray of shape (n_z, size_px * oversampling, size_px * oversampling), float64
        Energy over the infinite plane is 1 (per `oversampling` squared); the window holds its share of it.

    Raises
    ------
    BadInputError
        If a size is below 1.

    References
    ----------
    .. [1] B. M. Hanser et al., "Phase-retrieved pupil functions in wide-field fluorescence microscopy",
       J. Microsc. 216, 32 (2004).
    """
    if size_px < 1 or oversampling < 1:
        raise BadInputError(
            f"psf_stack: size_px is {size_px} and oversampling {oversampling}, expected 1 or more of both"
        )
    defocus = np.atleast_1d(np.asarray(z_um, dtype=np.float64))
    fine, shape, step_um = image_grid(objective, size_px, float(np.max(np.abs(defocus), initial=0)), oversampling)
    pupil = make_pupil(objective, zernike_waves, shape, step_um)
    ramp = shift_ramp(shape, (fine * centre_px[0], fine * centre_px[1]))
    stride = fine // oversampling
    rows = (np.arange(size_px * oversampling) - (size_px * oversampling) // 2) * stride
    stack = np.empty((defocus.size, rows.size, rows.size))
    for plane, height in zip(stack, defocus):
        image = irfft2(pupil.otf(height) * ramp, shape)
        plane[:] = image[(rows % shape[0])[:, None], (rows % shape[1])[None, :]]
    return stack * fine**2


def image_grid(
    objective: Objective, size_px: int, defocus_um: float, oversampling: int
) -> tuple[int, tuple[int, int], tuple[float, float]]:
    """Return samples per pixel, shape and step (um) of a grid on which an image neither aliases nor wraps."""
    pixel = objective.pixel_size_um
    fine = oversampling * math.ceil(max(pixel) * 2 * objective.cutoff_per_um / oversampling - 1e-9)
    airy_um = 0.61 * objective.wavelength_um / objective.na
    reach_um = objective.blur_radius_um(defocus_um) * 1.1 + 48 * airy_um
    sides = [even_size(fine * max(size_px + 2, math.ceil(size_px / 2 + reach_um / p))) for p in pixel]
    return fine, (sides[0], sides[1]), (pixel[0] / fine, pixel[1] / fine)


def shift_ramp(shape: tuple[int, int], shift: tuple[float, float]) -> NDArray[np.complex128]:
    """Return the factor that moves an image by (y, x) samples, for a spectrum in `rfft2` order."""
    along_y = np.exp(-2j * np.pi * frequencies(shape[0]) * shift[0])
    along_x = np.exp(-2j * np.pi * half_frequencies(shape[1]) * shift[1])
    return along_y[:, None] * along_x[None, :]


def _aperture_share(
    f_y: NDArray[np.float64], f_x: NDArray[np.float64], radius: float, cell: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the share of each pupil cell inside the aperture: a jagged rim would cost accuracy."""
    reach = 0.75 * math.hypot(*cell)
    f_r = np.hypot(f_y, f_x)
    share = (f_r < radius).astype(np.float64)
    rim_y, rim_x = np.nonzero(np.abs(f_r - radius) < reach)
    sub = (np.arange(_EDGE_CELLS) + 0.5) / _EDGE_CELLS - 0.5
    sub_y = f_y[rim_y, 0][:, None, None] + cell[0] * sub[None, :, None]
    sub_x = f_x[0, rim_x][:, None, None] + cell[1] * sub[None, None, :]
    share[rim_y, rim_x] = np.mean(sub_y**2 + sub_x**2 < radius**2, axis=(1, 2))
    return share
