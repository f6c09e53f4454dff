"""Numbers from images: sharpness in one fused pass, correlation, registration, similarity; numba over arrays."""

from parfocal.imaging._band import band_limited
from parfocal.imaging._bands import for_each_band, usable_cores
from parfocal.imaging._correlation import adjacent_ncc, correlation_matrix, ncc
from parfocal.imaging._entropy import relative_entropy
from parfocal.imaging._scores import FocusScoreSet, Sharpness
from parfocal.imaging._sharpness import NoiseSource, sharpness
from parfocal.imaging._shift import Shift, phase_shift
from parfocal.imaging._ssim import ssim
from parfocal.imaging._tiles import TileGrids, TileSummary, tile_grids

__all__ = [
    "FocusScoreSet",
    "NoiseSource",
    "Sharpness",
    "Shift",
    "TileGrids",
    "TileSummary",
    "adjacent_ncc",
    "band_limited",
    "correlation_matrix",
    "for_each_band",
    "ncc",
    "phase_shift",
    "relative_entropy",
    "sharpness",
    "ssim",
    "tile_grids",
    "usable_cores",
]
