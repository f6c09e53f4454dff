"""Frames of one place into localizations, batch by batch, while they come; into tracks and events at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks._puncta_detectors import Detector, Pixels
from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta import (
    CalciumEvents,
    CalciumTraces,
    Localizations,
    PunctaTracks,
    join_localizations,
    no_localizations,
)
from parfocal.puncta.calcium import (
    EventSettings,
    LiveEvents,
    Readings,
    ReadSettings,
    join_readings,
    read_signals,
)
from parfocal.puncta.drift import Drift, corrected, drift_by_correlation, drift_by_fiducials, no_drift
from parfocal.puncta.following import FollowSettings, follow_read
from parfocal.puncta.tracking import LiveTracker, Mobility, TrackSettings

Key = tuple[int, int]
_LARGEST_BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class PunctaSettings:
    """How a series is worked on; what `PunctaParameters` come to for one run."""

    make_detector: Callable[[], Detector]
    camera_model: CameraModel
    pixel_size_um: tuple[float, float]
    tracking: TrackSettings
    read: ReadSettings
    events: EventSettings
    drift: str
    batch_frames: int
    frame_interval_s: float
    bleed_through: float | None


@dataclass
class _Taken:
    """One time point, of which channels come one by one."""

    key: Key
    puncta: Pixels | None = None
    calcium: Pixels | None = None
    raw_frame: int = -1
    t_s: float = float("nan")
    z_um: float = float("nan")


@dataclass(frozen=True)
class Batch:
    """Some frames, as they are known while the recording goes on."""

    first: int
    raw_frame: NDArray[np.int64]
    t_s: NDArray[np.float64]
    z_um: NDArray[np.float64]
    localizations: Localizations
    track: NDArray[np.int64]
    calcium: Readings
    events: CalciumEvents | None
    n_tracks: int
    n_active: int
    area_um2: float

    @property
    def n_frames(self) -> int:
        """How many."""
        return len(self.raw_frame)


@dataclass(frozen=True)
class Whole:
    """What a series comes to."""

    localizations: Localizations
    drift: Drift
    tracks: PunctaTracks
    mobility: Mobility
    readings: Readings
    traces: CalciumTraces | None
    events: CalciumEvents | None
    frame_interval_s: float
    shape_px: tuple[int, int]
    n_frames: int
    raw_frame: NDArray[np.int64]
    t_s: NDArray[np.float64]
    remarks: tuple[str, ...]


@dataclass
class PunctaSeries:
    """One place over time.

    A time point that is taken again at once replaces itself; one that comes back after others have come is passed
    over, and counted. Frames are kept for one batch, columns to the end.
    """

    settings: PunctaSettings
    place: tuple[int, int]
    _pending: list[_Taken] = field(default_factory=list[_Taken])
    _behind: list[_Taken] = field(default_factory=list[_Taken])
    _seen: set[Key] = field(default_factory=set[Key])
    _parts: list[Localizations] = field(default_factory=list[Localizations])
    _readings: list[Readings] = field(default_factory=list[Readings])
    _raw_frame: list[int] = field(default_factory=list[int])
    _t_s: list[float] = field(default_factory=list[float])
    _shape_px: tuple[int, int] = (0, 0)
    _has_calcium: bool = False
    _is_one_channel: bool = False
    _n_passed_over: int = 0
    _live_events: LiveEvents | None = None

    def __post_init__(self) -> None:
        self._live = LiveTracker(self.settings.tracking)
        self._detector = self.settings.make_detector()

    @property
    def n_frames(self) -> int:
        """Time points that are done."""
        return len(self._raw_frame)

    def take(
        self,
        key: Key,
        pixels: Pixels,
        raw_frame: int,
        t_s: float,
        z_um: float,
        *,
        is_puncta: bool,
        is_calcium: bool,
    ) -> Iterator[Batch]:
        """Take a frame; give the batch that it completes."""
        if not self._pending or self._pending[-1].key != key:
            if key in self._seen:
                self._n_passed_over += 1
                return
            # Only now is the one before it done: until here it could have been taken again.
            if len(self._pending) >= self._batch_of(pixels):
                yield from self.flush()
            self._pending.append(_Taken(key))
            self._seen.add(key)
        taken = self._pending[-1]
        copy = np.array(pixels)  # the memory that frames come in is used again
        # Where both are seen in one channel, no light is in the wrong one.
        self._is_one_channel |= is_calcium and is_puncta
        if is_calcium:
            taken.calcium = copy
        if is_puncta:
            taken.puncta, taken.raw_frame, taken.t_s, taken.z_um = copy, raw_frame, t_s, z_um

    def flush(self, *, is_last: bool = False) -> Iterator[Batch]:
        """Localize what waits, link it provisionally, read its calcium.

        What the detector tells only when it has seen the next frame goes with the next batch, and with this one
        where it is the last.
        """
        new = [(one, one.puncta) for one in self._pending if one.puncta is not None]
        self._pending.clear()
        ready = [*self._behind, *(one for one, _ in new)]
        if not ready or not (new or is_last):
            return
        first = self.n_frames
        shapes = {(f.shape[0], f.shape[1]) for _, f in new} | ({self._shape_px} if self._shape_px[0] else set())
        if len(shapes) > 1:
            raise BadInputError(f"puncta: frames of {sorted(shapes)} px in one series, one shape was expected")
        self._shape_px = shapes.pop()
        found = self._detector.add([pixels for _, pixels in new])
        n_told = len(ready)
        if is_last:
            found = join_localizations([found, self._detector.finish()])
        else:
            n_told -= min(self._detector.n_behind, n_told)
        ready, self._behind = ready[:n_told], ready[n_told:]
        if not ready:
            return
        track = self._live.add(found)
        readings = self._read(ready, found, first)
        self._raw_frame += [one.raw_frame for one in ready]
        self._t_s += [one.t_s for one in ready]
        self._parts.append(found)
        self._readings.append(readings)
        events = None
        if self._has_calcium:
            if self._live_events is None:
                # From here on, so that times of one recording are told on one clock.
                footprint = self.settings.read.footprint_px
                self._live_events = LiveEvents(self._interval_s(), footprint, self.settings.events)
            events = self._live_events.add(found, track, readings, self.n_frames - 1)
        pixel_y, pixel_x = self.settings.pixel_size_um
        yield Batch(
            first,
            np.array([one.raw_frame for one in ready], np.int64),
            np.array([one.t_s for one in ready]),
            np.array([one.z_um for one in ready]),
            found,
            track,
            readings,
            events,
            self._live.n_tracks,
            self._live.n_active,
            self._shape_px[0] * self._shape_px[1] * pixel_y * pixel_x,
        )

    def finish(self) -> Whole:
        """Take drift out, link the whole, measure motion, find events."""
        told = self.settings
        spots = join_localizations([no_localizations(told.pixel_size_um), *self._parts])
        readings = join_readings(self._readings)
        interval_s = self._interval_s()
        remarks: list[str] = []
        if self._n_passed_over:
            remarks.append(f"{self._n_passed_over} frames of time points that were done were passed over")
        drift = self._drift(spots, remarks)
        still = corrected(spots, drift) if drift.method != "none" else spots
        followed = follow_read(
            still,
            interval_s,
            readings if self._has_calcium else None,
            self.n_frames,
            told.read.footprint_px,
            settings=FollowSettings(
                told.tracking, told.events, bleed_through=0.0 if self._is_one_channel else told.bleed_through
            ),
        )
        return Whole(
            still,
            drift,
            followed.results.tracks,
            followed.mobility,
            readings,
            followed.traces,
            followed.results.events if followed.traces is not None else None,
            interval_s,
            self._shape_px,
            self.n_frames,
            np.array(self._raw_frame, np.int64),
            np.array(self._t_s),
            tuple(remarks),
        )

    def _batch_of(self, pixels: Pixels) -> int:
        """Return how many frames are kept at most: by their size, so that live and replayed are one."""
        return max(1, min(self.settings.batch_frames, _LARGEST_BATCH_BYTES // max(1, pixels.nbytes)))

    def _interval_s(self) -> float:
        if self.settings.frame_interval_s > 0:
            return self.settings.frame_interval_s
        steps = np.diff(np.array(self._t_s))
        steps = steps[np.isfinite(steps) & (steps > 0)]
        return float(np.median(steps)) if steps.size else 1.0

    def _read(self, ready: list[_Taken], found: Localizations, first: int) -> Readings:
        parts: list[Readings] = []
        for number, one in enumerate(ready, first):
            here = np.flatnonzero(found.frame == number)
            if one.calcium is None:
                parts.append(Readings(*(np.full(len(here), np.nan) for _ in range(4))))
                continue
            self._has_calcium = True
            image: Any = self.settings.camera_model.to_electrons(one.calcium)
            parts.append(read_signals(image, found.y_px[here], found.x_px[here], self.settings.read))
        return join_readings(parts)

    def _drift(self, spots: Localizations, remarks: list[str]) -> Drift:
        if self.settings.drift == "none" or not len(spots):
            return no_drift(self.n_frames)
        find = drift_by_correlation if self.settings.drift == "correlation" else drift_by_fiducials
        try:
            return find(spots, n_frames=self.n_frames)
        except BadInputError as error:  # tracks with drift are better than none
            remarks.append(f"drift was not corrected: {error}")
            return no_drift(self.n_frames)
