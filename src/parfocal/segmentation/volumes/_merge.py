"""Objects of blocks become objects of the volume."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.linking import merge_pairs, overlaps
from parfocal.segmentation.flows import DroppedObject, ObjectScores, judge_objects
from parfocal.segmentation.volumes._block import read_block
from parfocal.segmentation.volumes._plan import TiledPlan

Doubles = NDArray[np.float64]

_SAME_IOU = 0.5


@dataclass(frozen=True)
class Merged:
    """Which object of the volume each object of a block is.

    Parameters
    ----------
    first : int64[n_blocks + 1]
        Objects of block b are `first[b]` to `first[b + 1] - 1`, its id 1 being the first.
    ids : int32[n]
        The id of each in the volume, from 1; 0 where it was dropped.
    scores : ObjectScores
        Of the ids in the volume, as the block saw them that holds most of each.
    dropped : tuple of DroppedObject
    """

    first: NDArray[np.int64]
    ids: NDArray[np.int32]
    scores: ObjectScores
    dropped: tuple[DroppedObject, ...]

    @property
    def n_objects(self) -> int:
        """How many objects the volume has."""
        return int(self.ids.max(initial=0))

    def ids_of_block(self, block: int) -> NDArray[np.int32]:
        """Return the volume's id by a block's, 0 for 0."""
        return np.append(np.int32(0), self.ids[self.first[block] : self.first[block + 1]])


def merge_blocks(plan: TiledPlan, folder: Path) -> Merged:
    """Merge the objects of blocks that are one, judge them, and number them from the volume's first corner.

    Two blocks that share a face both see the layers on either side of it, to the depth of their halos. Objects of
    the two are one where they cover the same of what both see (IoU at least 0.5: at most one can). Those that
    merely touch across the face stay two.
    """
    kept = [read_block(folder, b, labels=False) for b in range(plan.n_blocks)]
    counts = [k.core_px.size for k in kept]
    first = np.cumsum([0, *counts], dtype=np.int64)
    n = int(first[-1])
    pairs: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for a, b in plan.neighbours():
        if counts[a] and counts[b]:
            pairs.append(np.add(_same(plan, folder, a, b), (first[a] - 1, first[b] - 1)))
    roots = merge_pairs(n, np.concatenate(pairs))
    groups, group = np.unique(roots, return_inverse=True)
    core_px = np.concatenate([k.core_px for k in kept])
    volume_px = np.bincount(group, core_px, minlength=groups.size).astype(np.float64)
    # The block that holds most of an object saw it best.
    order = np.lexsort((-core_px, group))
    best = order[np.searchsorted(group[order], np.arange(groups.size))]
    seen = _stacked([k.scores for k in kept], best)
    centre_px: Doubles = seen.centre_sum_px / np.maximum(seen.volume_px, 1)[:, np.newaxis]
    scores = ObjectScores(
        volume_px,
        seen.flow_error * volume_px,
        seen.foreground_logit * volume_px,
        seen.inside,
        seen.shell,
        np.bincount(group, np.concatenate([k.scores.at_edge for k in kept]), groups.size) > 0,
        centre_px * volume_px[:, np.newaxis],
    )
    there = np.flatnonzero(np.bincount(group, np.concatenate([k.source_px for k in kept]), groups.size) > 0)
    alive = _stacked([scores], there)
    keep, dropped = judge_objects(alive, plan.masks, 3)
    centre = centre_px[there][keep]
    by_place = np.lexsort(np.round(centre, 2).T[::-1]) if keep.any() else np.zeros(0, np.int64)
    survivors = there[keep][by_place]
    new_ids = np.zeros(groups.size, np.int32)
    new_ids[survivors] = np.arange(1, survivors.size + 1)
    return Merged(first, new_ids[group].astype(np.int32), _stacked([scores], survivors), dropped)


def _same(plan: TiledPlan, folder: Path, a: int, b: int) -> NDArray[np.int64]:
    """Return the pairs of ids, of two neighbouring blocks, that are one object."""
    blocks = plan.block(a), plan.block(b)
    common = [(max(p, q), min(r, s)) for (p, r), (q, s) in zip(blocks[0].seen, blocks[1].seen)]
    if any(stop <= begin for begin, stop in common):
        return np.zeros((0, 2), np.int64)
    views: list[Any] = []
    for block, index in zip(blocks, (a, b)):
        at = tuple(slice(begin - s, stop - s) for (begin, stop), (s, _) in zip(common, block.seen))
        views.append(np.ascontiguousarray(read_block(folder, index).labels[at]))
    shared = overlaps(views[0], views[1])
    same = shared.iou >= _SAME_IOU
    return np.column_stack([shared.ids_a[shared.index_a[same]], shared.ids_b[shared.index_b[same]]])


def _stacked(parts: list[ObjectScores], pick: NDArray[Any]) -> ObjectScores:
    columns = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])[pick] for f in fields(ObjectScores)
    }
    return ObjectScores(**columns)
