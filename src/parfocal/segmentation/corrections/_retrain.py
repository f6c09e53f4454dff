"""Learn from corrections: an adapter on the model that made the mistakes, promoted only if it proves better."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

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
    train_on_workers,
)
from parfocal.segmentation.corrections._crops import LearningCrop
from parfocal.segmentation.corrections._gate import GateResult, gate
from parfocal.segmentation.corrections._journal import CorrectionJournal
from parfocal.segmentation.corrections._lessons import learnt_and_judged, lessons
from parfocal.segmentation.corrections._retrain_settings import RetrainSettings
from parfocal.segmentation.generator import Outline
from parfocal.segmentation.training import outline_of

if TYPE_CHECKING:
    from torch import nn

_CELLPOSE_DIAMETER_PX = 30.0
_DIAMETER_PX = {2: 18.0, 3: 13.0}
_ADAPTER = "conv-lora"


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


def retrain(
    journal: CorrectionJournal,
    store: ModelStore,
    name: str = "nuclei2d",
    settings: RetrainSettings | None = None,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    client: Any = None,
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
    client : distributed.Client, optional
        Train on the workers of a Dask cluster instead: each has its share of every batch.
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
    base = _grounds(store, current)
    dims = _dims(base)
    diameter_px = known_diameter_px(base.card, dims)
    tell("reading corrections")
    standing = journal.corrections()
    learn, judge = learnt_and_judged(journal, how, diameter_px, dims)
    net, inner = _network(store, base)
    if how.method == "adapter":
        add_adapters(inner, rank=how.rank, alpha=how.alpha, seed=how.seed)
    tell("training")
    outline = outline_of(base.card)
    _teach(net, learn, how, dims, outline, device, client, checkpoint, on_progress)
    card = ModelCard(
        name=current.name,
        version="",
        architecture=base.card.architecture,
        weights_sha256="",
        recipe={
            **base.card.recipe,
            "retraining": asdict(how),
            "follows": current.weights_sha256,
            "diameter_px": diameter_px,
        },
        parent=base.weights_sha256,
        # The held-out ones too: they were judged by, and make nothing due again.
        data=tuple(made.id for made in standing),
    )
    state: Any = {key: value.clone() for key, value in inner.state_dict().items()}
    if how.method == "adapter":
        state, card = adapter_state(inner), adapter_card(card, base=base.card)
        merge_adapters(inner)
    tell("the gate")
    before, _ = _network(store, current)
    found = gate(before, net.eval(), judge, dims, diameter_px, how.gate, on_step, outline)
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
        added = store.promote(current.name, added.version, reason=found.reason)
    if checkpoint is not None:
        _remove(checkpoint)
    return Retrained(added, found, promoted)


def known_diameter_px(card: ModelCard, dims: int) -> float:
    """Return the diameter of the nuclei that a model knows best, in its pixels."""
    if card.architecture.get("kind") == "cpnet":
        return float(card.recipe.get("diameter_px", _CELLPOSE_DIAMETER_PX))
    return float(card.recipe.get("diameter_px", _DIAMETER_PX[dims]))


def _grounds(store: ModelStore, current: StoredModel) -> StoredModel:
    """Return the model that no correction has touched: what is learnt from corrections begins there each time."""
    line = store.lineage(current)
    return next((one for one in line if "retraining" not in one.card.recipe), line[-1])


def _dims(model: StoredModel) -> int:
    shape = model.card.architecture
    kind, dims = shape.get("kind"), 3 if shape.get("dims") == 3 else 2
    if kind == "cpnet" and not shape.get("is_3d"):
        return 2
    if kind != "unet" or shape.get("n_in", 1) != 1 or shape.get("n_out") != dims + 2:
        raise BadInputError(
            f"retraining: {model.name}@{model.version} is a {kind} that does not find nuclei; expected one of "
            "ours or Cellpose 3's"
        )
    return dims


def _teach(
    net: nn.Module,
    learn: Sequence[LearningCrop],
    how: RetrainSettings,
    dims: int,
    outline: Outline,
    device: Literal["auto", "cpu", "cuda"],
    client: Any,
    checkpoint: str | os.PathLike[str] | None,
    on_progress: Callable[[TrainProgress], object] | None,
) -> None:
    from parfocal.segmentation.corrections._objective import weighted_loss
    from parfocal.segmentation.training._fast_net import hold_statistics

    hold_statistics(net)
    settings = TrainSettings(
        steps=how.steps, rate=how.rate, seed=how.seed, device=device, warm_up_steps=min(10, how.steps // 4)
    )
    if client is None:
        shown = lessons(learn, how, dims, outline=outline)
        train(net, shown, weighted_loss, settings, checkpoint=checkpoint, on_progress=on_progress)
        return
    n_shares = min(how.batch // 2, max(1, len(client.scheduler_info()["workers"])))
    shared = replace(how, batch=how.batch // n_shares)
    shares = [lessons(learn, shared, dims, share, outline) for share in range(n_shares)]
    train_on_workers(client, net, shares, weighted_loss, settings, checkpoint=checkpoint, on_progress=on_progress)


def _network(store: ModelStore, model: StoredModel) -> tuple[nn.Module, nn.Module]:
    """Return a network that is asked as ours are, and the one with the weights inside it."""
    inner = store.network(model)
    shape = model.card.architecture
    if shape.get("base", shape).get("kind") == "cpnet":
        from parfocal.segmentation.corrections._objective import CellposePlanes

        return CellposePlanes(inner).eval(), inner
    return inner, inner


def _remove(checkpoint: str | os.PathLike[str]) -> None:
    if os.path.exists(checkpoint):
        os.remove(checkpoint)
