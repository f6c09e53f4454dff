"""References: frames that people called bad, okay or great, and what they teach about metrics and thresholds."""

from parfocal.slices.references._gallery import (
    CATEGORIES,
    Category,
    Gallery,
    Reference,
    locate,
    parse_gallery,
    read_gallery,
)
from parfocal.slices.references._nd2_frames import Mapping2Nd2, Nd2Frame, map_to_nd2, read_z_stack, sequence_index
from parfocal.slices.references._plate import (
    ExperimentTable,
    SeriesMap,
    mended_times_s,
    read_metadata,
    read_series_map,
    series_number_map,
    stage_disagreements,
)
from parfocal.slices.references._rank import MetricRank, Ranking, auc_interval, rank_metrics

__all__ = [
    "CATEGORIES",
    "Category",
    "ExperimentTable",
    "Gallery",
    "Mapping2Nd2",
    "MetricRank",
    "Nd2Frame",
    "Ranking",
    "Reference",
    "SeriesMap",
    "auc_interval",
    "locate",
    "map_to_nd2",
    "mended_times_s",
    "parse_gallery",
    "rank_metrics",
    "read_gallery",
    "read_metadata",
    "read_series_map",
    "read_z_stack",
    "sequence_index",
    "series_number_map",
    "stage_disagreements",
]
