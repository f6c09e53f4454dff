"""Numbers from images: sharpness in one fused pass, correlation, registration, similarity; numba over arrays."""

from parfocal.imaging._affine import AffineFit, AffineModel, correlation_through, morph, register_affine, warp
from parfocal.imaging._band import band_limited
from parfocal.imaging._bands import for_each_band, limit_cores, usable_cores
from parfocal.imaging._correlation import adjacent_ncc, correlation_matrix, ncc
from parfocal.imaging._entropy import relative_entropy
from parfocal.imaging._motion_probe import MotionProbe, mean_frame
from parfocal.imaging._operator_table import OPERATORS, Operator, OperatorScores
from parfocal.imaging._operators import operator_scores, operator_scores_by_tile, operator_scores_per_object
from parfocal.imaging._scores import FocusScoreSet, Sharpness
from parfocal.imaging._sharpness import NoiseSource, sharpness
from parfocal.imaging._shift import Shift, phase_shift
from parfocal.imaging._ssim import ssim
from parfocal.imaging._tiles import TileGrids, TileSummary, tile_grids

__all__ = [
    "OPERATORS",
    "AffineFit",
    "AffineModel",
    "FocusScoreSet",
    "MotionProbe",
    "NoiseSource",
    "Operator",
    "OperatorScores",
    "Sharpness",
    "Shift",
    "TileGrids",
    "TileSummary",
    "adjacent_ncc",
    "band_limited",
    "correlation_matrix",
    "correlation_through",
    "for_each_band",
    "limit_cores",
    "mean_frame",
    "morph",
    "ncc",
    "operator_scores",
    "operator_scores_by_tile",
    "operator_scores_per_object",
    "phase_shift",
    "register_affine",
    "relative_entropy",
    "sharpness",
    "ssim",
    "tile_grids",
    "usable_cores",
    "warp",
]
