"""Corrections: made with one click, kept with their pixels, learnt from."""

from parfocal.segmentation.corrections._edits import (
    Box,
    Edit,
    accept,
    add,
    apply_edit,
    box_of,
    box_slices,
    delete,
    merge,
    redraw,
    split,
    undo_edit,
)
from parfocal.segmentation.corrections._folder import SegmentedFolder, open_segmented
from parfocal.segmentation.corrections._gate import GateResult, GateSettings, gate
from parfocal.segmentation.corrections._journal import CorrectionJournal
from parfocal.segmentation.corrections._kinds import (
    Kind,
    kinds_of,
)
from parfocal.segmentation.corrections._record import Correction, Crop
from parfocal.segmentation.corrections._retrain import Retrained, retrain
from parfocal.segmentation.corrections._retrain_settings import Readiness, RetrainSettings, readiness
from parfocal.segmentation.corrections._session import (
    ReviewItem,
    ReviewSession,
    known_doubts,
    labels_hash,
    pixels_hash,
)

__all__ = [
    "Box",
    "Correction",
    "CorrectionJournal",
    "Crop",
    "Edit",
    "GateResult",
    "GateSettings",
    "Kind",
    "Readiness",
    "RetrainSettings",
    "Retrained",
    "ReviewItem",
    "ReviewSession",
    "SegmentedFolder",
    "accept",
    "add",
    "apply_edit",
    "box_of",
    "box_slices",
    "delete",
    "gate",
    "kinds_of",
    "known_doubts",
    "labels_hash",
    "merge",
    "open_segmented",
    "pixels_hash",
    "readiness",
    "redraw",
    "retrain",
    "split",
    "undo_edit",
]
