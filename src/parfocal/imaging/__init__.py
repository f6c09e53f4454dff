"""Numbers from images: sharpness in one fused pass; correlation, registration and projection to come."""

from parfocal.imaging._affine import AffineFit, AffineModel, correlation_through, morph, register_affine, warp
from parfocal.imaging._bands import for_each_band, usable_cores
from parfocal.imaging._scores import FocusScoreSet, Sharpness
from parfocal.imaging._sharpness import NoiseSource, sharpness

__all__ = [
    "AffineFit",
    "AffineModel",
    "FocusScoreSet",
    "NoiseSource",
    "Sharpness",
    "correlation_through",
    "for_each_band",
    "morph",
    "register_affine",
    "sharpness",
    "usable_cores",
    "warp",
]
