"""What a correction touched, in voxels of its volume: which others speak of the same object, and the last word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.corrections._crops import touched_voxels
from parfocal.segmentation.corrections._edits import Box, box_slices
from parfocal.segmentation.corrections._kinds import Labels
from parfocal.segmentation.corrections._record import Correction, Crop

_ALL_BUT = 0.1
"""A correction has nothing left to say when no more than this share of it is still as it said."""


@dataclass(frozen=True)
class Mark:
    """The objects that a correction touched, without what lies about them.

    Parameters
    ----------
    correction : Correction
        Which.
    box : sequence of (start, stop)
        The smallest, in the volume, with all that was touched.
    touched : bool[...]
        Where those objects are or were.
    changed : bool[...]
        Where labels were changed.
    after : int32[...]
        Labels that the correction left.
    """

    correction: Correction
    box: Box
    touched: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    after: Labels


def mark_of(correction: Correction, crop: Crop) -> Mark:
    """Return what a correction touched."""
    touched = touched_voxels(crop, correction)
    places = np.nonzero(touched)
    inner = tuple((int(at.min()), int(at.max()) + 1) if at.size else (0, 0) for at in places)
    here = box_slices(inner)
    low = [start for start, _ in correction.box]
    return Mark(
        correction,
        tuple((start + first, start + last) for start, (first, last) in zip(low, inner, strict=True)),
        touched[here].copy(),
        (crop.before != crop.after)[here].copy(),
        crop.after[here].copy(),
    )


def same_object(one: Mark, other: Mark) -> bool:
    """Return whether two corrections of a run touch a voxel in common.

    Stacks of a run are not told apart: a nucleus that is imaged again an hour later lies where it lay.
    """
    if one.correction.source != other.correction.source:
        return False
    inside = _common(one.box, other.box)
    return inside is not None and bool((one.touched[inside[0]] & other.touched[inside[1]]).any())


def last_word(mark: Mark, crop: Crop, later: Sequence[Mark]) -> Labels | None:
    """Return the labels of a correction's crop as later corrections of the same labels left them.

    A nucleus that was deleted and drawn anew is a nucleus: the deletion by itself would teach that none is there.

    Parameters
    ----------
    mark, crop : Mark, Crop
        Of the correction.
    later : sequence of Mark
        Of those that were made after it and stand, oldest first.

    Returns
    -------
    int32[...] or None
        None where later ones have said all there is to say.
    """
    truth, said = crop.after.copy(), mark.touched.copy()
    for other in later:
        if not _of_same_labels(mark.correction, other.correction):
            continue
        inside = _common(mark.correction.box, other.box)
        if inside is not None:
            mine, theirs = inside
            truth[mine] = np.where(other.changed[theirs], other.after[theirs], truth[mine])
        inside = _common(mark.box, other.box)
        if inside is not None:
            said[inside[0]] &= ~other.touched[inside[1]]
    return truth if said.sum() > _ALL_BUT * mark.touched.sum() else None


def _of_same_labels(one: Correction, other: Correction) -> bool:
    return one.labels_hash != "" and (one.source, one.labels_hash) == (other.source, other.labels_hash)


def _common(one: Box, other: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Return what two boxes share, as slices of each; None where they share nothing."""
    if len(one) != len(other):
        return None
    both = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True)]
    if any(start >= stop for start, stop in both):
        return None
    mine = tuple(slice(start - low, stop - low) for (start, stop), (low, _) in zip(both, one, strict=True))
    theirs = tuple(slice(start - low, stop - low) for (start, stop), (low, _) in zip(both, other, strict=True))
    return mine, theirs
