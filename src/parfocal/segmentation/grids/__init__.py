"""One volume on two grids: there and back, pixels, labels and flows."""

from parfocal.segmentation.grids._grid import Grid, Region, isotropic_um, whole
from parfocal.segmentation.grids._resample import (
    Resampled,
    labels_back,
    output_back,
    resample,
    resample_labels,
    resampled_region,
    to_isotropic,
)

__all__ = [
    "Grid",
    "Region",
    "Resampled",
    "isotropic_um",
    "labels_back",
    "output_back",
    "resample",
    "resample_labels",
    "resampled_region",
    "to_isotropic",
    "whole",
]
