"""Networks that localize puncta where they are crowded, and tell where there is calcium."""

from parfocal.puncta.networks._build import build_puncta_net
from parfocal.puncta.networks._decode import DecodeSettings, decode
from parfocal.puncta.networks._localize import localize_with_net
from parfocal.puncta.networks._loss_settings import LossSettings
from parfocal.puncta.networks._net import PunctaNet, as_puncta_net, open_puncta_net
from parfocal.puncta.networks._patches import Patch, draw_patch, patch_batch
from parfocal.puncta.networks._predict import Answer, answers
from parfocal.puncta.networks._recipe import PatchRecipe, recipe_at
from parfocal.puncta.networks._refit import RefitSettings, refitted
from parfocal.puncta.networks._score import PatchScore, score_patches
from parfocal.puncta.networks._shape import PunctaNetShape

__all__ = [
    "Answer",
    "DecodeSettings",
    "LossSettings",
    "Patch",
    "PatchRecipe",
    "PatchScore",
    "PunctaNet",
    "PunctaNetShape",
    "RefitSettings",
    "answers",
    "as_puncta_net",
    "build_puncta_net",
    "decode",
    "draw_patch",
    "localize_with_net",
    "open_puncta_net",
    "patch_batch",
    "recipe_at",
    "refitted",
    "score_patches",
]
