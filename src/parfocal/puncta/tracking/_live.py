"""Tracks while frames arrive: what can be said by now, before the whole recording is linked."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.linking import assign
from parfocal.puncta._localizations import Localizations, join_localizations, no_localizations
from parfocal.puncta._tracks import PunctaTracks
from parfocal.puncta.tracking._track import TrackSettings, track_puncta

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FIRST_STEP = 0.25  # of the longest step: the first guess of its root mean square, along an axis


class LiveTracker:
    """Follows puncta frame by frame.

    A localization gets a track when its frame arrives, and keeps it: ends of up to `max_missing_frames` earlier
    are offered to it in one exact assignment, a gap costing what it costs in `track_puncta`. Splits and merges,
    and which gap another frame would have closed better, are seen only when all is there: `finish` links anew.
    """

    def __init__(self, settings: TrackSettings | None = None) -> None:
        self.settings = TrackSettings() if settings is None else settings
        self._parts: list[Localizations] = []
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

    def add(self, localizations: Localizations, frame: int | None = None) -> Ints:
        """Link the localizations of one frame; return the track of each.

        Parameters
        ----------
        localizations : Localizations
            Of one frame, later than those before.
        frame : int, optional
            Which frame, where nothing was found in it; otherwise the rows say it.

        Raises
        ------
        BadInputError
            Rows are of several frames, or of one that is not later than the last.
        """
        frames = np.unique(localizations.frame)
        if frames.size > 1 or (frame is not None and frames.size and int(frames[0]) != frame):
            raise BadInputError(f"live tracking: rows of frames {frames.tolist()}, expected one frame")
        if frames.size:
            frame = int(frames[0])
        if frame is None:
            return np.empty(0, np.int64)
        if frame <= self._frame:
            raise BadInputError(f"live tracking: frame {frame} after frame {self._frame}, expected a later one")
        self._frame = frame
        stays = frame - self._last <= self.settings.max_missing_frames + 1
        self._at, self._last = self._at[stays], self._last[stays]
        self._track, self._photons = self._track[stays], self._photons[stays]
        if not frames.size:
            return np.empty(0, np.int64)
        self._parts.append(localizations)
        here = np.column_stack([localizations.y_um, localizations.x_um])
        pairs = self._choose(here, np.asarray(localizations.photons, np.float64), frame)
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
        self._photons = np.concatenate([self._photons[rest], localizations.photons])
        return track

    def finish(self) -> tuple[Localizations, PunctaTracks]:
        """Return all localizations in order, linked anew as a whole."""
        if not self._parts:
            nothing = no_localizations((1.0, 1.0))
            return nothing, track_puncta(nothing, self.settings)
        found = join_localizations(self._parts)
        return found, track_puncta(found, self.settings)

    def _choose(self, here: Floats, photons: Floats, frame: int) -> NDArray[np.int32]:
        """Return pairs of an end and a localization of this frame."""
        gap = (frame - self._last)[:, None].astype(np.float64)
        squares = np.sum(np.square(self._at[:, None, :] - here[None, :, :]), axis=2)
        limit = self.settings.max_step_um**2
        a, b = np.nonzero(squares <= limit * gap)
        far = gap[a, 0]
        cost = squares[a, b]
        if self.settings.photon_weight > 0:
            ours, theirs = self._photons[a], photons[b]
            cost = cost * np.square(1 + 3 * self.settings.photon_weight * np.abs(ours - theirs) / (ours + theirs))
        cost = cost / far + 2 * self._step2 * np.log(far)
        dearest = 1.05 * limit + 2 * self._step2 * math.log(self.settings.max_missing_frames + 1)
        pairs = assign(a, b, cost, len(self._track), len(here), max(dearest, float(cost.max(initial=0.0))))
        steps = squares[pairs[:, 0], pairs[:, 1]][frame - self._last[pairs[:, 0]] == 1]
        # along an axis; the first guess counts for one step
        self._step2 = (self._step2 * self._n_steps + 0.5 * float(steps.sum())) / (self._n_steps + steps.size)
        self._n_steps += steps.size
        return pairs
