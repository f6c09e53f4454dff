"""Tracks that grow frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from parfocal.linking import assign
from parfocal.puncta._localizations import Localizations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LiveTracks:
    """Links each frame to what was seen before it, and looks neither ahead nor back.

    A spot goes to a track that was seen `gap` frames ago within `max_step_um * sqrt(gap)`, so that squared
    distances over gaps are least in all; else it begins one. What `tracking.track_puncta` does with the whole
    recording, splits and merges with it, is the last word.

    Parameters
    ----------
    max_step_um : float
        The longest step between neighbouring frames.
    max_missing_frames : int
        For how many frames a track may be unseen.
    """

    def __init__(self, max_step_um: float, max_missing_frames: int = 2) -> None:
        self._max_step_um = max_step_um
        self._max_gap = max_missing_frames + 1
        self._place = np.empty((0, 2))
        self._frame = np.empty(0, np.int64)
        self._track = np.empty(0, np.int64)
        self.n_tracks = 0

    @property
    def n_active(self) -> int:
        """Tracks that may still go on."""
        return len(self._track)

    def add(self, localizations: Localizations) -> Ints:
        """Return the track of each row; frames must come in order, each in one call."""
        track = np.empty(len(localizations), np.int64)
        places = np.column_stack([localizations.y_um, localizations.x_um])
        for frame in np.unique(localizations.frame):
            here = np.flatnonzero(localizations.frame == frame)
            track[here] = self._link(int(frame), places[here])
        return track

    def _link(self, frame: int, places: Floats) -> Ints:
        alive = frame - self._frame <= self._max_gap
        self._place, self._frame, self._track = self._place[alive], self._frame[alive], self._track[alive]
        found = np.full(len(places), -1, np.int64)
        went_on = np.zeros(len(self._track), bool)
        if len(self._track) and len(places):
            reach_um = self._max_step_um * np.sqrt(self._max_gap)
            near = KDTree(self._place).sparse_distance_matrix(KDTree(places), reach_um, output_type="coo_matrix")
            gap = frame - self._frame[near.row]
            cost = near.data**2 / gap
            allowed = cost <= self._max_step_um**2
            links = assign(
                near.row[allowed],
                near.col[allowed],
                cost[allowed],
                len(self._track),
                len(places),
                1.05 * self._max_step_um**2,
            )
            found[links[:, 1]] = self._track[links[:, 0]]
            went_on[links[:, 0]] = True
        new = np.flatnonzero(found < 0)
        found[new] = self.n_tracks + np.arange(len(new))
        self.n_tracks += len(new)
        self._place = np.concatenate([self._place[~went_on], places])
        self._frame = np.concatenate([self._frame[~went_on], np.full(len(places), frame)])
        self._track = np.concatenate([self._track[~went_on], found])
        return found
