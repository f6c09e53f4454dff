"""Which objects of a segmentation to doubt, why, and which to look at first."""

from parfocal.segmentation.uncertainty._doubts import (
    DoubtWeights,
    ObjectDoubts,
    heatmap,
    most_uncertain,
    object_doubts,
)
from parfocal.segmentation.uncertainty._measure import Relabel

__all__ = ["DoubtWeights", "ObjectDoubts", "Relabel", "heatmap", "most_uncertain", "object_doubts"]
