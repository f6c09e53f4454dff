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
from parfocal.segmentation.corrections._journal import (
    Correction,
    CorrectionJournal,
    Crop,
)
from parfocal.segmentation.corrections._kinds import (
    Kind,
    kinds_of,
)

__all__ = [
    "Box",
    "Correction",
    "CorrectionJournal",
    "Crop",
    "Edit",
    "Kind",
    "accept",
    "add",
    "apply_edit",
    "box_of",
    "box_slices",
    "delete",
    "kinds_of",
    "merge",
    "redraw",
    "split",
    "undo_edit",
]
