"""Serial sections: judge, repair, align, stack."""

from parfocal.slices.sections._source import SectionArrays, SectionSource

__all__ = ["SectionArrays", "SectionSource"]
