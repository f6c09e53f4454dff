"""Volumes: made isotropic and led back, and segmented block by block where they are larger than memory."""

from parfocal.segmentation.grids import Grid, Resampled, isotropic_um, labels_back, to_isotropic
from parfocal.segmentation.volumes._given import GivenVolume, open_given, size_contradicted
from parfocal.segmentation.volumes._plan import BlockSettings
from parfocal.segmentation.volumes._source import open_source
from parfocal.segmentation.volumes._tiled import TiledSegmentation, segment_tiled

__all__ = [
    "BlockSettings",
    "GivenVolume",
    "Grid",
    "Resampled",
    "TiledSegmentation",
    "isotropic_um",
    "labels_back",
    "open_given",
    "open_source",
    "segment_tiled",
    "size_contradicted",
    "to_isotropic",
]
