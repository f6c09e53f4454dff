"""Serial sections: judge, repair, align, stack."""

from parfocal.slices.sections._clusters import PairScore, exclude_noisy_clusters
from parfocal.slices.sections._pair_scores import PairCorrelation, read_pair_scores
from parfocal.slices.sections._shifts import (
    SHIFT_COLUMNS,
    SectionPositions,
    ShiftTable,
    cumulative_shifts,
    read_shifts,
    write_shifts,
)
from parfocal.slices.sections._source import SectionArrays, SectionSource

__all__ = [
    "SHIFT_COLUMNS",
    "PairCorrelation",
    "PairScore",
    "SectionArrays",
    "SectionPositions",
    "SectionSource",
    "ShiftTable",
    "cumulative_shifts",
    "exclude_noisy_clusters",
    "read_pair_scores",
    "read_shifts",
    "write_shifts",
]
