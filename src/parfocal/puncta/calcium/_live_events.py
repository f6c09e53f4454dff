"""Calcium events of a recording that goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta._localizations import Localizations, join_localizations
from parfocal.puncta._tracks import CalciumEvents, PunctaTracks
from parfocal.puncta.calcium._events import EventSettings, find_events
from parfocal.puncta.calcium._reading import Readings, join_readings
from parfocal.puncta.calcium._traces import traces_of

Ints = NDArray[np.int64]
_SETTLED_FRAMES = 3


class LiveEvents:
    """Looks for events in the last frames each time that some more have come, and tells of each once.

    An event is told when it has been over for three frames. F0 and noise are those of the window: with the whole
    recording before it, `calcium.find_events` may find others.

    Parameters
    ----------
    frame_interval_s : float
    footprint_px : float
        Of the readings: see `calcium.traces_of`.
    settings : EventSettings, optional
    window_frames : int
        How far back it looks.
    """

    def __init__(
        self,
        frame_interval_s: float,
        footprint_px: float,
        settings: EventSettings | None = None,
        window_frames: int = 256,
    ) -> None:
        self._interval_s = frame_interval_s
        self._footprint_px = footprint_px
        self._settings = settings
        self._window = window_frames
        self._parts: deque[tuple[Localizations, Ints, Readings]] = deque()
        self._told_until = -1

    def add(self, localizations: Localizations, track: Ints, readings: Readings, last_frame: int) -> CalciumEvents:
        """Take some frames more, up to `last_frame`; return what is new. Tracks are as given, frames of all."""
        self._parts.append((localizations, track, readings))
        oldest = last_frame - self._window + 1
        while self._parts and (not len(self._parts[0][0]) or self._parts[0][0].frame.max() < oldest):
            self._parts.popleft()
        if not self._parts:
            return _none()
        spots = join_localizations(part[0] for part in self._parts)
        first = int(spots.frame.min())
        names, number = np.unique(np.concatenate([part[1] for part in self._parts]), return_inverse=True)
        moved = replace(spots, frame=spots.frame - first)
        traces = traces_of(
            join_readings(part[2] for part in self._parts),
            moved,
            PunctaTracks(number.astype(np.int64), np.empty((0, 2), np.int64), len(names)),
            last_frame - first + 1,
            self._interval_s,
            footprint_px=self._footprint_px,
        )
        events = find_events(traces, self._settings)
        end = events.end_frame + first
        is_new = (end > self._told_until) & (end <= last_frame - _SETTLED_FRAMES)
        self._told_until = max(self._told_until, last_frame - _SETTLED_FRAMES)
        new = events.take(is_new)
        return replace(
            new,
            track=names[new.track],
            begin_frame=new.begin_frame + first,
            peak_frame=new.peak_frame + first,
            end_frame=new.end_frame + first,
            onset_s=new.onset_s + first * self._interval_s,
        )


def _none() -> CalciumEvents:
    whole, real = np.empty(0, np.int64), np.empty(0)
    return CalciumEvents(whole, real, real, whole, whole, whole, real, real, np.empty(0, bool))
