"""Is a segmentation certain enough, in absolute terms: for deciding whether to take better images."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from parfocal.errors import BadInputError

if TYPE_CHECKING:
    from parfocal.segmentation.uncertainty import ObjectDoubts


@dataclass(frozen=True)
class CertaintyLimits:
    """From where an object counts as uncertain, by each signal of `ObjectDoubts` that is known.

    Ranks within a run cannot say this: some object always is the most doubtful. The limits were chosen on
    simulated volumes (`python docs/certainty_tables.py`): about one right object in twenty lies beyond those of
    `flow` and `logits`, of which logits tell wrong from right best. That of `boundary` is for extremes alone.

    Parameters
    ----------
    flow : float
        Flow error of its mask; objects above 0.4 are not kept at all.
    boundary : float
        Mean entropy of the foreground about its edge, bits.
    logits : float
        Share of its voxels that could as well be background.
    flips : float
        1 - IoU with what is found in flipped images.
    links : float
        Weakness of its weakest link between planes.
    """

    flow: float = 0.3
    boundary: float = 0.9
    logits: float = 0.35
    flips: float = 0.3
    links: float = 0.7

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise BadInputError(f"certainty: {one.name} is {getattr(self, one.name)}, expected above 0")


@dataclass(frozen=True)
class Certainty:
    """How certain a segmentation is.

    Parameters
    ----------
    n_objects, n_uncertain : int
        Objects, and those that are beyond a limit.
    share : float
        Of objects that are uncertain; 1 where there is none at all.
    worst : str
        The signal by which most of them are; empty where none is.
    """

    n_objects: int
    n_uncertain: int
    share: float
    worst: str


def certainty_of(doubts: ObjectDoubts, limits: CertaintyLimits | None = None) -> Certainty:
    """Count the objects of a segmentation that are uncertain.

    Parameters
    ----------
    doubts : ObjectDoubts
        From `object_doubts`.
    limits : CertaintyLimits, optional

    Raises
    ------
    BadInputError
        None of the signals was measured: a backend without a network says nothing that can be judged.
    """
    told = limits or CertaintyLimits()
    n = int(doubts.ids.size)
    if n == 0:
        return Certainty(0, 0, 1.0, "no object")
    beyond: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
    for one in fields(told):
        values = doubts.signals.get(one.name)
        if values is not None and np.isfinite(values).any():
            beyond[one.name] = np.nan_to_num(values) > getattr(told, one.name)
    if not beyond:
        raise BadInputError(
            "certainty: nothing that can be judged was measured; choose a backend with a network, such as unet3d"
        )
    any_beyond = np.any(list(beyond.values()), axis=0)
    worst = max(beyond, key=lambda name: int(beyond[name].sum()))
    n_uncertain = int(any_beyond.sum())
    return Certainty(n, n_uncertain, n_uncertain / n, worst if n_uncertain else "")
