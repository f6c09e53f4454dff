"""Numbers from images: sharpness in one fused pass; correlation, registration and projection to come."""

from parfocal.imaging._bands import for_each_band, usable_cores
from parfocal.imaging._scores import FocusScoreSet, Sharpness
from parfocal.imaging._sharpness import NoiseSource, sharpness

__all__ = ["FocusScoreSet", "NoiseSource", "Sharpness", "for_each_band", "sharpness", "usable_cores"]
