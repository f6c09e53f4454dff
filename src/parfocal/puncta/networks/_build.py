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
