"""What a network is shown when it learns from corrections, and what it is judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.learning import Batches
from parfocal.segmentation.corrections._crops import LearningCrop, core_box, cut_patch, learning_crop
from parfocal.segmentation.corrections._edits import Box
from parfocal.segmentation.corrections._journal import Correction, CorrectionJournal
from parfocal.segmentation.corrections._retrain_settings import RetrainSettings
from parfocal.segmentation.flows import flow_targets
from parfocal.segmentation.generator import Outline
from parfocal.segmentation.training import nuclei_batches, train_recipe, turned

_CORRECTED_SEED, _SIMULATED_SEED = 31, 77


def is_held_out(correction_id: str, share: float) -> bool:
    """Say whether a correction is kept for the gate; its own hash decides, so it is the same every time."""
    return int(hashlib.sha256(correction_id.encode()).hexdigest()[:8], 16) / 16**8 < share


def learnt_and_judged(
    journal: CorrectionJournal, standing: Sequence[Correction], how: RetrainSettings, diameter_px: float, dims: int
) -> tuple[list[LearningCrop], list[LearningCrop]]:
    """Return the corrections that stand: those to learn from, and those that the gate keeps.

    Where a crop to learn from overlaps with what the gate judges by, its voxels there count nothing.

    Raises
    ------
    BadInputError
        One of the two is empty.
    """
    kept: dict[str, list[Box]] = {}
    for made in standing:
        if is_held_out(made.id, how.held_out):
            kept.setdefault(made.source, []).append(core_box(made, journal.crop(made)))
    sets: tuple[list[LearningCrop], list[LearningCrop]] = ([], [])
    for made in standing:
        judges = is_held_out(made.id, how.held_out)
        shown = learning_crop(
            made,
            journal.crop(made),
            diameter_px=diameter_px,
            dims=dims,
            outside_weight=how.outside_weight,
            kept_out=() if judges else kept.get(made.source, ()),
        )
        if shown is not None:
            sets[judges].append(shown)
    if not sets[0] or not sets[1]:
        raise BadInputError(
            f"retraining: {len(sets[0])} corrections to learn from and {len(sets[1])} to judge by in "
            f"{journal.folder}; correct more, at least one of each is needed"
        )
    return sets


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
