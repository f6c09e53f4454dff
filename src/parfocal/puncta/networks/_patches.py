"""Simulated patches to train on: each draws its own PSF, camera, light and motion.

Positions, photons and background are what the network is asked; nothing else of the scene is told to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta.networks._calcium_patches import calcium_frames
from parfocal.puncta.networks._normalise import Floats, no_frame, seen_counts
from parfocal.puncta.networks._patch_draws import log_uniform, recorded_counts, uneven_field
from parfocal.puncta.networks._profiles import spot_profiles
from parfocal.puncta.networks._recipe import PatchRecipe

Generator = np.random.Generator
Doubles = NDArray[np.float64]
DrawSpots = Callable[[Doubles, Doubles, Doubles, Doubles], None]
_MARGIN_PX = 6.0
_BLUR_STEPS = 3


@dataclass(frozen=True)
class Patch:
    """Three frames as the network sees them, and what is in the middle one.

    Parameters
    ----------
    planes : float32[6 or 12, y, x]
        Frame by frame: puncta and their level, then calcium and its level.
    puncta : float32[n, 4]
        x, y (px), ln photons (counts), and whether calcium is on, of the puncta inside.
    background : float32[y, x]
        ln of the true background over the level that the picture was compared with.
    """

    planes: Floats
    puncta: Floats
    background: Floats


@dataclass(frozen=True)
class _Light:
    """How a patch is lit and recorded."""

    background: float
    excess_noise: float
    read_variance: Floats


def draw_patch(rng: Generator, recipe: PatchRecipe, *, with_calcium: bool = False) -> Patch:
    """Return a patch. The same generator state gives the same patch."""
    side = recipe.crop_px
    light = _draw_light(rng, recipe)
    sigma, draw_spots = _draw_psf(rng, recipe)
    x, y, photons = _draw_puncta(rng, recipe)
    smooth = uneven_field(rng, recipe.crop_px, recipe.structured_share)
    expected_background = (light.background * smooth).astype(np.float64)
    seen: list[Floats] = []
    target = np.empty(0, np.float32)
    is_there = [True, *(rng.random(2) >= recipe.no_neighbour_share)]
    for frame in (1, 0, 2):  # the middle one first: it is always there
        image = expected_background.copy()
        for step in range(x.shape[1]):
            draw_spots(image, x[frame, step], y[frame, step], photons[frame] / x.shape[1])
        counts = _recorded(rng, image, light)
        told = seen_counts(counts, light.read_variance)
        if frame == 1:
            lit = expected_background / light.excess_noise + light.read_variance + 0.375
            target = np.log(lit / told.level).astype(np.float32)
        seen.append(told.planes if is_there[(1, 0, 2).index(frame)] else no_frame(image.shape))
    middle, before, after = seen
    frames = [before, middle, after]
    mean_x, mean_y, light_e = x[1].mean(axis=0), y[1].mean(axis=0), photons[1]
    inside = (light_e > 0) & (mean_x > -0.5) & (mean_x < side - 0.5) & (mean_y > -0.5) & (mean_y < side - 0.5)
    is_on = np.zeros(light_e.size)
    if with_calcium:
        extra, is_on = calcium_frames(
            rng, recipe, x.mean(axis=1), y.mean(axis=1), photons, sigma, light.read_variance
        )
        frames = [
            np.concatenate([a, b if there else no_frame(b.shape[1:])])
            for a, b, there in zip(frames, extra, [is_there[1], True, is_there[2]], strict=True)
        ]
    logs = np.log(np.maximum(light_e, 1e-9) / light.excess_noise)
    puncta = np.stack([mean_x, mean_y, logs, is_on], axis=1)[inside][: recipe.most_puncta]
    return Patch(np.concatenate(frames), puncta.astype(np.float32), target)


def patch_batch(
    recipe: PatchRecipe,
    n: int,
    seed: int,
    step: int,
    *,
    with_calcium: bool = False,
    easy: PatchRecipe | None = None,
    easy_share: float = 0.2,
    first: int = 0,
) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
    """Return a batch: planes `[n, planes, y, x]`, puncta `[n, most, 4]`, how many there are, background.

    The seed, the step's number and the patch's (from `first`) alone decide. A share of patches is drawn from an
    easier recipe, so that what was learnt first is not forgotten.
    """
    patches: list[Patch] = []
    for k in range(first, first + n):
        rng = np.random.default_rng([seed, step, k])
        is_easy = easy is not None and rng.random() < easy_share
        patches.append(
            draw_patch(rng, easy if easy is not None and is_easy else recipe, with_calcium=with_calcium)
        )
    puncta = np.zeros((n, recipe.most_puncta, 4), np.float32)
    for row, patch in zip(puncta, patches, strict=True):
        row[: len(patch.puncta)] = patch.puncta
    counts = np.array([len(patch.puncta) for patch in patches], np.int64)
    background = np.stack([patch.background for patch in patches])[:, None]
    return np.stack([patch.planes for patch in patches]), puncta, counts, background


def _recorded(rng: Generator, expected_e: Doubles, light: _Light) -> Floats:
    return recorded_counts(rng, expected_e, light.excess_noise, light.read_variance)


def _draw_light(rng: Generator, recipe: PatchRecipe) -> _Light:
    shape = (recipe.crop_px, recipe.crop_px)
    background = float(log_uniform(rng, recipe.background))
    if rng.random() < recipe.emccd_share:
        read = np.full(shape, rng.uniform(0.1, 0.5), np.float32)
        return _Light(background, 2.0, np.square(read / 2.0))
    read = rng.uniform(0.7, 3.0) * np.exp(rng.normal(0.0, 0.15, shape))
    noisy = rng.random(shape) < 1e-3
    read[noisy] *= rng.uniform(3.0, 10.0, int(noisy.sum()))
    return _Light(background, 1.0, np.square(read).astype(np.float32))


def _draw_psf(rng: Generator, recipe: PatchRecipe) -> tuple[float, DrawSpots]:
    from parfocal.puncta.networks._patch_kernel import add_gaussians, add_radial

    sigma = float(log_uniform(rng, recipe.sigma_px))
    if rng.random() < recipe.diffraction_share:
        profiles = spot_profiles()
        kind = int(rng.integers(len(profiles.density)))
        profile, per_px = profiles.in_pixels(kind, sigma), profiles.per_px(sigma)
        reach = int(min(14.0, 7.0 * sigma + 4.0))

        def diffraction(image: Doubles, x: Doubles, y: Doubles, photons: Doubles) -> None:
            add_radial(image, x, y, photons, profile, per_px, reach)

        return sigma, diffraction
    ratio = math.exp(rng.normal(0.0, 0.05))

    def gaussian(image: Doubles, x: Doubles, y: Doubles, photons: Doubles) -> None:
        add_gaussians(image, x, y, photons, sigma * ratio, sigma / ratio)

    return sigma, gaussian


def _draw_puncta(rng: Generator, recipe: PatchRecipe) -> tuple[Doubles, Doubles, Doubles]:
    """Return x and y `[frame, sub-step, punctum]` and photoelectrons `[frame, punctum]`; 0 where it is dark."""
    side = recipe.crop_px + 2 * _MARGIN_PX
    density = 0.0 if rng.random() < recipe.empty_share else rng.uniform(*recipe.density_per_1000_px)
    n = int(rng.poisson(density * side**2 / 1000.0))
    start = rng.uniform(-0.5 - _MARGIN_PX, recipe.crop_px - 0.5 + _MARGIN_PX, (2, n))
    is_moving = rng.random() < recipe.moving_share
    steps = _BLUR_STEPS if is_moving else 1
    path = np.repeat(start[:, None], 3 * steps, axis=1)
    if is_moving:
        length = rng.uniform(0.05, 1.2) * (rng.random(n) < rng.uniform(0.2, 1.0))
        path = path + np.cumsum(rng.standard_normal(path.shape) * length / math.sqrt(steps), axis=1)
    x, y = path.reshape(2, 3, steps, n)
    if rng.random() < 0.5:
        typical = log_uniform(rng, recipe.photons)
        photons = typical * np.exp(rng.normal(0.0, rng.uniform(0.0, 0.5), n))
    else:
        photons = log_uniform(rng, recipe.photons, n)
    photons = np.clip(photons, 0.7 * recipe.photons[0], 1.3 * recipe.photons[1])
    each = photons * np.exp(rng.normal(0.0, rng.uniform(0.0, 0.25), (3, n)))
    if rng.random() >= recipe.steady_share:
        each *= rng.random((3, n)) < rng.uniform(0.15, 0.95)
    return x, y, each
