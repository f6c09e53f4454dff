"""From what glows to camera counts: blur, haze, loss with depth, planes, photons, read noise, offset, bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.segmentation.generator import _kernel as kernel
from parfocal.segmentation.generator._nuclei import log_uniform
from parfocal.segmentation.generator._recipe import Imaging
from parfocal.segmentation.generator._scene import Volume, smooth_noise

_LONGEST_FOCUS_PX = 7.0
_LONGEST_TAIL_PX = 16.0


@dataclass(frozen=True)
class Blur:
    """What optics do to light, voxels of the isotropic grid: a Gaussian, and a share of it in a longer one.

    `tail_zyx_px` and `tail_share` are of the light that a lens spreads far along z, in a cone.
    """

    sigma_zyx_px: tuple[float, float, float]
    tail_zyx_px: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tail_share: float = 0.0


@dataclass(frozen=True)
class Exposure:
    """Counts uint16[plane, y, x], the same without noise, and where the planes lie on the isotropic grid.

    `blur` is the one that an image of these planes has on that grid, interpolation between them included.
    """

    counts: NDArray[np.uint16]
    clean: Volume
    z_px: NDArray[np.float64]
    blur: Blur


def expose(rng: np.random.Generator, light: Volume, imaging: Imaging, radius_px: float) -> Exposure:
    """Image a specimen, whose nuclei have about a radius, once: draw one set of conditions."""
    blur = _blur(rng, imaging, radius_px, light.shape[0] == 1)
    seen = _through_optics(rng, light, imaging, blur)
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
    triangle = step / 6**0.5 if step > 1 and nz > 1 else 0.0
    return Exposure(counts=counts, clean=clean, z_px=z_px, blur=_longer(blur, triangle))


def _longer(blur: Blur, along_z_px: float) -> Blur:
    """Return the blur after a further one along z."""
    core, tail = ((math.hypot(of[0], along_z_px), of[1], of[2]) for of in (blur.sigma_zyx_px, blur.tail_zyx_px))
    return Blur(core, tail, blur.tail_share)


def _blur(rng: np.random.Generator, imaging: Imaging, radius_px: float, flat: bool) -> Blur:
    """Draw the blur along z and across it, and its tails."""
    sigma_xy = float(rng.uniform(*imaging.sigma_xy_px))
    if flat:
        return Blur((0.0, sigma_xy, sigma_xy))
    sigma_z = float(rng.uniform(*imaging.sigma_z_px))
    if rng.random() < imaging.long_focus:
        sigma_z = min(float(rng.uniform(*imaging.long_focus_radii)) * radius_px, _LONGEST_FOCUS_PX)
    sigma_z = max(sigma_z, 0.8 * sigma_xy)
    reach, slope = rng.uniform(*imaging.tail_reach), rng.uniform(*imaging.tail_slope)
    tail_z = min(reach * sigma_z, _LONGEST_TAIL_PX)
    tail_xy = math.hypot(sigma_xy, slope * tail_z)
    return Blur((sigma_z, sigma_xy, sigma_xy), (tail_z, tail_xy, tail_xy), float(rng.uniform(*imaging.tails)))


def _through_optics(rng: np.random.Generator, light: Volume, imaging: Imaging, blur: Blur) -> Volume:
    sharp = np.empty_like(light)
    ndimage.gaussian_filter(light, blur.sigma_zyx_px, truncate=3.0, mode="nearest", output=sharp)
    if blur.tail_share > 0:
        sharp *= np.float32(1 - blur.tail_share)
        sharp += np.float32(blur.tail_share) * _blurred_coarsely(light, blur.tail_zyx_px)
    haze = rng.uniform(*imaging.haze) if rng.random() < 0.7 else 0.0
    if haze > 0:
        far = rng.uniform(*imaging.haze_sigma_px)
        wide = _blurred_coarsely(sharp, (far, far, far))
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


def _blurred_coarsely(light: Volume, sigma_zyx_px: tuple[float, float, float]) -> Volume:
    """Return light under a wide blur, computed at every other voxel."""
    every = tuple(slice(None, None, 2 if size > 8 else 1) for size in light.shape)
    steps = np.array([2.0 if size > 8 else 1.0 for size in light.shape])
    sigma = tuple(s / step if n > 1 else 0.0 for s, step, n in zip(sigma_zyx_px, steps, light.shape))
    small = ndimage.gaussian_filter(light[every], sigma, truncate=2.5, mode="nearest")
    wide = np.empty_like(light)
    kernel.enlarge(np.pad(small, ((0, 2), (0, 2), (0, 2)), mode="edge"), steps, np.zeros(3), wide)
    return wide


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
