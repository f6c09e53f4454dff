"""From labels to flows and from flows to labels."""

from parfocal.segmentation.flows._filters import FoundMasks, ObjectScores, judge_objects, score_objects
from parfocal.segmentation.flows._masks import find_masks, group_voxels, masks_from_output
from parfocal.segmentation.flows._settings import DroppedObject, MaskSettings
from parfocal.segmentation.flows._targets import flow_errors, flow_targets

__all__ = [
    "DroppedObject",
    "FoundMasks",
    "MaskSettings",
    "ObjectScores",
    "find_masks",
    "flow_errors",
    "flow_targets",
    "group_voxels",
    "judge_objects",
    "masks_from_output",
    "score_objects",
]
