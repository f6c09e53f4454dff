"""What a network is shown when it learns from corrections, and what it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.learning import Batches
from parfocal.segmentation.corrections._crops import LearningCrop, core_box, cut_patch, learning_crop
from parfocal.segmentation.corrections._edits import Box
from parfocal.segmentation.corrections._journal import CorrectionJournal
from parfocal.segmentation.corrections._kinds import Labels
from parfocal.segmentation.corrections._marks import last_word, mark_of
from parfocal.segmentation.corrections._record import Correction
from parfocal.segmentation.corrections._retrain_settings import RetrainSettings
from parfocal.segmentation.corrections._sides import held_out_ids
from parfocal.segmentation.flows import flow_targets
from parfocal.segmentation.generator import Outline
from parfocal.segmentation.training import nuclei_batches, train_recipe, turned

_CORRECTED_SEED, _SIMULATED_SEED = 31, 77


def learnt_and_judged(
    journal: CorrectionJournal, how: RetrainSettings, diameter_px: float, dims: int
) -> tuple[list[LearningCrop], list[LearningCrop]]:
    """Return the corrections that stand: those to learn from, and those that the gate keeps.

    Where a crop to learn from overlaps with what the gate judges by, its voxels there count nothing. Of
    corrections of one object the last one speaks; what it left nothing of is in neither.

    Raises
    ------
    BadInputError
        One of the two is empty.
    """
    held_out = held_out_ids(journal, how.held_out)
    said = _what_stands(journal)
    kept: dict[str, list[Box]] = {}
    for made, _ in said:
        if made.id in held_out:
            kept.setdefault(made.source, []).append(core_box(made, journal.crop(made)))
    sets: tuple[list[LearningCrop], list[LearningCrop]] = ([], [])
    for made, truth in said:
        judges = made.id in held_out
        shown = learning_crop(
            made,
            journal.crop(made),
            diameter_px=diameter_px,
            dims=dims,
            outside_weight=how.outside_weight,
            kept_out=() if judges else kept.get(made.source, ()),
            truth=truth,
        )
        if shown is not None:
            sets[judges].append(shown)
    if not sets[0] or not sets[1]:
        raise BadInputError(
            f"retraining: {len(sets[0])} corrections to learn from and {len(sets[1])} held out to judge by in "
            f"{journal.folder}; correct more objects, at least one of each is needed"
        )
    return sets


def _what_stands(journal: CorrectionJournal) -> list[tuple[Correction, Labels]]:
    """Return the corrections that later ones left something of, each with the labels that stand in its crop."""
    marks = [mark_of(made, journal.crop(made)) for made in journal.corrections()]
    found: list[tuple[Correction, Labels]] = []
    for number, mark in enumerate(marks):
        truth = last_word(mark, journal.crop(mark.correction), marks[number + 1 :])
        if truth is not None:
            found.append((mark.correction, truth))
    return found


def lessons(
    crops: Sequence[LearningCrop],
    how: RetrainSettings,
    dims: int,
    share: int = 0,
    outline: Outline = "drawn",
) -> Batches:
    """Return batches for `learning.train`: corrections and simulated images, each as often as `replay` says.

    The settings' seed, the share and the step alone decide what is in them.

    Parameters
    ----------
    crops : sequence of LearningCrop
    how : RetrainSettings
    dims : {2, 3}
    share : int
        Of several that are trained side by side: each has batches of its own.
    outline : {"drawn", "seen", "true"}
        Of the simulated nuclei: what the network was taught before.
    """
    recipe = train_recipe("nuclei3d" if dims == 3 else "nuclei2d", "small", outline=outline)
    n_simulated = min(how.batch - 1, round(how.batch * how.replay))
    shape = _patch_shape(recipe, dims)

    def batch(step: int) -> Sequence[np.ndarray[Any, Any]]:
        parts: list[list[np.ndarray[Any, Any]]] = []
        for k in range(how.batch - n_simulated):
            rng = np.random.default_rng((how.seed, _CORRECTED_SEED, share, step, k))
            chosen = crops[int(rng.integers(len(crops)))]
            image, labels, weight = turned(rng, *cut_patch(rng, chosen, shape))
            flow, foreground, boundary = flow_targets(labels)
            parts.append([image[None], flow, foreground[None], boundary[None], weight[None]])
        corrected = [np.stack(column) for column in zip(*parts, strict=True)]
        if not n_simulated:
            return corrected
        # Made here: a closure over it would have to travel to workers.
        simulated = nuclei_batches(
            replace(recipe, batch=n_simulated), how.seed + _SIMULATED_SEED + 1_000_003 * share
        )
        replayed = list(simulated(step))
        replayed.append(np.ones_like(replayed[2]))
        return [np.concatenate(pair) for pair in zip(corrected, replayed, strict=True)]

    return batch


def _patch_shape(recipe: Any, dims: int) -> tuple[int, ...]:
    whole = tuple(int(n) for n in recipe.sources[0].shape_zyx)
    return whole if dims == 3 else whole[1:]
