"""The labels of one block, kept on disk with what its objects scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.segmentation.flows import ObjectScores, group_voxels, score_objects
from parfocal.segmentation.grids import Region, resampled_region
from parfocal.segmentation.networks import NucleiNet, TileMemory, run_tiles
from parfocal.segmentation.volumes._plan import Block, TiledPlan
from parfocal.segmentation.volumes._source import Source

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class BlockResult:
    """What is on disk of a block.

    Parameters
    ----------
    labels : int32[z, y, x]
        Of all that it sees, ids 1 to n.
    scores : ObjectScores
        Of the ids 1 to n; centres counted from the whole volume's corner.
    core_px : int64[n]
        How many voxels of each are in the block's core.
    source_px : int64[n]
        How many of the volume's own voxels those are when labels are led back: none where an object is thin and
        lies between two planes.
    """

    labels: Labels
    scores: ObjectScores
    core_px: NDArray[np.int64]
    source_px: NDArray[np.int64]


def block_path(folder: Path, index: int) -> Path:
    """Return where a block's result is kept."""
    return folder / f"block_{index:06d}.npz"


def segment_block(
    plan: TiledPlan,
    index: int,
    source: Source,
    net: NucleiNet,
    memory: TileMemory,
    folder: Path,
    n_threads: int | None,
) -> int:
    """Segment a block and put it on disk; return how many objects have a part in its core."""
    block = plan.block(index)

    def read(region: Region) -> NDArray[np.float32]:
        return plan.scale.applied(resampled_region(source.read, plan.grid, region))

    output = run_tiles(net, read, plan.grid.shape, block.seen, plan.tiles, memory=memory)
    labels = group_voxels(output, plan.masks, n_threads)
    scores = score_objects(labels, output, read(block.seen), n_threads)
    del output
    n = scores.volume_px.size
    core_px = np.bincount(labels[block.core_within()].ravel(), minlength=n + 1)[1:]
    back, _ = led_back(plan, block, labels)
    source_px = np.bincount(back.ravel(), minlength=n + 1)[1:]
    centres = scores.centre_sum_px + scores.volume_px[:, np.newaxis] * [s for s, _ in block.seen]
    at_edge = _at_edge(labels, block, plan.grid.shape)
    with write_atomically(block_path(folder, index)) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(
            handle,
            labels=labels,
            volume_px=scores.volume_px,
            flow_error_sum=scores.flow_error_sum,
            foreground_sum=scores.foreground_sum,
            inside=scores.inside,
            shell=scores.shell,
            at_edge=at_edge,
            centre_sum_px=centres,
            core_px=core_px,
            source_px=source_px,
        )
    return int((core_px > 0).sum())


def read_block(folder: Path, index: int, *, labels: bool = True) -> BlockResult:
    """Return what is on disk of a block, with or without its labels."""
    with np.load(block_path(folder, index), allow_pickle=False) as kept:
        scores = ObjectScores(
            kept["volume_px"],
            kept["flow_error_sum"],
            kept["foreground_sum"],
            kept["inside"],
            kept["shell"],
            kept["at_edge"],
            kept["centre_sum_px"],
        )
        found: Any = kept["labels"] if labels else np.zeros((0, 0, 0), np.int32)
        return BlockResult(found, scores, kept["core_px"], kept["source_px"])


def led_back(plan: TiledPlan, block: Block, labels: Labels) -> tuple[Labels, tuple[int, int, int]]:
    """Return the labels of a block's core at the volume's own voxels, and the first of these.

    Where a voxel of the volume looks on the network's grid rises with its index: each is in one core.
    """
    grid = plan.grid
    first: list[int] = []
    at: list[NDArray[np.int64]] = []
    for axis, (n, (begin, stop), (seen, _)) in enumerate(zip(grid.source_shape, block.core, block.seen)):
        looks = np.floor(grid.positions_of_source(axis, 0, n) + 0.5).astype(np.int64)
        looks = np.minimum(looks, grid.shape[axis] - 1)
        a, b = np.searchsorted(looks, (begin, stop))
        first.append(int(a))
        at.append(looks[a:b] - seen)
    return labels[np.ix_(*at)], (first[0], first[1], first[2])


def is_whole(folder: Path, index: int) -> bool:
    """Return whether a block is on disk."""
    return block_path(folder, index).is_file()  # written under another name, then renamed


def _at_edge(labels: Labels, block: Block, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which objects the edge of the whole volume cuts, and not merely the block's."""
    at_edge = np.zeros(int(labels.max()) + 1, np.bool_)
    for axis, ((first, stop), n) in enumerate(zip(block.seen, shape)):
        if n == 1:
            continue
        if first == 0:
            at_edge[np.take(labels, 0, axis)] = True
        if stop == n:
            at_edge[np.take(labels, -1, axis)] = True
    return at_edge[1:]
