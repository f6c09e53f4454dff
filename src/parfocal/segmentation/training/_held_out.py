"""How good a network is on simulated images that no training has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.flows import MaskSettings, masks_from_output
from parfocal.segmentation.generator import (
    NucleiPatch,
    NucleiRecipe,
    field_recipe,
    hard_recipe,
    nuclei_patch,
    nuclei_plane,
)

if TYPE_CHECKING:
    from torch import nn

HELD_OUT_SEED = 9_000_000
"""Held-out images have this seed and those after it; training draws from (seed, step, patch)."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOutScore:
    """What came of one held-out image.

    Parameters
    ----------
    held_out_set, scene : str
        Which set, and what the image shows.
    ap50, ap75 : float
        TP / (TP + FP + FN) at an IoU of 0.5 and 0.75; 1 where nothing was there and nothing was found.
    n_true, n_found : int
        Nuclei.
    """

    held_out_set: str
    scene: str
    ap50: float
    ap75: float
    n_true: int
    n_found: int


def held_out_sets(dims: int) -> Mapping[str, NucleiRecipe]:
    """Return sets by name: `usual` and `hard` volumes, or planes: `fields`, `sections` and `hard sections`."""
    if dims == 3:
        return {"usual": NucleiRecipe(shape_zyx=(32, 96, 96)), "hard": hard_recipe((32, 96, 96))}
    sections = NucleiRecipe(shape_zyx=(14, 160, 160), enlarged=(1.0, 1.6))
    return {
        "fields": field_recipe((192, 192)),
        "sections": sections,
        "hard sections": replace(hard_recipe((14, 160, 160)), enlarged=(1.0, 1.6)),
    }


def net_output(net: nn.Module, image: NDArray[Any]) -> NetOutput:
    """Return what a network says of one small image, whole, scaled to its 1st and 99.8th percentile."""
    import torch

    low, high = np.percentile(image, (1.0, 99.8))
    scaled = ((image - low) / max(float(high - low), 1e-6)).astype(np.float32)
    with torch.inference_mode():
        said = net(torch.from_numpy(scaled)[None, None])[0].float().numpy()
    return NetOutput(said[: image.ndim], said[image.ndim], said[image.ndim + 1])


def held_out_scores(
    net: nn.Module,
    dims: int,
    n: int = 24,
    settings: MaskSettings | None = None,
    prepare: Callable[[Floats], Floats] | None = None,
    on_image: Callable[[], object] | None = None,
) -> list[HeldOutScore]:
    """Score a network on `n` images of each held-out set.

    Parameters
    ----------
    net : torch.nn.Module
        In evaluation mode, on the CPU.
    dims : {2, 3}
    n : int
        Images a set; the first n are the same whatever n is.
    settings : MaskSettings, optional
        How objects are made and filtered.
    prepare : callable, optional
        What is done to the image before the network is asked: a restoration.
    on_image : callable, optional
        Called after each image.
    """
    from parfocal.segmentation.measures import compare

    scores: list[HeldOutScore] = []
    for name, recipe in held_out_sets(dims).items():
        for k in range(n):
            patch = _patch(HELD_OUT_SEED + k, dims, recipe)
            image = patch.image if prepare is None else prepare(patch.image)
            found = masks_from_output(net_output(net, image), settings, image, 1)
            result = compare(patch.labels, found)
            scores.append(
                HeldOutScore(
                    name, patch.scene, result.ap(0.5), result.ap(0.75), int(patch.labels.max()), int(found.max())
                )
            )
            if on_image is not None:
                on_image()
    return scores


def as_metrics(scores: list[HeldOutScore]) -> dict[str, float]:
    """Return means by set, as a card keeps them, and how many objects were found per image that has none."""
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(score.held_out_set for score in scores):
        of_set = [score for score in scores if score.held_out_set == name]
        key = name.replace(" ", "_")
        metrics[f"{key}_ap50"] = round(float(np.mean([score.ap50 for score in of_set])), 4)
        metrics[f"{key}_ap75"] = round(float(np.mean([score.ap75 for score in of_set])), 4)
    bare = [score.n_found for score in scores if score.n_true == 0]
    if bare:
        metrics["found_where_nothing_is"] = round(float(np.mean(bare)), 3)
    return metrics


def _patch(seed: int, dims: int, recipe: NucleiRecipe) -> NucleiPatch:
    return nuclei_patch(seed, recipe) if dims == 3 else nuclei_plane(seed, recipe)
