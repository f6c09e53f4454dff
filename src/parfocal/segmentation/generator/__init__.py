"""Synthetic nuclei with their truth: what the shipped networks are trained on, and nothing else."""

from parfocal.segmentation.generator._recipe import GENERATOR_VERSION, SCENES, Imaging, NucleiRecipe, Scene, of_scene
from parfocal.segmentation.generator._volumes import NucleiPatch, NucleiSample, nuclei_patch, nuclei_volume

__all__ = [
    "GENERATOR_VERSION",
    "SCENES",
    "Imaging",
    "NucleiPatch",
    "NucleiRecipe",
    "NucleiSample",
    "Scene",
    "nuclei_patch",
    "nuclei_volume",
    "of_scene",
]
