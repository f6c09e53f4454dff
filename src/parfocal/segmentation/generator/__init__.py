"""Synthetic nuclei with their truth: what the shipped networks are trained on, and nothing else."""

from parfocal.segmentation.generator._outline import drawn_labels, seen_labels
from parfocal.segmentation.generator._recipe import (
    FIELDS,
    GENERATOR_VERSION,
    SCENES,
    Imaging,
    NucleiRecipe,
    Outline,
    Scene,
    field_recipe,
    hard_recipe,
    of_scene,
)
from parfocal.segmentation.generator._volumes import (
    NucleiPatch,
    NucleiSample,
    nuclei_patch,
    nuclei_plane,
    nuclei_volume,
)

__all__ = [
    "FIELDS",
    "GENERATOR_VERSION",
    "SCENES",
    "Imaging",
    "NucleiPatch",
    "NucleiRecipe",
    "NucleiSample",
    "Outline",
    "Scene",
    "drawn_labels",
    "field_recipe",
    "hard_recipe",
    "nuclei_patch",
    "nuclei_plane",
    "nuclei_volume",
    "of_scene",
    "seen_labels",
]
