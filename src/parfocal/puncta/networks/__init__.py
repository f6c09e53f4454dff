"""Networks that localize puncta where they are crowded, and tell where there is calcium."""

from parfocal.puncta.networks._build import build_puncta_net, parts_of
from parfocal.puncta.networks._decode import DecodeSettings, decode
from parfocal.puncta.networks._ensemble import join_members, localize_with_ensemble
from parfocal.puncta.networks._live import LiveLocalizer
from parfocal.puncta.networks._localize import Refit, localize_with_net
from parfocal.puncta.networks._loss_settings import LossSettings
from parfocal.puncta.networks._net import PunctaNet, as_puncta_net, find_puncta_weights, open_puncta_net
from parfocal.puncta.networks._patches import Patch, draw_patch, patch_batch
from parfocal.puncta.networks._predict import Answer, answers
from parfocal.puncta.networks._pseudo_labels import thunderstorm_movies
from parfocal.puncta.networks._recipe import PatchRecipe, recipe_at
from parfocal.puncta.networks._refit import RefitSettings, Refitter
from parfocal.puncta.networks._samples import (
    LabelledMovie,
    cut_patch,
    labelled_movie,
    sample_folders,
)
from parfocal.puncta.networks._score import PatchScore, score_patches
from parfocal.puncta.networks._shape import PunctaNetShape
from parfocal.puncta.networks._train_puncta import crowded_recipe, train_puncta
from parfocal.puncta.networks._training_config import (
    PunctaStage,
    PunctaTraining,
    begun_with,
    puncta_recipe,
    shared_out,
    training_from_yaml,
)

__all__ = [
    "Answer",
    "DecodeSettings",
    "LabelledMovie",
    "LiveLocalizer",
    "LossSettings",
    "Patch",
    "PatchRecipe",
    "PatchScore",
    "PunctaNet",
    "PunctaNetShape",
    "PunctaStage",
    "PunctaTraining",
    "Refit",
    "RefitSettings",
    "Refitter",
    "answers",
    "as_puncta_net",
    "begun_with",
    "build_puncta_net",
    "crowded_recipe",
    "cut_patch",
    "decode",
    "draw_patch",
    "find_puncta_weights",
    "join_members",
    "labelled_movie",
    "localize_with_ensemble",
    "localize_with_net",
    "open_puncta_net",
    "parts_of",
    "patch_batch",
    "puncta_recipe",
    "recipe_at",
    "sample_folders",
    "score_patches",
    "shared_out",
    "thunderstorm_movies",
    "train_puncta",
    "training_from_yaml",
]
