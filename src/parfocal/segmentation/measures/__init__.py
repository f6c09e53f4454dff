"""How good a segmentation is: against the truth, and against itself."""

from parfocal.segmentation.measures._compare import (
    THRESHOLDS,
    Comparison,
    Matching,
    compare,
    dice_3d,
    iou_3d,
    split_merge_errors,
)
from parfocal.segmentation.measures._stability import Stability, stability

__all__ = [
    "THRESHOLDS",
    "Comparison",
    "Matching",
    "Stability",
    "compare",
    "dice_3d",
    "iou_3d",
    "split_merge_errors",
    "stability",
]
