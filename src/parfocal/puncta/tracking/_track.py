"""Localizations linked over time, through frames where they are dark, through merges and splits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.linking import link_points
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import PunctaTracks

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TrackSettings:
    """How puncta are linked.

    Parameters
    ----------
    max_step_um : float
        The longest step between neighbouring frames; about five times the root of 2 D times the frame interval.
        Over a gap of g frames it grows by the root of g.
    max_missing_frames : int
        For how many frames in a row a punctum may be dark, or missed, and still be the same.
    max_split_um, max_merge_um : float, optional
        How far from a punctum another may appear to have split from it, or disappear to have merged into it. None:
        neither is sought.
    max_photon_change : float, optional
        The most that |whole - parts| / (whole + parts) may be in photons at a split or a merge; two puncta of one
        brightness that only pass each other have 1/3. None: photons are not asked.
    min_branch_frames : int
        A branch of fewer frames is not a split or a merge, unless the recording begins or ends with it.
    photon_weight : float
        How much unequal photons count: distances are multiplied by `1 + 3 w |a - b| / (a + b)`. 0 for what blinks.
    own_steps : bool
        Close gaps by each track's own mean square step, so that an immobile punctum is not joined to what comes to
        rest near it.
    min_frames : int
        A track with fewer localizations is none.
    """

    max_step_um: float = 0.5
    max_missing_frames: int = 2
    max_split_um: float | None = None
    max_merge_um: float | None = None
    max_photon_change: float | None = 0.2
    min_branch_frames: int = 3
    photon_weight: float = 0.0
    own_steps: bool = True
    min_frames: int = 2

    def __post_init__(self) -> None:
        lengths = {
            "max_step_um": self.max_step_um,
            "max_split_um": self.max_split_um,
            "max_merge_um": self.max_merge_um,
        }
        for name, value in lengths.items():
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise BadInputError(f"tracking: {name} is {value}, expected a length above 0")
        for name, least in (("max_missing_frames", 0), ("min_branch_frames", 1), ("min_frames", 1)):
            if getattr(self, name) < least:
                raise BadInputError(f"tracking: {name} is {getattr(self, name)}, expected {least} or more")
        if not (self.photon_weight >= 0 and math.isfinite(self.photon_weight)):
            raise BadInputError(f"tracking: photon_weight is {self.photon_weight}, expected 0 or more")
        if self.max_photon_change is not None and not 0 < self.max_photon_change <= 1:
            raise BadInputError(f"tracking: max_photon_change is {self.max_photon_change}, expected 0 to 1")


def track_puncta(localizations: Localizations, settings: TrackSettings | None = None) -> PunctaTracks:
    """Link localizations into tracks.

    Two assignments, both exact (`linking.link_points`; K. Jaqaman et al., Nature Methods 5, 695, 2008): frame to
    frame, then the gaps, splits and merges of the whole recording at once. Positions in the plane count,
    depth does not. Where a punctum splits or merges, one track ends and others begin; `parents` says which.

    Parameters
    ----------
    localizations : Localizations
        In any order of rows.
    settings : TrackSettings, optional

    Returns
    -------
    PunctaTracks
        A row of `track` for each localization, numbered by first frames.

    Raises
    ------
    BadInputError
        A position is not finite; photons are asked for and are not above 0.
    """
    wanted = TrackSettings() if settings is None else settings
    n = len(localizations)
    if not n:
        return PunctaTracks(np.empty(0, np.int64), np.empty((0, 2), np.int64), 0)
    frame = np.asarray(localizations.frame, np.int64)
    if frame.min() < 0:
        raise BadInputError(f"tracking: frame {frame.min()}, expected 0 or more")
    order = np.argsort(frame, kind="stable")
    at = np.column_stack([localizations.y_um, localizations.x_um])[order]
    # frames before the first with a spot, and after the last, link nothing
    begin, end = int(frame.min()), int(frame.max()) + 1
    cuts = np.searchsorted(frame[order], np.arange(begin + 1, end))
    branches = wanted.max_split_um is not None or wanted.max_merge_um is not None
    with_photons = wanted.photon_weight > 0 or (branches and wanted.max_photon_change is not None)
    found = link_points(
        np.split(at, cuts),
        wanted.max_step_um,
        wanted.max_missing_frames,
        max_split_distance=wanted.max_split_um,
        max_merge_distance=wanted.max_merge_um,
        min_branch_frames=wanted.min_branch_frames,
        sizes=np.split(np.asarray(localizations.photons, np.float64)[order], cuts) if with_photons else None,
        size_weight=wanted.photon_weight,
        max_size_change=wanted.max_photon_change if with_photons and branches else None,
        own_steps=wanted.own_steps,
    )
    track = np.empty(n, np.int64)
    track[order] = found.track
    return without_short(PunctaTracks(track, found.parents.astype(np.int64), found.n_tracks), wanted.min_frames)


def without_short(tracks: PunctaTracks, min_frames: int) -> PunctaTracks:
    """Return tracks of at least `min_frames` localizations, numbered anew in their order; the rest are -1."""
    counts = np.bincount(tracks.track[tracks.track >= 0], minlength=tracks.n_tracks)
    stays = counts >= max(min_frames, 1)
    number = np.where(stays, np.cumsum(stays) - 1, -1)
    # the last place answers for those that are already in no track
    track = np.append(number, -1)[tracks.track].astype(np.int64)
    parents = number[tracks.parents.reshape(-1, 2)]
    parents = np.unique(parents[np.all(parents >= 0, axis=1)], axis=0).astype(np.int64)
    return PunctaTracks(track, parents.reshape(-1, 2), int(stays.sum()))
