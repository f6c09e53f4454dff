"""Training loop, weights and cards, adapters."""

from parfocal.learning._card import (
    ModelCard,
)

__all__ = [
    "ModelCard",
]
