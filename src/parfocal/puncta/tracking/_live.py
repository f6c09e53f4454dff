"""Tracks while frames arrive: what can be said by now, before the whole recording is linked."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.linking import assign
from parfocal.puncta._localizations import Localizations
from parfocal.puncta.tracking._track import TrackSettings

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FIRST_STEP = 0.25  # of the longest step: the first guess of its root mean square, along an axis


class LiveTracker:
    """Follows puncta frame by frame.

    A localization gets a track when its frame arrives, and keeps it: ends of up to `max_missing_frames` earlier
    are offered to it in one exact assignment, a gap costing what it costs in `track_puncta`. Splits and merges,
    and which gap another frame would have closed better, are seen only when all is there: `track_puncta` of the
    whole has the last word.
    """

    def __init__(self, settings: TrackSettings | None = None) -> None:
        self.settings = TrackSettings() if settings is None else settings
        self._frame = -1
        self._n_tracks = 0
        self._at = np.empty((0, 2))
        self._last = np.empty(0, np.int64)
        self._track = np.empty(0, np.int64)
        self._photons = np.empty(0)
        self._step2 = (_FIRST_STEP * self.settings.max_step_um) ** 2
        self._n_steps = 1.0

    @property
    def n_tracks(self) -> int:
        """How many tracks were begun."""
        return self._n_tracks

    @property
    def n_active(self) -> int:
        """How many may still go on."""
        return len(self._track)

    def add(self, localizations: Localizations) -> Ints:
        """Link what was found in one frame or in several; return the track of each row.

        Parameters
        ----------
        localizations : Localizations
            All of their frames, each later than those before. A frame in which nothing was found is told by the
            next one.

        Raises
        ------
        BadInputError
            A frame is not later than the last.
        """
        track = np.full(len(localizations), -1, np.int64)
        for frame in np.unique(localizations.frame).tolist():
            if frame <= self._frame:
                raise BadInputError(f"live tracking: frame {frame} after {self._frame}, expected a later one")
            here = np.flatnonzero(localizations.frame == frame)
            track[here] = self._link(localizations.take(here), frame)
        return track

    def _link(self, found: Localizations, frame: int) -> Ints:
        self._frame = frame
        stays = frame - self._last <= self.settings.max_missing_frames + 1
        self._at, self._last = self._at[stays], self._last[stays]
        self._track, self._photons = self._track[stays], self._photons[stays]
        here = np.column_stack([found.y_um, found.x_um])
        pairs = self._choose(here, np.asarray(found.photons, np.float64), frame)
        track = np.full(len(here), -1, np.int64)
        track[pairs[:, 1]] = self._track[pairs[:, 0]]
        new = track < 0
        track[new] = self._n_tracks + np.arange(new.sum())
        self._n_tracks += int(new.sum())
        rest = np.ones(self._track.size, np.bool_)
        rest[pairs[:, 0]] = False
        self._at = np.concatenate([self._at[rest], here])
        self._last = np.concatenate([self._last[rest], np.full(len(here), frame)])
        self._track = np.concatenate([self._track[rest], track])
        self._photons = np.concatenate([self._photons[rest], found.photons])
        return track

    def _choose(self, here: Floats, photons: Floats, frame: int) -> NDArray[np.int32]:
        """Return pairs of an end and a localization of this frame."""
        if not len(self._track):
            return np.empty((0, 2), np.int32)
        limit = self.settings.max_step_um**2
        reach = self.settings.max_step_um * math.sqrt(self.settings.max_missing_frames + 1)
        near = KDTree(self._at).sparse_distance_matrix(KDTree(here), reach, output_type="coo_matrix")
        gap = (frame - self._last[near.row]).astype(np.float64)
        kept = near.data**2 <= limit * gap
        a, b, far, squares = near.row[kept], near.col[kept], gap[kept], near.data[kept] ** 2
        cost = squares
        if self.settings.photon_weight > 0:
            ours, theirs = self._photons[a], photons[b]
            cost = cost * np.square(1 + 3 * self.settings.photon_weight * np.abs(ours - theirs) / (ours + theirs))
        cost = cost / far + 2 * self._step2 * np.log(far)
        dearest = 1.05 * limit + 2 * self._step2 * math.log(self.settings.max_missing_frames + 1)
        pairs = assign(a, b, cost, len(self._track), len(here), max(dearest, float(cost.max(initial=0.0))))
        went = np.sum(np.square(self._at[pairs[:, 0]] - here[pairs[:, 1]]), axis=1)
        steps = went[frame - self._last[pairs[:, 0]] == 1]
        # along an axis; the first guess counts for one step
        self._step2 = (self._step2 * self._n_steps + 0.5 * float(steps.sum())) / (self._n_steps + steps.size)
        self._n_steps += steps.size
        return pairs
