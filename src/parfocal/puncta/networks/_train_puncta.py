"""Train a network for puncta, stage after stage, and write it with its card."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.learning import (
    ModelCard,
    TrainProgress,
    TrainSettings,
    check_training_files,
    load_into,
    need_torch,
    save_weights,
    train,
)
from parfocal.puncta.networks._build import build_puncta_net
from parfocal.puncta.networks._curriculum import Curriculum
from parfocal.puncta.networks._net import read_puncta_module, shipped_weights
from parfocal.puncta.networks._recipe import N_LEVELS, PatchRecipe
from parfocal.puncta.networks._score import PatchScore, calcium_threshold, score_patches, sigma_scale
from parfocal.puncta.networks._sources import Batch, StageSource, stage_source
from parfocal.puncta.networks._training_config import PunctaStage, PunctaTraining

if TYPE_CHECKING:
    from parfocal.puncta.networks._module import PunctaModule

Device = Literal["auto", "cpu", "cuda"]
_FINAL_PATCHES = 192
_FINAL_SEED = 9_000_011
_CARD_FIGURES = (
    "precision", "recall", "jaccard", "rmse_px", "efficiency", "photons_ratio", "false_per_1000_px", "calcium_f1",
    "calcium_iou",
)  # fmt: skip
_BOARD_FIGURES = (
    "precision", "recall", "rmse_px", "efficiency", "within_one_sigma", "calcium_f1", "calcium_iou",
)  # fmt: skip
_TASKS: Mapping[str, frozenset[str]] = {
    "localization": frozenset({"localization"}),
    "pseudo_labels": frozenset({"localization"}),
    "calcium": frozenset({"calcium"}),
    "joint": frozenset({"localization", "calcium"}),
}


def train_puncta(
    training: PunctaTraining,
    out: str | os.PathLike[str],
    *,
    device: Device = "auto",
    resume: bool = False,
    version: str = "trained",
    logs: str | os.PathLike[str] | None = None,
    final_patches: int = _FINAL_PATCHES,
    on_progress: Callable[[TrainProgress], object] | None = None,
    on_score: Callable[[str, int, int, PatchScore], object] | None = None,
) -> ModelCard:
    """Train a network for puncta and write its weights (16-bit) and card.

    Parameters
    ----------
    training : PunctaTraining
        See `puncta_recipe` and `training_from_yaml`.
    out : path
        `NAME.safetensors`; the card goes beside it, and while it trains checkpoints do too.
    device : {"auto", "cpu", "cuda"}
    resume : bool
        Go on from the checkpoints that are beside `out`: on a CPU, to the same weights, bit for bit.
    version : str
        For the card.
    logs : path, optional
        Folder for TensorBoard: every term of the loss, the rate, gradients (of each task, where there are two),
        the level of the curriculum and the scores.
    final_patches : int
        How many patches the finished network is scored on; its sigmas are scaled by them.
    on_progress : callable, optional
        Called after each step; steps count through all stages.
    on_score : callable, optional
        Called with the stage's name, the step in it, the level and the score.

    Returns
    -------
    ModelCard
        As it was written.

    Raises
    ------
    BadInputError
        There are weights or checkpoints already, or nothing to resume; PyTorch, the device or a folder is missing.
    """
    need_torch("training a network")
    target = Path(out)
    checkpoints = [
        target.with_suffix(f".{number}-{s.name}.checkpoint") for number, s in enumerate(training.stages)
    ]
    curricula = [path.with_suffix(".scores.jsonl") for path in checkpoints]
    check_training_files(target, [*checkpoints, *curricula], resume)
    sources = [stage_source(training, stage, number) for number, stage in enumerate(training.stages)]
    module = build_puncta_net(training.shape, seed=training.seed)
    parents = _begin_with(module, training)
    module.mixed = training.mixed_precision and _has_bfloat16()
    watch = _Watch(training, logs, on_progress, on_score)
    losses: list[float] = []
    where = ""
    level = 0
    try:
        for number, (stage, source) in enumerate(zip(training.stages, sources, strict=True)):
            curriculum = Curriculum(
                curricula[number], training.val_frequency, training.plateau_checks,
                level if source.has_levels else N_LEVELS - 1,
            )  # fmt: skip
            log = _train_stage(module, training, number, source, curriculum, checkpoints[number], device, watch)
            losses.extend(log.loss.tolist())
            where = log.device
            level = curriculum.records[-1][1] if curriculum.records else level
            watch.before += stage.steps
    finally:
        watch.close()
    module.mixed = False
    measured, known = _measured(module, training.patches, final_patches)
    card = ModelCard(
        name=training.name,
        version=version,
        architecture=training.shape.as_architecture(),
        weights_sha256="",
        recipe=training.as_dict() | known | {"device": where, "began_with": parents, "level_reached": level},
        metrics={"loss": round(float(np.nanmean(losses[-max(1, len(losses) // 10) :])), 4)} | measured,
        parent=next(iter(parents.values()), None),
    )
    written = save_weights(target, module.state_dict(), card, half=True)
    for path in (*checkpoints, *curricula):
        path.unlink(missing_ok=True)
    return written


def _train_stage(
    module: PunctaModule,
    training: PunctaTraining,
    number: int,
    source: StageSource,
    curriculum: Curriculum,
    checkpoint: Path,
    device: Device,
    watch: _Watch,
) -> Any:
    from parfocal.puncta.networks._balance import PunctaLoss

    stage = training.stages[number]
    tasks = _TASKS[stage.name]
    holds_encoder = stage.name == "calcium" or (training.freeze_encoder and number == 0)
    _hold(module, tasks, holds_encoder=holds_encoder, weighs=training.loss.use_uncertainty_weighting)
    loss = PunctaLoss(module, training.loss, tasks)

    def score(level: int) -> float:
        batch = source.validation(level)
        said = score_patches(network_output(module, batch[0]), batch[1], batch[2])
        watch.score(stage, curriculum.records[-1][0] if curriculum.records else 0, level, said)
        if stage.name == "calcium":
            return 100 * said.calcium_f1
        return said.efficiency

    def batches(step: int) -> Batch:
        level = curriculum.level_at(step, score)
        watch.level = level
        return source.draw(step, level)

    settings = TrainSettings(
        steps=stage.steps,
        rate=stage.rate,
        weight_decay=training.weight_decay,
        warm_up_steps=min(100, stage.steps // 4),
        end_fraction=0.01 if training.scheduler == "cosine" else 1.0,
        seed=training.seed,
        device=device,
        mixed=training.mixed_precision,
        checkpoint_every_steps=training.save_frequency,
    )
    log = train(
        module,
        batches,
        loss,
        settings,
        checkpoint=checkpoint,
        on_progress=lambda p: watch.step(p, stage, module, loss),
    )
    return log


def network_output(module: PunctaModule, planes: NDArray[np.float32], batch: int = 16) -> NDArray[np.float32]:
    """Return what a network under training says of patches; it goes on as it was."""
    import torch

    was_training = module.training
    module.eval()
    device = next(module.parameters()).device
    with torch.no_grad():
        parts = [
            module(torch.from_numpy(planes[k : k + batch]).to(device)).float().cpu().numpy()
            for k in range(0, len(planes), batch)
        ]
    module.train(was_training)
    return np.concatenate(parts)


def _measured(module: PunctaModule, recipe: PatchRecipe, n: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return what a card says of the finished network on unseen patches, and how its answers are to be read."""
    if n == 0:
        return {}, {}
    from parfocal.puncta.networks._patches import patch_batch

    metrics: dict[str, float] = {}
    known: dict[str, Any] = {}
    has_calcium = module.calcium is not None
    for name, shown in (("", recipe), ("crowded_", crowded_recipe(recipe))):
        batch = patch_batch(shown, n, _FINAL_SEED, 0, with_calcium=module.shape.n_channels == 2)
        output = network_output(module, batch[0])
        if not name:
            known["sigma_scale"] = round(sigma_scale(output, batch[1], batch[2]), 4)
            if has_calcium:
                known["calcium_logit"] = round(calcium_threshold(output, batch[1], batch[2]), 3)
        score = score_patches(output, batch[1], batch[2], calcium_logit=known.get("calcium_logit", 0.0))
        for key in _CARD_FIGURES:
            value = float(getattr(score, key))
            if np.isfinite(value):  # what was not measured is left out
                metrics[name + key] = round(value, 4)
    return metrics, known


def crowded_recipe(recipe: PatchRecipe) -> PatchRecipe:
    """Return the crowded scene that networks are compared by: 4 per 1000 px, 1000 photons on 50, two PSFs."""
    return replace(
        recipe, density_per_1000_px=(4.0, 4.0), photons=(1000.0, 1000.0), background=(50.0, 50.0),
        sigma_px=(0.7, 0.8), empty_share=0.0, emccd_share=0.0, structured_share=0.0,
    )  # fmt: skip


def _begin_with(module: PunctaModule, training: PunctaTraining) -> dict[str, str]:
    """Put weights that were trained before into a network; return their hashes by what they were taken for."""
    from parfocal.puncta.networks._module import first_layer_inflated

    taken: dict[str, str] = {}
    for name in ("pretrained_localization", "pretrained_encoder"):
        path = getattr(training, name)
        if not path:
            continue
        other, _, _, sha = read_puncta_module(_weights_file(str(path)))
        parts = ("encoder.", "localization.") if name == "pretrained_localization" else ("encoder.",)
        if len(parts) == 2 and module.shape.calcium == other.shape.calcium:
            parts = (*parts, "calcium.")  # what it knows of calcium, too
        wanted = module.state_dict()
        state = {key: value for key, value in other.state_dict().items() if key.startswith(parts)}
        first = "encoder.down.0.conv1.weight"
        if state[first].shape[0] == wanted[first].shape[0] and state[first].shape[1] <= wanted[first].shape[1]:
            state = first_layer_inflated(state, wanted[first])
        load_into(module, {**wanted, **state}, where=str(path))
        taken[name] = sha
    return taken


def _weights_file(told: str) -> Path:
    """Return the file of weights that are told by path or by name."""
    if told.endswith(".safetensors"):
        return Path(told)
    if Path(told).suffix in (".pth", ".pt", ".ckpt"):
        raise BadInputError(f"{told}: such a file can run code when it is loaded; expected .safetensors")
    return shipped_weights(told)


def _hold(module: PunctaModule, tasks: frozenset[str], *, holds_encoder: bool, weighs: bool) -> None:
    """Let what a stage teaches change, and nothing else."""
    for parameter in module.encoder.parameters():
        parameter.requires_grad_(not holds_encoder)
    for parameter in module.localization.parameters():
        parameter.requires_grad_("localization" in tasks)
    if module.calcium is not None:
        for parameter in module.calcium.parameters():
            parameter.requires_grad_("calcium" in tasks)
    module.task_log_variances.requires_grad_(weighs and len(tasks) == 2)


class _Watch:
    """Tells people and TensorBoard how a training stands."""

    def __init__(
        self,
        training: PunctaTraining,
        logs: str | os.PathLike[str] | None,
        on_progress: Callable[[TrainProgress], object] | None,
        on_score: Callable[[str, int, int, PatchScore], object] | None,
    ) -> None:
        self._training, self._on_progress, self._on_score = training, on_progress, on_score
        self._board: Any = _board(logs)
        self._step = 0
        self._warned = False
        self.before = 0
        self.level = 0

    def step(self, progress: TrainProgress, stage: PunctaStage, module: PunctaModule, loss: Any) -> None:
        self._step = self.before + progress.step
        board = self._board
        if board is not None:
            board.add_scalar(f"{stage.name}/loss", progress.loss, self._step)
            for name, value in progress.terms.items():
                board.add_scalar(f"{stage.name}/{name}", value, self._step)
            board.add_scalar("training/rate", progress.rate, self._step)
            board.add_scalar("training/gradient", progress.grad_norm, self._step)
            board.add_scalar("training/level", self.level, self._step)
            if stage.name == "joint":
                for name, k in (("localization", 0), ("calcium", 1)):
                    board.add_scalar(f"gradient/{name}", float(module.task_grad_norms[k]), self._step)
                    board.add_scalar(f"log_variance/{name}", float(module.task_weights()[k].detach()), self._step)
                board.add_scalar("log_variance/at_limit", float(loss.at_limit), self._step)
        if self._on_progress is not None:
            self._on_progress(replace(progress, step=self._step, steps=self._training.steps))

    def score(self, stage: PunctaStage, step: int, level: int, score: PatchScore) -> None:
        if self._board is not None:
            for name in _BOARD_FIGURES:
                value = getattr(score, name)
                if np.isfinite(value):
                    self._board.add_scalar(f"validation/{name}", value, self._step)
            self._board.flush()
        if self._on_score is not None:
            self._on_score(stage.name, self._step - self.before, level, score)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _board(logs: str | os.PathLike[str] | None) -> Any:
    if logs is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BadInputError(f"logs for TensorBoard need it ({error}): pip install 'parfocal[torch]'") from error
    return SummaryWriter(str(logs))


def _has_bfloat16() -> bool:
    import torch

    can: Any = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    return bool(can())
