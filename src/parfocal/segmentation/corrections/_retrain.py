"""Learn from corrections: an adapter on the model that made the mistakes, promoted only if it proves better."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from parfocal.errors import BadInputError
from parfocal.learning import (
    ModelCard,
    ModelStore,
    StoredModel,
    TrainProgress,
    TrainSettings,
    adapter_card,
    adapter_state,
    add_adapters,
    merge_adapters,
    need_torch,
    train,
)
from parfocal.segmentation.corrections._crops import LearningCrop, cut_patch, learning_crop
from parfocal.segmentation.corrections._gate import GateResult, GateSettings, gate
from parfocal.segmentation.corrections._journal import Correction, CorrectionJournal
from parfocal.segmentation.flows import flow_targets
from parfocal.segmentation.training import nuclei_batches, train_recipe, turned

if TYPE_CHECKING:
    from torch import nn

_CELLPOSE_DIAMETER_PX = 30.0
_DIAMETER_PX = {2: 18.0, 3: 13.0}


@dataclass(frozen=True)
class RetrainSettings:
    """How a model learns from corrections.

    Parameters
    ----------
    method : {"adapter", "full"}
        Low-rank adapters and the scales of normalisation, or all weights.
    steps, rate, batch, seed
        Of the training; a batch is half corrections, half simulated images (`replay`).
    rank, alpha
        Of the adapters.
    replay : float
        Share of a batch that is simulated, so that what was known is not forgotten.
    outside_weight : float
        What a voxel counts that nobody has corrected.
    min_new : int
        So many new corrections make a retraining due.
    held_out : float
        Share of the corrections that is kept for the gate, the same ones every time.
    gate : GateSettings
        When the result is promoted.
    """

    method: Literal["adapter", "full"] = "adapter"
    steps: int = 150
    rate: float = 2e-3
    batch: int = 4
    seed: int = 0
    rank: int = 4
    alpha: float = 8.0
    replay: float = 0.5
    outside_weight: float = 0.2
    min_new: int = 20
    held_out: float = 0.25
    gate: GateSettings = field(default_factory=GateSettings)

    def __post_init__(self) -> None:
        if self.method not in ("adapter", "full"):
            raise BadInputError(f"retraining: method is {self.method!r}, expected adapter or full")
        if self.batch < 2 or not 0 <= self.replay < 1 or not 0 < self.held_out < 1:
            raise BadInputError(
                f"retraining: batch {self.batch}, replay {self.replay:g}, held_out {self.held_out:g}: "
                "2 or more, below 1 and between 0 and 1 were expected"
            )


@dataclass(frozen=True)
class Readiness:
    """Whether a model should learn.

    Parameters
    ----------
    due : bool
    n_new, n_all : int
        Corrections that its current version has not learnt from, and all that stand.
    reason : str
        In a line.
    """

    due: bool
    n_new: int
    n_all: int
    reason: str


@dataclass(frozen=True)
class Retrained:
    """What came of a retraining.

    Parameters
    ----------
    model : StoredModel
        The new version, promoted or not.
    gate : GateResult
        How it compares with the version in use.
    promoted : bool
    """

    model: StoredModel
    gate: GateResult
    promoted: bool


def readiness(
    journal: CorrectionJournal, store: ModelStore, name: str, min_new: int = 20
) -> Readiness:
    """Say whether enough has been corrected since a model last learnt, or tried to: cards tell from what.

    Raises
    ------
    BadInputError
        There is no model of that name.
    """
    store.find(name)
    tried = {one for model in store.models(name) for one in model.card.data}
    standing = journal.corrections()
    n_new = sum(made.id not in tried for made in standing)
    due = n_new >= min_new
    reason = f"{n_new} new corrections, {min_new} make a retraining of {name} due"
    return Readiness(due, n_new, len(standing), reason)


def is_held_out(correction_id: str, share: float) -> bool:
    """Say whether a correction is kept for the gate; its own hash decides, so it is the same every time."""
    return int(hashlib.sha256(correction_id.encode()).hexdigest()[:8], 16) / 16**8 < share


def retrain(
    journal: CorrectionJournal,
    store: ModelStore,
    name: str = "nuclei2d",
    settings: RetrainSettings | None = None,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    promote: bool = True,
    on_progress: Callable[[TrainProgress], object] | None = None,
    on_step: Callable[[str], object] | None = None,
) -> Retrained:
    """Train a model on the corrections that stand, add it as a version, and promote it if the gate lets it.

    Training starts from the weights that adapters stand on (never from an adapter), on all corrections but the
    held-out ones: a correction that was undone is forgotten with the next version.

    Parameters
    ----------
    journal : CorrectionJournal
        What people corrected.
    store : ModelStore
        Where models are.
    name : str
        Which: `nuclei2d`, `nuclei3d`, or a Cellpose 3 model that was imported.
    settings : RetrainSettings, optional
    device : {"auto", "cpu", "cuda"}
    checkpoint : path, optional
        Where training can be taken up again; removed when it is done.
    promote : bool
        False leaves the version as a candidate whatever the gate says.
    on_progress, on_step : callable, optional
        Told of each step, and of each stage.

    Returns
    -------
    Retrained

    Raises
    ------
    BadInputError
        PyTorch is missing, there is no such model, or nothing to learn from or to judge by.
    """
    need_torch("retraining")
    how = settings or RetrainSettings()
    tell = on_step or (lambda _what: None)
    current = store.find(name)
    base = next((m for m in store.lineage(current) if m.card.architecture.get("kind") != "conv-lora"), current)
    dims = 3 if base.card.architecture.get("dims") == 3 else 2
    diameter_px = known_diameter_px(base.card, dims)
    tell("reading corrections")
    learn, judge = _split(journal, how, diameter_px, dims)
    net, inner = _network(store, base)
    if how.method == "adapter":
        add_adapters(inner, rank=how.rank, alpha=how.alpha, seed=how.seed)
    from parfocal.segmentation.corrections._objective import weighted_loss
    from parfocal.segmentation.training._fast_net import hold_statistics

    hold_statistics(net)
    tell("training")
    train(
        net,
        _batches(learn, how, dims),
        weighted_loss,
        TrainSettings(
            steps=how.steps, rate=how.rate, seed=how.seed, device=device, warm_up_steps=min(10, how.steps // 4)
        ),
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    card = ModelCard(
        name=name,
        version="",
        architecture=base.card.architecture,
        weights_sha256="",
        recipe={**base.card.recipe, "retraining": asdict(how), "diameter_px": diameter_px},
        parent=base.weights_sha256,
        # The held-out ones too: they were judged by, and make nothing due again.
        data=tuple(crop.correction_id for crop in (*learn, *judge)),
    )
    state: Any = {key: value.clone() for key, value in inner.state_dict().items()}
    if how.method == "adapter":
        state, card = adapter_state(inner), adapter_card(card, base=base.card)
        merge_adapters(inner)
    tell("the gate")
    before, _ = _network(store, current)
    found = gate(before, net.eval(), judge, dims, diameter_px, how.gate, on_step)
    metrics = {
        "corrections_ap50": found.corrections_after,
        "corrections_ap50_before": found.corrections_before,
        "simulated_ap50": found.simulated_after,
        "simulated_ap50_before": found.simulated_before,
    }
    card = replace(card, metrics={key: round(value, 4) for key, value in metrics.items()})
    added = store.add(state, card, reason=found.reason)
    promoted = found.passed and promote
    if promoted:
        added = store.promote(name, added.version, reason=found.reason)
    if checkpoint is not None:
        _remove(checkpoint)
    return Retrained(added, found, promoted)


def known_diameter_px(card: ModelCard, dims: int) -> float:
    """Return the diameter of the nuclei that a model knows best, in its pixels."""
    if card.architecture.get("kind") == "cpnet":
        return float(card.recipe.get("diameter_px", _CELLPOSE_DIAMETER_PX))
    return float(card.recipe.get("diameter_px", _DIAMETER_PX[dims]))


def _split(
    journal: CorrectionJournal, how: RetrainSettings, diameter_px: float, dims: int
) -> tuple[list[LearningCrop], list[LearningCrop]]:
    standing: Sequence[Correction] = journal.corrections()
    sets: tuple[list[LearningCrop], list[LearningCrop]] = ([], [])
    for made in standing:
        crop = journal.crop(made)
        shown = learning_crop(
            made, crop, diameter_px=diameter_px, dims=dims, outside_weight=how.outside_weight
        )
        sets[is_held_out(made.id, how.held_out)].append(shown)
    if not sets[0] or not sets[1]:
        raise BadInputError(
            f"retraining: {len(sets[0])} corrections to learn from and {len(sets[1])} to judge by in "
            f"{journal.folder}; correct more, at least one of each is needed"
        )
    return sets


def _network(store: ModelStore, model: StoredModel) -> tuple[nn.Module, nn.Module]:
    """Return a network that is asked as ours are, and the one with the weights inside it."""
    inner = store.network(model)
    base = model
    while base.card.architecture.get("kind") == "conv-lora":
        base = store.lineage(base)[1]
    if base.card.architecture.get("kind") == "cpnet":
        from parfocal.segmentation.corrections._objective import CellposePlanes

        return CellposePlanes(inner).eval(), inner
    return inner, inner


def _batches(crops: Sequence[LearningCrop], how: RetrainSettings, dims: int) -> Any:
    recipe = train_recipe("nuclei3d" if dims == 3 else "nuclei2d", "small")
    n_simulated = min(how.batch - 1, round(how.batch * how.replay))
    simulated = nuclei_batches(replace(recipe, batch=n_simulated), how.seed + 77) if n_simulated else None
    shape = _patch_shape(recipe, dims)

    def batch(step: int) -> Sequence[np.ndarray[Any, Any]]:
        parts: list[list[np.ndarray[Any, Any]]] = []
        for k in range(how.batch - n_simulated):
            rng = np.random.default_rng((how.seed, step, k))
            chosen = crops[int(rng.integers(len(crops)))]
            image, labels, weight = turned(rng, *cut_patch(rng, chosen, shape))
            flow, foreground, boundary = flow_targets(labels)
            parts.append([image[None], flow, foreground[None], boundary[None], weight[None]])
        corrected = [np.stack(column) for column in zip(*parts, strict=True)]
        if simulated is None:
            return corrected
        replayed = list(simulated(step))
        replayed.append(np.ones_like(replayed[2]))
        return [np.concatenate(pair) for pair in zip(corrected, replayed, strict=True)]

    return batch


def _patch_shape(recipe: Any, dims: int) -> tuple[int, ...]:
    whole = tuple(int(n) for n in recipe.sources[0].shape_zyx)
    return whole if dims == 3 else whole[1:]


def _remove(checkpoint: str | os.PathLike[str]) -> None:
    if os.path.exists(checkpoint):
        os.remove(checkpoint)

