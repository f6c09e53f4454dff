"""What the network is taught by, and how its tasks are weighed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class LossSettings:
    """The loss of a training.

    Parameters
    ----------
    kind : {"mixture", "seed"}
        `mixture` is the likelihood of a Gaussian mixture (DECODE, repaired). `seed` is cross-entropy, smooth L1 of
        offsets and ln photons, and a Gaussian likelihood for the sigmas.
    detection_weight, offset_weight, photon_weight : float
        Of the terms of `seed`.
    localization_weight, calcium_weight : float
        Of the two tasks where both are trained.
    use_uncertainty_weighting : bool
        Let the tasks' weights be learnt (Kendall et al. 2018), which is sound only among losses that are bounded
        below by 0: with `seed`. With `mixture`, the tasks' gradients on the encoder are brought to one length
        instead, by running means.
    focal_gamma : float
        Above 0: what is easily told counts less, by (1 - p)^gamma (with `seed`, and for calcium).
    focal_alpha : float
        Share of the positives, with `focal_gamma`.
    pos_weight : float, optional
        Of a pixel with a punctum, with `seed`; the root of how rare they are where None.
    """

    kind: Literal["mixture", "seed"] = "mixture"
    detection_weight: float = 1.0
    offset_weight: float = 1.0
    photon_weight: float = 0.1
    localization_weight: float = 1.0
    calcium_weight: float = 1.0
    use_uncertainty_weighting: bool = False
    focal_gamma: float = 0.0
    focal_alpha: float = 0.75
    pos_weight: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("mixture", "seed"):
            raise BadInputError(f"loss: kind is {self.kind!r}; expected mixture or seed")
        for name in (
            "detection_weight", "offset_weight", "photon_weight", "localization_weight", "calcium_weight",
            "focal_gamma",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise BadInputError(f"loss: {name} is {value!r}; expected 0 or more")
        if not 0 < self.focal_alpha < 1:
            raise BadInputError(f"loss: focal_alpha is {self.focal_alpha!r}; expected between 0 and 1")
        if self.pos_weight is not None and not self.pos_weight > 0:
            raise BadInputError(f"loss: pos_weight is {self.pos_weight!r}; expected above 0")
