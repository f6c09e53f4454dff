"""Train our networks from nothing on simulated nuclei, and score them on what they have not seen."""

from parfocal.segmentation.training._held_out import (
    HELD_OUT_SEED,
    HeldOutScore,
    as_metrics,
    grouped_scores,
    held_out_scores,
    held_out_sets,
    net_output,
    opened_net,
    outline_of,
    restored_by,
    score_weights,
)
from parfocal.segmentation.training._patches import normalised_for_training, nuclei_batch, turned
from parfocal.segmentation.training._recipes import KINDS, SIZES, TrainRecipe, train_recipe
from parfocal.segmentation.training._train_network import nuclei_batches, train_nuclei

__all__ = [
    "HELD_OUT_SEED",
    "KINDS",
    "SIZES",
    "HeldOutScore",
    "TrainRecipe",
    "as_metrics",
    "grouped_scores",
    "held_out_scores",
    "held_out_sets",
    "net_output",
    "normalised_for_training",
    "nuclei_batch",
    "nuclei_batches",
    "opened_net",
    "outline_of",
    "restored_by",
    "score_weights",
    "train_nuclei",
    "train_recipe",
    "turned",
]
