"""From what glows to camera counts: blur, haze, loss with depth, planes, photons, read noise, offset, bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.segmentation.generator import _kernel as kernel
from parfocal.segmentation.generator._nuclei import log_uniform
from parfocal.segmentation.generator._recipe import Imaging
from parfocal.segmentation.generator._scene import Volume, smooth_noise

_LONGEST_FOCUS_PX = 7.0


@dataclass(frozen=True)
class Exposure:
    """Counts uint16[plane, y, x], the same without noise, and where the planes lie on the isotropic grid.

    `sigma_zyx_px` is the blur that an image of these planes has on that grid, interpolation between them included.
    """

    counts: NDArray[np.uint16]
    clean: Volume
    z_px: NDArray[np.float64]
    sigma_zyx_px: tuple[float, float, float]


def expose(rng: np.random.Generator, light: Volume, imaging: Imaging, radius_px: float) -> Exposure:
    """Image a specimen, whose nuclei have about a radius, once: draw one set of conditions."""
    sigma_z, sigma_xy = _sigmas(rng, imaging, radius_px, light.shape[0] == 1)
    seen = _through_optics(rng, light, imaging, sigma_z, sigma_xy)
    nz = light.shape[0]
    step = log_uniform(rng, imaging.z_step) if nz > 1 else 1.0
    step = 1.0 if step < 1.15 else step
    z_px = np.arange(rng.uniform(0, min(step, nz / 2)) if step > 1 else 0.0, nz - 1 + 1e-6, step)
    z_px = z_px if z_px.size else np.array([(nz - 1) / 2])
    planes = np.empty((z_px.size, *light.shape[1:]), dtype=np.float32)
    kernel.planes_at(seen, z_px, planes)
    planes *= _brightness(rng, z_px.size, imaging)[:, None, None]
    counts, clean = _counts(rng, planes, imaging)
    # Linear interpolation between planes is a blur by a triangle as wide as two steps.
    along_z = float(np.hypot(sigma_z, step / 6**0.5 if step > 1 else 0.0)) if nz > 1 else 0.0
    return Exposure(counts=counts, clean=clean, z_px=z_px, sigma_zyx_px=(along_z, sigma_xy, sigma_xy))


def _sigmas(rng: np.random.Generator, imaging: Imaging, radius_px: float, flat: bool) -> tuple[float, float]:
    """Draw the blur along z and across it."""
    sigma_xy = float(rng.uniform(*imaging.sigma_xy_px))
    if flat:
        return 0.0, sigma_xy
    sigma_z = float(rng.uniform(*imaging.sigma_z_px))
    if rng.random() < imaging.long_focus:
        sigma_z = min(float(rng.uniform(*imaging.long_focus_radii)) * radius_px, _LONGEST_FOCUS_PX)
    return max(sigma_z, 0.8 * sigma_xy), sigma_xy


def _through_optics(
    rng: np.random.Generator, light: Volume, imaging: Imaging, sigma_z: float, sigma_xy: float
) -> Volume:
    sharp = ndimage.gaussian_filter(light, (sigma_z, sigma_xy, sigma_xy), truncate=3.0, mode="nearest")
    haze = rng.uniform(*imaging.haze) if rng.random() < 0.7 else 0.0
    if haze > 0:
        far = rng.uniform(*imaging.haze_sigma_px)
        every = tuple(slice(None, None, 2 if size > 8 else 1) for size in light.shape)
        steps = np.array([2.0 if size > 8 else 1.0 for size in light.shape])
        small = ndimage.gaussian_filter(
            sharp[every], tuple(far / s if n > 1 else 0.0 for s, n in zip(steps, light.shape)), truncate=2.5,
            mode="nearest",
        )  # fmt: skip
        wide = np.empty_like(sharp)
        kernel.enlarge(np.pad(small, ((0, 2), (0, 2), (0, 2)), mode="edge"), steps, np.zeros(3), wide)
        # Out-of-focus light of a whole column: more than its share of the peak, spread thin.
        sharp = (1 - haze) * sharp + 1.5 * haze * wide
    level = log_uniform(rng, imaging.background)
    wave = 1.0 + rng.uniform(0, 0.5) * smooth_noise(rng, _shape3(light), float(rng.uniform(10, 40)))
    seen = sharp + np.float32(level) * np.clip(wave, 0.1, 3.0)
    if rng.random() < 0.4:  # uneven light across the field
        slope = rng.uniform(-0.4, 0.4, 2)
        y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in light.shape[1:])
        seen *= (1 + np.float32(slope[0]) * y[:, None] + np.float32(slope[1]) * x[None, :])[None]
    return np.ascontiguousarray(seen, dtype=np.float32)


def _shape3(volume: Volume) -> tuple[int, int, int]:
    return volume.shape[0], volume.shape[1], volume.shape[2]


def _brightness(rng: np.random.Generator, n_planes: int, imaging: Imaging) -> Volume:
    """How much light each plane keeps: loss with depth, jitter, planes that are dead or dim."""
    depth = np.linspace(0, 1, n_planes)
    factors = np.exp(-rng.uniform(*imaging.decay) * (depth if rng.random() < 0.8 else depth[::-1]))
    factors *= np.exp(rng.normal(0, rng.uniform(*imaging.plane_jitter), n_planes))
    if n_planes > 3 and rng.random() < imaging.dim_planes:
        factors[rng.integers(1, n_planes) :] *= rng.uniform(0.35, 0.8)
    if n_planes > 3 and rng.random() < imaging.dead_plane:
        factors[rng.integers(0, n_planes, 1 + int(rng.random() < 0.2))] *= rng.uniform(0.0, 0.2)
    return factors.astype(np.float32)


def _counts(rng: np.random.Generator, planes: Volume, imaging: Imaging) -> tuple[NDArray[np.uint16], Volume]:
    """Return counts, and the same without noise."""
    photons = planes * np.float32(log_uniform(rng, imaging.peak_photons))
    noisy = rng.poisson(photons).astype(np.float32)
    noisy += np.float32(rng.uniform(*imaging.read_noise_e)) * rng.standard_normal(planes.shape, dtype=np.float32)
    if rng.random() < imaging.correlated:
        sigma = rng.uniform(0.3, 0.9)
        noisy = ndimage.gaussian_filter(noisy, (0.0, sigma, sigma), truncate=3.0)
    brightest = float(photons.max()) + 1.0
    if rng.random() < imaging.saturated:
        ceiling = brightest * rng.uniform(0.35, 0.9)
        noisy, photons = np.minimum(noisy, ceiling), np.minimum(photons, ceiling)
    gain, offset = log_uniform(rng, imaging.gain_adu), log_uniform(rng, imaging.offset_adu)
    top = 65535
    if rng.random() < 0.3:  # eight bits, filled to the brim
        gain, offset, top = 250.0 / brightest, rng.uniform(0, 12), 255
    counts = np.clip(np.rint(noisy * np.float32(gain) + np.float32(offset)), 0, top).astype(np.uint16)
    return counts, photons * np.float32(gain) + np.float32(offset)
