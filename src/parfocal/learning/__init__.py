"""Training loop, weights and cards, adapters."""

from parfocal.learning._build import build_unet
from parfocal.learning._card import ModelCard
from parfocal.learning._need_torch import need_torch
from parfocal.learning._shape import UNetShape
from parfocal.learning._weights import load_into, load_weights, save_weights

__all__ = [
    "ModelCard",
    "UNetShape",
    "build_unet",
    "load_into",
    "load_weights",
    "need_torch",
    "save_weights",
]
