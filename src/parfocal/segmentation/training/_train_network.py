"""Train a network from nothing, on simulated nuclei alone, and write it with its card."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.learning import (
    Batches,
    ModelCard,
    TrainProgress,
    TrainSettings,
    build_unet,
    check_training_files,
    load_into,
    load_weights,
    need_torch,
    save_weights,
    train,
)
from parfocal.segmentation.flows import MaskSettings
from parfocal.segmentation.generator import GENERATOR_VERSION, nuclei_patch, nuclei_plane
from parfocal.segmentation.training._held_out import (
    as_metrics,
    held_out_scores,
    opened_net,
    outline_of,
    restored_by,
    weights_path,
)
from parfocal.segmentation.training._patches import nuclei_batch
from parfocal.segmentation.training._recipes import TrainRecipe

if TYPE_CHECKING:
    from torch import nn

_STATISTICS_STEPS = 60
_STATISTICS_SEED = 1_000_003
_STAGE_SEED = 2_000_003
_DIAMETER_PX = {"nuclei3d": 13.0, "nuclei2d": 18.0}
_HELD_OUT_IMAGES = 24
Device = Literal["auto", "cpu", "cuda"]


def nuclei_batches(recipe: TrainRecipe, seed: int | None = None) -> Batches:
    """Return the batches by which a recipe teaches to find nuclei, for `learning.train`."""
    sources = recipe.sources
    chosen = recipe.seed if seed is None else seed

    def draw(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.int32]]:
        source = sources[int(rng.random() * len(sources)) if len(sources) > 1 else 0]
        patch = nuclei_patch(rng, source) if recipe.shape.dims == 3 else nuclei_plane(rng, source)
        return patch.image, patch.labels

    return lambda step: nuclei_batch(draw, recipe.batch, chosen, step)


def train_nuclei(
    recipe: TrainRecipe,
    out: str | os.PathLike[str],
    *,
    device: Device = "auto",
    resume: bool = False,
    start: str | os.PathLike[str] | None = None,
    segmenter: str | os.PathLike[str] | None = None,
    version: str = "trained",
    held_out_images: int = _HELD_OUT_IMAGES,
    on_progress: Callable[[TrainProgress], object] | None = None,
) -> ModelCard:
    """Train one of our networks and write its weights (16-bit) and card.

    Parameters
    ----------
    recipe : TrainRecipe
        See `train_recipe`.
    out : path
        `NAME.safetensors`; the card goes beside it, and while it trains checkpoints do too.
    device : {"auto", "cpu", "cuda"}
    resume : bool
        Go on from the checkpoints that are beside `out`.
    start : path, optional
        Weights to begin with, of the recipe's shape, instead of fresh ones: their hash becomes the card's parent.
    segmenter : path, optional
        For `denoise2d`: weights of the 2D segmenter that looks on. By default the shipped one.
    version : str
        For the card.
    held_out_images : int
        How many images of each held-out set are scored at the end; 0 for none.
    on_progress : callable, optional
        Called after each step; steps count through all stages.

    Returns
    -------
    ModelCard
        As it was written.

    Raises
    ------
    BadInputError
        There are weights or checkpoints already, or nothing to resume; PyTorch or the device is missing.
    """
    need_torch("training a network")
    target = Path(out)
    checkpoints = {stage.name: target.with_suffix(f".{stage.name}.checkpoint") for stage in recipe.stages}
    check_training_files(target, list(checkpoints.values()), resume)
    net, batches, loss = _materials(recipe, segmenter)
    before: ModelCard | None = None
    if start is not None:
        state, before = load_weights(start)
        load_into(net, state, where=str(start))

    from parfocal.segmentation.training._fast_net import computes_fast, hold_statistics, measure_statistics

    computes_fast(net, recipe.shape.dims)
    losses: list[float] = []
    where = ""
    for number, stage in enumerate(recipe.stages):
        if stage.holds_statistics:
            n = min(_STATISTICS_STEPS, max(4, recipe.steps // 10))
            measure_statistics(net, batches(recipe.seed + _STATISTICS_SEED), n)
            hold_statistics(net)

        def tell(progress: TrainProgress, before: int = len(losses)) -> None:
            if on_progress is not None:
                on_progress(replace(progress, step=progress.step + before, steps=recipe.steps))

        settings = TrainSettings(
            steps=stage.steps, rate=stage.rate, end_fraction=stage.end_fraction, seed=recipe.seed, device=device,
            warm_up_steps=min(stage.warm_up_steps, stage.steps // 4), prefetch=1, mixed=True,
        )  # fmt: skip
        log = train(
            net, batches(recipe.seed + number * _STAGE_SEED), loss, settings, checkpoint=checkpoints[stage.name],
            on_progress=tell,
        )  # fmt: skip
        losses.extend(log.loss.tolist())
        where = log.device

    metrics = {"loss": round(float(np.nanmean(losses[-max(1, min(50, len(losses) // 5)) :])), 4)}
    if held_out_images:
        finished = build_unet(recipe.shape)  # in float32, as it will be used
        load_into(finished, net.state_dict())
        metrics |= _metrics(finished.eval(), recipe, held_out_images, segmenter)
    card = ModelCard(
        name=recipe.kind,
        version=version,
        architecture=recipe.shape.as_architecture(),
        weights_sha256="",
        recipe=card_recipe(recipe, where) | _earlier(before, recipe, segmenter),
        metrics=metrics,
        parent=None if before is None else before.weights_sha256,
    )
    written = save_weights(target, net.state_dict(), card, half=True)
    for path in checkpoints.values():
        path.unlink(missing_ok=True)
    return written


def _metrics(
    net: nn.Module, recipe: TrainRecipe, n: int, segmenter: str | os.PathLike[str] | None
) -> dict[str, float]:
    if recipe.kind != "denoise2d":
        return as_metrics(held_out_scores(net, recipe.shape.dims, n, outline=recipe.sources[0].outline))
    looks_on, _ = opened_net(segmenter, "nuclei2d")
    taught = outline_of(load_weights(weights_path(segmenter, "nuclei2d"))[1])
    raw = as_metrics(held_out_scores(looks_on, 2, n, outline=taught))
    restored = as_metrics(held_out_scores(looks_on, 2, n, prepare=restored_by(net), outline=taught))
    return {f"raw_{k}": v for k, v in raw.items()} | {f"restored_{k}": v for k, v in restored.items()}


def _earlier(
    before: ModelCard | None, recipe: TrainRecipe, segmenter: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """Return what the card says of the weights that others began with or were judged by."""
    said: dict[str, Any] = {} if before is None else {"began_with": dict(before.recipe)}
    if recipe.kind == "denoise2d":
        said["segmenter_sha256"] = load_weights(weights_path(segmenter, "nuclei2d"))[1].weights_sha256
    return said


def card_recipe(recipe: TrainRecipe, device: str) -> dict[str, Any]:
    """Return what a card says of how its network was made."""
    content = recipe.as_dict() | {
        "generator_version": GENERATOR_VERSION,
        "trained_on": "simulated nuclei alone",
        "device": device,
    }
    if recipe.kind == "denoise2d":
        return content | {"predicts": "residual", "normalised_percentiles": [1.0, 99.8]}
    defaults = MaskSettings()
    return content | {
        "diameter_px": _DIAMETER_PX[recipe.kind],
        "mask_limits": {
            name: getattr(defaults, name)
            for name in (
                "max_flow_error",
                "min_foreground_logit",
                "min_relative_volume",
                "min_relative_contrast",
                "foreground_logit",
            )
        },
    }


def _materials(
    recipe: TrainRecipe, segmenter: str | os.PathLike[str] | None
) -> tuple[nn.Module, Callable[[int], Batches], Callable[..., Any]]:
    """Return the network, its batches for a seed, and its loss."""
    net = build_unet(recipe.shape, seed=recipe.seed)
    if recipe.kind != "denoise2d":
        from parfocal.segmentation.training._losses import nuclei_loss

        return net, lambda seed: nuclei_batches(recipe, seed), nuclei_loss
    import torch

    from parfocal.segmentation.training._fast_net import computes_fast
    from parfocal.segmentation.training._restoring import restoration_batch, restoration_loss

    with torch.no_grad():  # begins as no change at all
        head: Any = net.head
        head.weight.zero_()
        head.bias.zero_()
    looks_on = computes_fast(opened_net(segmenter, "nuclei2d")[0], 2)

    def batches(seed: int) -> Batches:
        def make(step: int) -> Sequence[NDArray[np.float32]]:
            return restoration_batch(recipe.sources, recipe.batch, seed, step)

        return make

    return net, batches, restoration_loss(looks_on, recipe.segmenter_weight)
