"""How a model learns from corrections, and whether it is time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.learning import ModelStore
from parfocal.segmentation.corrections._gate import GateSettings
from parfocal.segmentation.corrections._journal import CorrectionJournal


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
        Share of the corrected objects that is kept for the gate, the same ones every time (`_sides`).
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


def readiness(journal: CorrectionJournal, store: ModelStore, name: str, min_new: int = 20) -> Readiness:
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
