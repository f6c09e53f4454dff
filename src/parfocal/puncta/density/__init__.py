"""How densely puncta lie, and how much light to give so that they lie as densely as wanted."""

from parfocal.puncta.density._density_range import DensityRange
from parfocal.puncta.density._next_level import next_level

__all__ = ["DensityRange", "next_level"]
