"""What counts as one object seen in two planes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class LinkSettings:
    """When two masks of different planes are taken for one object. Ratios are of areas in pixels.

    Parameters
    ----------
    min_overlap_ratio : float
        Least intersection over union.
    max_distance_z : int
        How many planes apart; 2 means that an object may be missing in one plane.
    min_containment, min_containment_iou : float
        Also linked: a mask that lies in the other by this share of the smaller area, with this intersection over
        union at least, where each is the best that the other can have. The cap of a nucleus lies in its next plane
        as a whole, and has little in common with it by area.
    max_area_ratio : float
        Of a link by containment, where the larger mask has another one to go with.
    gap_penalty : float
        What an affinity is multiplied by for each plane that is missing.
    bridge_tapered : bool
        Bridge a gap even where the object was shrinking so that it has ended by itself, and link by containment
        even where it shrank and would grow again. Sections of a convex body have areas whose square root is
        concave along z: a straight line is an upper bound.
    fill_gaps : bool
        Fill planes that were bridged, by interpolated signed distances.
    neck_ratio : float
        Cut an object where the square root of its area falls below this share of what it reaches on both sides; 0:
        never.
    min_depth_planes : int
        Objects in fewer planes are `thin`.
    thin_objects : {"keep", "merge", "drop"}
        What becomes of them: nothing, they join the best neighbour above or below (else they stay), or they go.
    follow_drift : bool
        Move each plane by how its objects moved (their median) before overlap is measured.
    """

    min_overlap_ratio: float = 0.3
    max_distance_z: int = 2
    min_containment: float = 0.8
    min_containment_iou: float = 0.0
    max_area_ratio: float = 4.0
    gap_penalty: float = 0.9
    bridge_tapered: bool = False
    fill_gaps: bool = True
    neck_ratio: float = 0.6
    min_depth_planes: int = 1
    thin_objects: Literal["keep", "merge", "drop"] = "keep"
    follow_drift: bool = False

    def __post_init__(self) -> None:
        shares = ("min_overlap_ratio", "min_containment", "min_containment_iou", "gap_penalty", "neck_ratio")
        for name in shares:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise BadInputError(f"link planes: {name} is {value}, expected 0 to 1")
        if self.max_distance_z < 1:
            raise BadInputError(f"link planes: max_distance_z is {self.max_distance_z}, expected 1 or more planes")
        if self.max_area_ratio < 1:
            raise BadInputError(f"link planes: max_area_ratio is {self.max_area_ratio}, expected 1 or more")
        if self.thin_objects not in ("keep", "merge", "drop"):
            raise BadInputError(
                f"link planes: thin_objects is {self.thin_objects!r}, expected keep, merge or drop"
            )

    def as_dict(self) -> dict[str, object]:
        """Return the settings as plain values."""
        return {one.name: getattr(self, one.name) for one in fields(self)}
