"""Which blocks a volume is cut into, and everything that decides what is in them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

from parfocal.errors import BadInputError
from parfocal.segmentation.flows import MaskSettings
from parfocal.segmentation.grids import Grid, Region
from parfocal.segmentation.networks import PixelRange, TileSettings


@dataclass(frozen=True)
class BlockSettings:
    """How a volume is cut; nothing that is found depends on it.

    Parameters
    ----------
    block_px : (int, int, int)
        Sides of a block at the size that the network knows: what memory is needed for goes with their product.
    halo_px : int, optional
        How far a block looks beyond its sides, so that what they cut is seen whole: by default twice the diameter
        of nuclei.
    """

    block_px: tuple[int, int, int] = (64, 256, 256)
    halo_px: int | None = None

    def __post_init__(self) -> None:
        """Refuse blocks of nothing."""
        if len(self.block_px) != 3 or min(self.block_px) < 8 or (self.halo_px is not None and self.halo_px < 0):
            raise BadInputError(
                f"blocks: block_px {self.block_px}, halo_px {self.halo_px}, expected three sides of at least 8 "
                "and a halo of at least 0"
            )


@dataclass(frozen=True)
class Block:
    """A block: `core` is its own, `seen` what it looks at; both on the network's grid."""

    index: int
    place: tuple[int, int, int]
    core: Region
    seen: Region

    def core_within(self) -> tuple[slice, ...]:
        """Return where the core is in what is seen."""
        return tuple(slice(a - s, b - s) for (a, b), (s, _) in zip(self.core, self.seen))


@dataclass(frozen=True)
class TiledPlan:
    """Everything that decides what a block's labels are."""

    grid: Grid
    scale: PixelRange
    content: int
    block_px: tuple[int, int, int]
    halo_px: int
    masks: MaskSettings
    tiles: TileSettings
    model: str
    diameter_um: float | None
    voxel_size_um: tuple[float, float, float]
    counts: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Count the blocks along each axis."""
        counts = tuple(max(1, math.ceil(n / b)) for n, b in zip(self.grid.shape, self.block_px))
        object.__setattr__(self, "counts", counts)

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return math.prod(self.counts)

    def block(self, index: int) -> Block:
        """Return a block by its number: along x first, then y, then z."""
        _, ny, nx = self.counts
        place = (index // (ny * nx), index // nx % ny, index % nx)
        core: list[tuple[int, int]] = []
        seen: list[tuple[int, int]] = []
        for k, n, count in zip(place, self.grid.shape, self.counts):
            # Blocks of equal size but for one voxel, rather than a last one that is a sliver.
            first, stop = k * n // count, (k + 1) * n // count
            core.append((first, stop))
            seen.append((max(0, first - self.halo_px), min(n, stop + self.halo_px)))
        return Block(index, place, tuple(core), tuple(seen))

    def neighbours(self) -> list[tuple[int, int]]:
        """Return the pairs of blocks that have a face in common."""
        nz, ny, nx = self.counts
        pairs: list[tuple[int, int]] = []
        for z, y, x in product(range(nz), range(ny), range(nx)):
            here = (z * ny + y) * nx + x
            steps = ((1, x + 1 < nx), (nx, y + 1 < ny), (ny * nx, z + 1 < nz))
            pairs += [(here, here + step) for step, is_inside in steps if is_inside]
        return pairs

    def fingerprint(self) -> str:
        """Return a hash of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()


def plan_settings(plan: TiledPlan) -> dict[str, Any]:
    """Return what a reader of the labels may want to know of how they were made."""
    return {
        "model_hash": plan.model,
        "diameter_um": plan.diameter_um,
        "zoom": list(plan.grid.zoom),
        "pixel_range": [plan.scale.low, plan.scale.high],
    }
