"""Serial sections: judge, repair, align, stack."""

from parfocal.slices.sections._galvo import (
    GalvoReturn,
    detect_galvo_for_slice,
    detect_galvo_shift,
    find_galvo_return,
)
from parfocal.slices.sections._quality import assess_quality
from parfocal.slices.sections._rehoming import Rehoming, detect_rehoming
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._source import SectionArrays, SectionSource
from parfocal.slices.sections._thickness import CalibrationSlices, detect_calibration_slices

__all__ = [
    "CalibrationSlices",
    "GalvoReturn",
    "Rehoming",
    "SectionArrays",
    "SectionSource",
    "ShiftTable",
    "assess_quality",
    "detect_calibration_slices",
    "detect_galvo_for_slice",
    "detect_galvo_shift",
    "detect_rehoming",
    "find_galvo_return",
]
