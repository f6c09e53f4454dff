"""References: frames that people called bad, okay or great, and what they teach about metrics and thresholds."""

from parfocal.slices.references._calibrate import (
    RULE_GRID,
    ReferenceCalibration,
    calibrate_references,
    kept_share,
    rule_candidates,
)
from parfocal.slices.references._gallery import (
    CATEGORIES,
    Category,
    Gallery,
    Reference,
    locate,
    parse_gallery,
    read_gallery,
)
from parfocal.slices.references._labelled import (
    LabelledStack,
    labelled_images,
    labelled_nd2,
    read_labelled_folder,
)
from parfocal.slices.references._nd2_frames import (
    MappedGallery,
    Nd2Frame,
    map_to_nd2,
    read_z_stack,
    sequence_index,
)
from parfocal.slices.references._plate import (
    ExperimentTable,
    SeriesMap,
    read_metadata,
    read_series_map,
    series_number_map,
)
from parfocal.slices.references._plate_checks import mended_times_s, stage_disagreements
from parfocal.slices.references._rank import MetricRank, Ranking, as_row, auc_interval, rank_metrics
from parfocal.slices.references._score import ScoredStack, ShownFrame, score_labelled
from parfocal.slices.references._thresholds import (
    CalibratedRule,
    ReferenceThresholds,
    Threshold,
    load_thresholds,
    save_thresholds,
    thresholds_from_json,
    thresholds_hash,
    thresholds_to_json,
)

__all__ = [
    "CATEGORIES",
    "RULE_GRID",
    "CalibratedRule",
    "Category",
    "ExperimentTable",
    "Gallery",
    "LabelledStack",
    "MappedGallery",
    "MetricRank",
    "Nd2Frame",
    "Ranking",
    "Reference",
    "ReferenceCalibration",
    "ReferenceThresholds",
    "ScoredStack",
    "SeriesMap",
    "ShownFrame",
    "Threshold",
    "as_row",
    "auc_interval",
    "calibrate_references",
    "kept_share",
    "labelled_images",
    "labelled_nd2",
    "load_thresholds",
    "locate",
    "map_to_nd2",
    "mended_times_s",
    "parse_gallery",
    "rank_metrics",
    "read_gallery",
    "read_labelled_folder",
    "read_metadata",
    "read_series_map",
    "read_z_stack",
    "rule_candidates",
    "save_thresholds",
    "score_labelled",
    "sequence_index",
    "series_number_map",
    "stage_disagreements",
    "thresholds_from_json",
    "thresholds_hash",
    "thresholds_to_json",
]
