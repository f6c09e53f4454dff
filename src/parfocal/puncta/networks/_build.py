"""Networks for puncta from their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parfocal.learning import need_torch
from parfocal.puncta.networks._shape import PunctaNetShape

if TYPE_CHECKING:
    from parfocal.puncta.networks._module import PunctaModule


def build_puncta_net(shape: PunctaNetShape | None = None, *, seed: int = 0) -> PunctaModule:
    """Return a network for puncta with fresh weights; the same seed gives the same weights.

    Raises
    ------
    BadInputError
        PyTorch is not installed.
    """
    need_torch("a network for puncta")
    from parfocal.puncta.networks._module import PunctaModule

    return PunctaModule(shape or PunctaNetShape(), seed)


def parts_of(shape: PunctaNetShape) -> dict[str, int]:
    """Return how many weights each part of a network has: encoder, localization, calcium.

    Raises
    ------
    BadInputError
        PyTorch is not installed.
    """
    module = build_puncta_net(shape)
    parts = {"encoder": module.encoder, "localization": module.localization, "calcium": module.calcium}
    return {
        name: sum(weights.numel() for weights in part.parameters())
        for name, part in parts.items()
        if part is not None
    }
