"""How objects are made of a network's output, and which of them are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class MaskSettings:
    """How objects are made of a network's output, and which of them are kept.

    The limits were fixed on simulated nuclei; None switches a filter off.

    Parameters
    ----------
    foreground_logit : float
        Voxels above it belong to objects.
    diameter_px : float, optional
        About how large objects are: voxels are then followed for at most 3 radii (and at least 40 steps), else for
        at most 200; most rest long before.
    rest_px : float
        A voxel whose next step is shorter rests.
    seed_sigma_px : float
        The density of the voxels at rest is smoothed by it.
    seed_density : float
        Above it a place is a seed. 1 is what a flow that gathers nothing leaves everywhere.
    split_at_boundaries : bool
        Part a seed where the boundary channel shows that it is two: both pieces must gather at least a fifth of
        what the whole does.
    min_volume_px : float, optional
        Smaller objects are dropped: by default 5 % of the ball (disc) of `diameter_px`, or 30 voxels (15 pixels).
    max_flow_error : float or None
        Largest `flow_errors` of an object that is kept.
    min_foreground_logit : float or None
        Smallest mean foreground logit of an object: what a network takes for a nucleus here and there, debris and
        haze, is an object of which it is nowhere sure.
    min_relative_volume : float or None
        Smallest volume in units of that of the nucleus which a labelled voxel is most likely in (the median by
        voxel and not by object, so that crumbs do not vote). In volumes alone, of at least three objects, and not
        for an object that the edge cuts: a section through a nucleus's cap is small and none the worse for it.
    min_relative_contrast : float or None
        Smallest difference between an object's mean and the mean of the shell 2 to 3 voxels outside of it, in
        units of the median by voxel. Where an image is given.
    """

    foreground_logit: float = 0.0
    diameter_px: float | None = None
    rest_px: float = 0.05
    seed_sigma_px: float = 1.0
    seed_density: float = 2.0
    split_at_boundaries: bool = True
    min_volume_px: float | None = None
    max_flow_error: float | None = 0.4
    min_foreground_logit: float | None = 1.0
    min_relative_volume: float | None = 0.25
    min_relative_contrast: float | None = 0.2

    def __post_init__(self) -> None:
        """Refuse what no number of steps or voxels can be made of."""
        if self.diameter_px is not None and not 0 < self.diameter_px < math.inf:
            raise BadInputError(f"masks: diameter_px is {self.diameter_px}, expected a number above 0")
        for name in ("rest_px", "seed_sigma_px", "seed_density"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInputError(f"masks: {name} is {getattr(self, name)}, expected a number above 0")

    @property
    def max_steps(self) -> int:
        """How many steps a voxel is followed for at most."""
        return 200 if self.diameter_px is None else max(40, math.ceil(1.5 * self.diameter_px))

    def smallest_px(self, ndim: int) -> float:
        """Return the volume (area) below which an object is dropped."""
        if self.min_volume_px is not None:
            return self.min_volume_px
        if self.diameter_px is None:
            return 30.0 if ndim == 3 else 15.0
        whole = math.pi / 6 * self.diameter_px**3 if ndim == 3 else math.pi / 4 * self.diameter_px**2
        return 0.05 * whole


@dataclass(frozen=True)
class DroppedObject:
    """An object that was found and not kept.

    Parameters
    ----------
    reason : str
        `volume`, `flow error`, `foreground`, `relative contrast` or `relative volume`.
    value, limit : float
        What it has and what was asked for.
    centre_px : tuple of float
        Its centroid, in voxels, along each axis.
    volume_px : int
        How many voxels it had.
    """

    reason: str
    value: float
    limit: float
    centre_px: tuple[float, ...]
    volume_px: int

    def __str__(self) -> str:
        """Say it in one line."""
        side = "above" if self.reason == "flow error" else "below"
        at = ", ".join(f"{c:.0f}" for c in self.centre_px)
        return (
            f"object of {self.volume_px} px at ({at}): {self.reason} {self.value:.3g} is {side} {self.limit:.3g}"
        )
