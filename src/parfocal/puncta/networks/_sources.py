"""Where a training's batches come from: simulated patches, folders of samples, real movies with pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta.networks._normalise import Floats
from parfocal.puncta.networks._patches import patch_batch
from parfocal.puncta.networks._pseudo_labels import thunderstorm_movies
from parfocal.puncta.networks._recipe import PatchRecipe, recipe_at
from parfocal.puncta.networks._samples import (
    LabelledMovie,
    cut_batch,
    labelled_movie,
    sample_folders,
    split_movies,
)
from parfocal.puncta.networks._training_config import PunctaStage, PunctaTraining

Batch = tuple[Floats, Floats, NDArray[np.int64], Floats]
VALIDATION_SEED = 7_000_003


@dataclass(frozen=True)
class StageSource:
    """What a stage is shown, and what it is scored on.

    Parameters
    ----------
    draw : callable
        From step and level of the curriculum to a batch.
    validation : callable
        From a level to the patches that are scored.
    has_levels : bool
        Whether there is a curriculum.
    """

    draw: Callable[[int, int], Batch]
    validation: Callable[[int], Batch]
    has_levels: bool


def stage_source(training: PunctaTraining, stage: PunctaStage, number: int) -> StageSource:
    """Return the batches of a stage, the `number`-th, from 0.

    Simulated patches; where the training names folders of samples, every second patch is cut from those:
    `synthetic_dir` for `localization`, `paired_data` for `calcium` and `joint`. `pseudo_labels` is shown
    `thunderstorm_dir` alone, with a quarter of simulated patches, since what the classical detector misses must
    not be unlearnt; and the last stage, where there is `finetune_data`, that alone.

    Raises
    ------
    BadInputError
        A folder holds no sample.
    """
    folder, share = _folder_of(training, stage, is_last=number == len(training.stages) - 1)
    seed = training.seed + 1_000_003 * (number + 1)
    recipe, n_channels = training.patches, training.shape.n_channels
    shown: list[LabelledMovie] = []
    held: list[LabelledMovie] = []
    if folder is not None:
        is_pseudo = stage.name == "pseudo_labels" and folder == training.thunderstorm_dir
        read = thunderstorm_movies(folder) if is_pseudo else [labelled_movie(p) for p in sample_folders(folder)]
        shown, held = split_movies(read, training.train_split)
    n_cut = round(share * training.batch_size)

    def simulated(recipe: PatchRecipe, easy: PatchRecipe | None, n: int, seed: int, step: int) -> Batch:
        if training.num_workers < 2:
            return patch_batch(
                recipe, n, seed, step, with_calcium=n_channels == 2, easy=easy, easy_share=training.easy_share
            )
        # Patch k is drawn from a generator of its own: threads change nothing.
        with ThreadPoolExecutor(training.num_workers, thread_name_prefix="patches") as pool:
            parts = pool.map(
                lambda k: patch_batch(
                    recipe, 1, seed, step, with_calcium=n_channels == 2, easy=easy,
                    easy_share=training.easy_share, first=k,
                ),
                range(n),
            )  # fmt: skip
            return _joined(list(parts))

    def draw(step: int, level: int) -> Batch:
        easy = recipe_at(0, recipe) if training.use_curriculum and level else None
        parts: list[Batch] = []
        if training.batch_size - n_cut:
            parts.append(simulated(recipe_at(level, recipe), easy, training.batch_size - n_cut, seed, step))
        if n_cut:
            parts.append(
                cut_batch(shown, recipe.crop_px, recipe.most_puncta, n_cut, seed, step, n_channels=n_channels)
            )
        return _joined(parts)

    def validation(level: int) -> Batch:
        if n_cut > training.batch_size // 2:
            return cut_batch(
                held, recipe.crop_px, recipe.most_puncta, training.val_patches, VALIDATION_SEED, 0,
                n_channels=n_channels,
            )  # fmt: skip
        return simulated(recipe_at(level, recipe), None, training.val_patches, VALIDATION_SEED, level)

    # Where half of the patches or more are simulated, these have levels.
    return StageSource(draw, validation, training.use_curriculum and n_cut <= training.batch_size // 2)


def _folder_of(training: PunctaTraining, stage: PunctaStage, *, is_last: bool) -> tuple[str | None, float]:
    """Return the folder of samples that a stage is shown, and what share of its patches comes from there."""
    if is_last and training.finetune_data:
        return training.finetune_data, 1.0
    if stage.name == "pseudo_labels":
        if not training.thunderstorm_dir:
            raise BadInputError(
                "training: stage pseudo_labels needs thunderstorm_dir, a folder of labelled movies"
            )
        return training.thunderstorm_dir, 0.75
    folder = training.synthetic_dir if stage.name == "localization" else training.paired_data
    return (folder, 0.5) if folder else (None, 0.0)


def _joined(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    columns: list[Any] = [np.concatenate([part[k] for part in parts]) for k in range(4)]
    return columns[0], columns[1], columns[2], columns[3]
