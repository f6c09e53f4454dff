"""Serial sections: judge, repair, align, stack."""

from parfocal.slices.sections._rehoming import Rehoming, detect_rehoming
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._source import SectionArrays, SectionSource

__all__ = ["Rehoming", "SectionArrays", "SectionSource", "ShiftTable", "detect_rehoming"]
