"""Puncta over time: which localizations are one punctum, how it moves, and what its calcium does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PunctaTracks:
    """Localizations linked over time.

    Parameters
    ----------
    track : int64[n_localizations]
        The track of each row of the localizations, from 0; -1 where it belongs to none (too short).
    parents : int64[k, 2]
        Tracks that go over into one another by a split or a merge: (before, after).
    n_tracks : int
    """

    track: Ints
    parents: Ints
    n_tracks: int


@dataclass(frozen=True, eq=False)
class CalciumTraces:
    """The calcium signal at every track, `[track, frame]`; NaN where the track is not.

    Parameters
    ----------
    frame_interval_s : float
    signal : float32[n_tracks, n_frames]
        Photons at the punctum above its local surround.
    surround : float32[n_tracks, n_frames]
        Photons per pixel around it.
    f0 : float32[n_tracks, n_frames]
        Slow baseline of `signal` plus what it stands on.
    dff : float32[n_tracks, n_frames]
        (signal - f0) / f0.
    noise : float32[n_tracks]
        Standard deviation of `dff` without events.
    """

    frame_interval_s: float
    signal: NDArray[np.float32]
    surround: NDArray[np.float32]
    f0: NDArray[np.float32]
    dff: NDArray[np.float32]
    noise: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CalciumEvents:
    """Calcium events at puncta, a row each.

    Parameters
    ----------
    track : int64[n]
    onset_s : float64[n]
        Half of the rise, between frames.
    onset_se_s : float64[n]
    begin_frame, peak_frame, end_frame : int64[n]
        First, highest and last frame above the lower threshold.
    peak_dff : float64[n]
    peak_snr : float64[n]
        In standard deviations of the trace's noise.
    is_wave : bool[n]
        Whether its surround rose as much: then it is no signal of the punctum.
    """

    track: Ints
    onset_s: Floats
    onset_se_s: Floats
    begin_frame: Ints
    peak_frame: Ints
    end_frame: Ints
    peak_dff: Floats
    peak_snr: Floats
    is_wave: NDArray[np.bool_]
