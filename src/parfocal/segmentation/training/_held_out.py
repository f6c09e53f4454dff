"""How good a network is on simulated images that no training has seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, UNetShape, build_unet, load_into, load_weights
from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.flows import MaskSettings, masks_from_output
from parfocal.segmentation.generator import (
    NucleiPatch,
    NucleiRecipe,
    Outline,
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


def held_out_sets(dims: int, outline: Outline = "drawn") -> Mapping[str, NucleiRecipe]:
    """Return sets by name: `usual` and `hard` volumes, or planes: `fields`, `sections` and `hard sections`."""
    if dims == 3:
        sets = {"usual": NucleiRecipe(shape_zyx=(32, 96, 96)), "hard": hard_recipe((32, 96, 96))}
    else:
        sets = {
            "fields": field_recipe((192, 192)),
            "sections": NucleiRecipe(shape_zyx=(14, 160, 160), enlarged=(1.0, 1.6)),
            "hard sections": replace(hard_recipe((14, 160, 160)), enlarged=(1.0, 1.6)),
        }
    return {name: replace(recipe, outline=outline) for name, recipe in sets.items()}


def outline_of(card: ModelCard) -> Outline:
    """Return which outlines a network was taught; the first version of the generator knew the specimen's alone."""
    sources: list[Mapping[str, Any]] = card.recipe.get("sources", [])
    told = sources[0].get("outline", "true") if sources else "drawn"
    return told if told in get_args(Outline) else "drawn"


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
    outline: Outline = "drawn",
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
    outline : {"drawn", "seen", "true"}
        What the truth is; see `NucleiRecipe`.
    """
    from parfocal.segmentation.measures import compare

    scores: list[HeldOutScore] = []
    for name, recipe in held_out_sets(dims, outline).items():
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


def grouped_scores(scores: Sequence[HeldOutScore]) -> dict[tuple[str, str], list[HeldOutScore]]:
    """Return scores by set and scene, and for each set those of all its scenes."""
    groups: dict[tuple[str, str], list[HeldOutScore]] = {}
    for name in dict.fromkeys(score.held_out_set for score in scores):
        of_set = [score for score in scores if score.held_out_set == name]
        for scene in sorted({score.scene for score in of_set}):
            groups[name, scene] = [score for score in of_set if score.scene == scene]
        groups[name, "all"] = of_set
    return groups


def score_weights(
    kind: str, weights: str | os.PathLike[str] | None = None, n: int = 24, settings: MaskSettings | None = None
) -> list[HeldOutScore]:
    """Score a file of weights on the held-out sets, whose nuclei are outlined as it was taught.

    Parameters
    ----------
    kind : str
        `nuclei3d`, `nuclei2d`; or `denoise2d`, which is scored by what the shipped segmenter finds in what it
        restores.
    weights : path, optional
        The shipped ones of that kind by default.
    n, settings
        See `held_out_scores`.

    Raises
    ------
    BadInputError
        There are none, or they are not of that kind.
    """
    net, shape = opened_net(weights, kind)
    if kind == "denoise2d":
        segmenter, _ = opened_net(None, "nuclei2d")
        _, card = load_weights(weights_path(None, "nuclei2d"))
        return held_out_scores(segmenter, 2, n, settings, restored_by(net), outline=outline_of(card))
    _, card = load_weights(weights_path(weights, kind))
    return held_out_scores(net, shape.dims, n, settings, outline=outline_of(card))


def restored_by(net: nn.Module) -> Callable[[Floats], Floats]:
    """Return what a residual denoiser makes of a plane, on the scale of the plane."""

    def restored(image: Floats) -> Floats:
        import torch

        low, high = np.percentile(image, (1.0, 99.8))
        spread = max(float(high - low), 1e-6)
        x = torch.from_numpy(((image - low) / spread).astype(np.float32))[None, None]
        with torch.inference_mode():
            y = (x + net(x))[0, 0].numpy()
        return (y * spread + low).astype(np.float32)

    return restored


def weights_path(weights: str | os.PathLike[str] | None, kind: str) -> Path:
    """Return a path as given, or that of the shipped weights of a kind."""
    return Path(weights) if weights is not None else Path(__file__).parents[1] / "weights" / f"{kind}.safetensors"


def opened_net(weights: str | os.PathLike[str] | None, kind: str) -> tuple[nn.Module, UNetShape]:
    """Return the network of a file of weights (the shipped ones by default), ready to be asked, and its shape.

    Raises
    ------
    BadInputError
        There is no such file, or it is of another kind.
    """
    path = weights_path(weights, kind)
    state, card = load_weights(path)
    shape = UNetShape.from_architecture(card.architecture)
    wanted = {"nuclei3d": (3, 1, 5), "nuclei2d": (2, 1, 4), "denoise2d": (2, 1, 1)}[kind]
    if (shape.dims, shape.n_in, shape.n_out) != wanted:
        raise BadInputError(
            f"{path}: {shape.dims}D, {shape.n_in} channels in and {shape.n_out} out; expected of {kind}: "
            f"{wanted[0]}D, {wanted[1]} and {wanted[2]}"
        )
    net = build_unet(shape)
    load_into(net, state, where=str(path))
    return net.eval(), shape


def _patch(seed: int, dims: int, recipe: NucleiRecipe) -> NucleiPatch:
    return nuclei_patch(seed, recipe) if dims == 3 else nuclei_plane(seed, recipe)
