"""Events of a calcium trace: with hysteresis, an onset between frames, and a look at the surround."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from parfocal.errors import BadInputError
from parfocal.puncta._tracks import CalciumEvents, CalciumTraces
from parfocal.puncta.calcium._baseline import noise_sd
from parfocal.puncta.calcium._onset import fitted_onset, half_rise
from parfocal.robust import longest_run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEP_FRAMES = 2  # a slow rise that stalls by chance goes on by less within them


@dataclass(frozen=True)
class EventSettings:
    """What is an event.

    Parameters
    ----------
    high_sd, low_sd : float
        It must exceed `high_sd` standard deviations of the trace's noise, and lasts while it is above `low_sd`.
    end_frames : int
        It is over after so many frames in a row below `low_sd`: one noisy frame does not make two of one.
    min_frames : int
        For so many frames in a row it must exceed `high_sd`.
    again_sd : float
        The mean of two frames rises again by so many standard deviations, after it fell as much or in a step: a
        second event.
    max_missing_frames : int
        Frames without the punctum that do not end it.
    onset : str
        `half-rise`, interpolated; or `fit`, where the rise begins: slower, and nearer to the stimulus.
    wave_ratio : float
        The surround rises by so much of what the punctum rises by: then it is a wave.
    place_frames : int
        Where its light came from is told by so many frames from half of the peak on: a neighbour that fires while
        it lasts would pull it away.
    """

    high_sd: float = 3.0
    low_sd: float = 1.5
    end_frames: int = 2
    min_frames: int = 2
    again_sd: float = 4.0
    max_missing_frames: int = 2
    onset: Literal["half-rise", "fit"] = "half-rise"
    wave_ratio: float = 1.0
    place_frames: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.low_sd <= self.high_sd:
            raise BadInputError(f"events: low_sd {self.low_sd} must be above 0 and at most high_sd {self.high_sd}")
        if min(self.min_frames, self.end_frames, self.place_frames) < 1 or self.max_missing_frames < 0:
            raise BadInputError(
                "events: min_frames, end_frames, place_frames must be 1 or more, max_missing_frames 0 or more"
            )
        if self.onset not in ("half-rise", "fit"):
            raise BadInputError(f"events: onset is {self.onset!r}, expected half-rise or fit")


def find_events(traces: CalciumTraces, settings: EventSettings | None = None) -> CalciumEvents:
    """Find the events of every trace.

    A run of frames above the lower threshold in which `min_frames` in a row are above the higher one. Waves are
    found and marked, not left out: `events.take(~events.is_wave)` are those of puncta.

    Parameters
    ----------
    traces : CalciumTraces
    settings : EventSettings, optional

    Returns
    -------
    CalciumEvents
        Ordered by track, then by time.
    """
    how = settings or EventSettings()
    moment_noise = 0.5 * (noise_sd(traces.moment_y) + noise_sd(traces.moment_x))
    surround_noise = noise_sd(traces.surround_dff)
    rows: list[tuple[float, ...]] = []
    for track in range(len(traces.dff)):
        noise = float(traces.noise[track])
        if not noise > 0:
            continue
        trace = traces.dff[track].astype(np.float64)
        for begin, end, base in runs_of_events(trace / noise, how):
            peak = begin + int(np.nanargmax(trace[begin : end + 1]))
            if how.onset == "fit" and not base:
                onset, onset_se = fitted_onset(trace, begin, peak, end, noise)
            else:
                onset, onset_se = half_rise(trace, begin, peak, noise, base * noise)
            is_wave = _is_wave(traces, track, begin, peak, how.wave_ratio, float(surround_noise[track]))
            offset = _offset(traces, track, begin, peak, end, float(moment_noise[track]), how.place_frames)
            step_s = traces.frame_interval_s
            when = ((onset + 0.5) * step_s, onset_se * step_s, begin, peak, end)
            rows.append((track, *when, trace[peak], trace[peak] / noise, float(is_wave), *offset))
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 12).T
    track, begin, peak, end = (columns[k].astype(np.int64) for k in (0, 3, 4, 5))
    return CalciumEvents(
        track,
        columns[1],
        columns[2],
        begin,
        peak,
        end,
        peak_dff=columns[6],
        peak_snr=columns[7],
        is_wave=columns[8] > 0,
        offset_y_px=columns[9],
        offset_x_px=columns[10],
        offset_se_px=columns[11],
    )


def runs_of_events(snr: Floats, settings: EventSettings) -> list[tuple[int, int, float]]:
    """Return first and last frames of the events of one trace in standard deviations; NaN is no value.

    The third is what an event begins at: 0, or where the one before was when it rose again.
    """
    known = np.flatnonzero(np.isfinite(snr))
    if not known.size:
        return []
    value = snr[known]
    apart = np.diff(known) > settings.max_missing_frames + 1
    low = value > settings.low_sd
    if settings.end_frames > 1 and low.any():
        first, last = np.flatnonzero(low)[[0, -1]]
        low[first : last + 1] = binary_closing(
            np.pad(low[first : last + 1], settings.end_frames, constant_values=False),
            np.ones(settings.end_frames, bool),
        )[settings.end_frames : -settings.end_frames]
    # A run ends where the value falls below the lower threshold or the punctum was away for long.
    begins = low & np.concatenate(([True], ~low[:-1] | apart))
    ends = low & np.concatenate((~low[1:] | apart, [True]))
    found: list[tuple[int, int, float]] = []
    for first, last in zip(np.flatnonzero(begins), np.flatnonzero(ends)):
        if longest_run(value[first : last + 1] > settings.high_sd) >= settings.min_frames:
            starts = _rises_again(value[first : last + 1], settings.again_sd)
            for start, stop in pairwise([*starts, last + 1 - first]):
                base = float(value[first + start]) if start else 0.0
                found.append((int(known[first + start]), int(known[first + stop - 1]), base))
    return found


def _rises_again(value: Floats, again_sd: float) -> list[int]:
    """Return 0 and where the values rise again, judged by means of two frames.

    Either after they fell as far, at any pace; or by a step after they had stopped rising, since events that
    follow each other closely leave no time to fall.
    """
    starts = [0]
    if value.size < 4:
        return starts
    pair = 0.5 * (value[:-1] + value[1:])
    highest, lowest, lowest_at = pair[0], pair[0], 0
    falls = stops = False
    for i in range(1, pair.size):
        if not stops and pair[i] > highest:
            highest = max(highest, pair[i])
            continue
        falls |= bool(pair[i] < highest - again_sd)
        if not stops or pair[i] < lowest:
            stops, lowest, lowest_at = True, pair[i], i
        elif pair[i] > lowest + again_sd and (falls or i - lowest_at <= _STEP_FRAMES):
            low = lowest_at + int(value[lowest_at + 1] < value[lowest_at])
            starts.append(low)
            falls = stops = False
            highest = pair[i]
        elif not falls and pair[i] > highest:
            stops, highest = False, pair[i]
    return starts


def _is_wave(traces: CalciumTraces, track: int, begin: int, peak: int, ratio: float, noise: float) -> bool:
    """Say whether the surround rose as much as the punctum meanwhile, above its own noise.

    The rise, not the level: a punctum may well have an event of its own on top of a wave.
    """
    before = traces.surround_dff[track][max(0, begin - 3) : max(begin, 1)]
    during = traces.surround_dff[track][begin : peak + 2]
    if not (np.isfinite(during).any() and np.isfinite(before).any()):
        return False
    rose = float(np.nanmax(during)) - float(np.nanmedian(before))
    return rose > 3.0 * noise and rose >= ratio * float(traces.dff[track, peak])


def _offset(
    traces: CalciumTraces, track: int, begin: int, peak: int, end: int, noise: float, place_frames: int
) -> tuple[float, float, float]:
    """Return where the light of an event came from, px from the punctum (y, x), and its standard error.

    Of its first frames only, see `EventSettings`.
    """
    half = 0.5 * float(traces.dff[track, peak])
    event = np.arange(begin, end + 1)
    event = event[traces.dff[track, event] >= half][:place_frames]
    quiet = np.arange(max(0, begin - 2 - 10), max(0, begin - 2))
    signal, y, x = traces.signal[track], traces.moment_y[track], traces.moment_x[track]
    quiet = quiet[np.isfinite(signal[quiet])]
    event = event[np.isfinite(signal[event])]
    if not quiet.size or not event.size:
        return np.nan, np.nan, np.nan
    rise = float(signal[event].mean() - signal[quiet].mean())
    if not rise > 0:
        return np.nan, np.nan, np.nan
    dy, dx = (float(m[event].mean() - m[quiet].mean()) / rise for m in (y, x))
    return dy, dx, noise * float(np.sqrt(1 / event.size + 1 / quiet.size)) / rise
