"""Volumes for use (`nuclei_volume`) and patches for training (`nuclei_patch`): the same draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.generator import _kernel as kernel
from parfocal.segmentation.generator._camera import Exposure, expose
from parfocal.segmentation.generator._nuclei import log_uniform
from parfocal.segmentation.generator._outline import drawn_labels, seen_labels
from parfocal.segmentation.generator._recipe import NucleiRecipe, field_recipe
from parfocal.segmentation.generator._scene import Specimen, draw_specimen


@dataclass(frozen=True)
class NucleiSample:
    """A simulated image and its truth.

    Parameters
    ----------
    image : uint16[z, y, x] or uint16[y, x]
        Camera counts.
    labels : int32, as the image
        0 is background; nuclei are 1 to n.
    voxel_size_um : (float, float, float)
        z, y, x.
    scene : str
        Which of `SCENES` (or of `FIELDS`) it shows.
    radius_px : float
        Mean radius of its nuclei before any was cut or flattened, voxels of x.
    """

    image: NDArray[np.uint16]
    labels: NDArray[np.int32]
    voxel_size_um: tuple[float, float, float]
    scene: str
    radius_px: float


@dataclass(frozen=True)
class NucleiPatch:
    """What a network is trained on: float32 counts resampled to the isotropic grid, labels int32 on it.

    `clean` is `image` without noise.
    """

    image: NDArray[np.float32]
    clean: NDArray[np.float32]
    labels: NDArray[np.int32]
    scene: str


def nuclei_volume(seed: int | np.random.Generator, recipe: NucleiRecipe | None = None) -> NucleiSample:
    """Simulate one volume as a camera takes it, plane by plane.

    Parameters
    ----------
    seed : int or Generator
        The same one gives the same volume, to the bit.
    recipe : NucleiRecipe, optional
        What may be in it.

    Returns
    -------
    NucleiSample
        Its planes lie one or more voxels of the grid apart, as `voxel_size_um` says.
    """
    recipe = recipe or NucleiRecipe()
    specimen, exposure, scene = _draw(np.random.default_rng(seed), recipe)
    nearest = np.rint(exposure.z_px).astype(int)
    z_px = exposure.z_px
    step = float(z_px[1] - z_px[0]) if z_px.size > 1 else float(specimen.labels.shape[0])
    return NucleiSample(
        image=exposure.counts,
        labels=_again_consecutive(specimen.labels[nearest]),
        voxel_size_um=(step * recipe.grid_um, recipe.grid_um, recipe.grid_um),
        scene=scene,
        radius_px=specimen.radius_px,
    )


def nuclei_patch(seed: int | np.random.Generator, recipe: NucleiRecipe | None = None) -> NucleiPatch:
    """Simulate one volume and resample its planes to the isotropic grid, where its labels are exact."""
    specimen, exposure, scene = _draw(np.random.default_rng(seed), recipe or NucleiRecipe())
    clean, planes = exposure.clean, exposure.counts.astype(np.float32)
    z_px = exposure.z_px
    if z_px.size == specimen.labels.shape[0]:
        return NucleiPatch(planes, clean, specimen.labels, scene)
    step = float(z_px[1] - z_px[0]) if z_px.size > 1 else 1.0
    at = (np.arange(specimen.labels.shape[0]) - z_px[0]) / step
    image, without_noise = np.empty((2, *specimen.labels.shape), dtype=np.float32)
    kernel.planes_at(planes, at, image)
    kernel.planes_at(clean, at, without_noise)
    return NucleiPatch(image, without_noise, specimen.labels, scene)


def nuclei_plane(seed: int | np.random.Generator, recipe: NucleiRecipe | None = None) -> NucleiPatch:
    """Simulate one plane `(y, x)`: of a widefield image, or one plane of a volume where the recipe has several.

    A section of a volume shows what lies above and below it as blur, which is not labelled.
    """
    rng = np.random.default_rng(seed)
    recipe = recipe or field_recipe()
    specimen, exposure, scene = _draw(rng, recipe)
    n = exposure.z_px.size
    k = int(rng.integers(n // 4, max(n // 4 + 1, n - n // 4)))
    labels = _again_consecutive(specimen.labels[round(float(exposure.z_px[k]))])
    return NucleiPatch(exposure.counts[k].astype(np.float32), exposure.clean[k], labels, scene)


def _draw(rng: np.random.Generator, recipe: NucleiRecipe) -> tuple[Specimen, Exposure, str]:
    names = list(recipe.shares)
    shares = np.array([recipe.shares[name] for name in names], dtype=float)
    scene = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    drawn = recipe.scenes[scene]
    factor = log_uniform(rng, recipe.enlarged)
    drawn = replace(drawn, radius_px=(drawn.radius_px[0] * factor, drawn.radius_px[1] * factor))
    specimen = draw_specimen(rng, drawn, recipe.shape_zyx)
    exposure = expose(rng, specimen.light, recipe.imaging, specimen.radius_px)
    if recipe.outline != "true":
        outlined = drawn_labels if recipe.outline == "drawn" else seen_labels
        labels = _again_consecutive(outlined(specimen.labels, exposure.sigma_zyx_px))
        specimen = replace(specimen, labels=labels)
    return specimen, exposure, scene


def _again_consecutive(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return ids 1 to n again: a small nucleus may lie between two planes."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    new = np.zeros(present.size, dtype=np.int32)
    new[present] = np.arange(1, int(present.sum()) + 1, dtype=np.int32)
    return new[labels]
