"""Puncta over time: which localizations are one punctum, how it moves, and what its calcium does."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Table = NDArray[np.float32]


def _no_table() -> Table:
    return np.empty((0, 0), np.float32)


def _none() -> Floats:
    return np.empty(0)


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

    def __repr__(self) -> str:
        return (
            f"PunctaTracks({self.n_tracks} tracks of {int((self.track >= 0).sum())} localizations; "
            f"{int((self.track < 0).sum())} in none, {len(self.parents)} splits and merges)"
        )


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
        Light of the punctum's footprint at rest, photons: slow baseline of `signal` plus that of the surround on
        `footprint_px` pixels.
    dff : float32[n_tracks, n_frames]
        (signal - its slow baseline) / f0: dF/F0 on the central pixel of the punctum.
    noise : float32[n_tracks]
        Standard deviation of `dff` without events.
    surround_dff : float32[n_tracks, n_frames]
        (surround - its slow baseline) * footprint_px / f0: what a wave does to `dff` where nothing is taken off.
    moment_y, moment_x : float32[n_tracks, n_frames]
        First moments of the light around the punctum, photons px: what they rise by over what `signal` rises by
        is how far from the punctum the light comes from.
    footprint_px : float
        Light of a source over that on its central pixel: 2 pi sigma^2.
    bleed_through : float
        Share of a punctum's photons that was taken off `signal`.
    """

    frame_interval_s: float
    signal: Table
    surround: Table
    f0: Table
    dff: Table
    noise: Table
    surround_dff: Table = field(default_factory=_no_table)
    moment_y: Table = field(default_factory=_no_table)
    moment_x: Table = field(default_factory=_no_table)
    footprint_px: float = 1.0
    bleed_through: float = 0.0

    def __post_init__(self) -> None:
        for name in ("surround_dff", "moment_y", "moment_x"):
            if getattr(self, name).shape != self.dff.shape:
                object.__setattr__(self, name, np.full(self.dff.shape, np.nan, np.float32))


@dataclass(frozen=True, eq=False)
class CalciumEvents:
    """Calcium events at puncta, a row each.

    Parameters
    ----------
    track : int64[n]
    onset_s : float64[n]
        Half of the rise, between frames, or where a fitted rise begins; 0 is when frame 0 begins.
    onset_se_s : float64[n]
    begin_frame, peak_frame, end_frame : int64[n]
        First, highest and last frame above the lower threshold; where another rises before it is over, until then.
    peak_dff : float64[n]
    peak_snr : float64[n]
        In standard deviations of the trace's noise.
    is_wave : bool[n]
        Whether its surround rose as much: then it is no signal of the punctum.
    offset_y_px, offset_x_px : float64[n]
        From the punctum to where the light came from; NaN where it was not asked.
    offset_se_px : float64[n]
        Standard error of either.
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
    offset_y_px: Floats = field(default_factory=_none)
    offset_x_px: Floats = field(default_factory=_none)
    offset_se_px: Floats = field(default_factory=_none)

    def __repr__(self) -> str:
        return (
            f"CalciumEvents({len(self)} events at {len(set(self.track.tolist()))} tracks, "
            f"{int(self.is_wave.sum())} of them waves)"
        )

    def __post_init__(self) -> None:
        for name in ("offset_y_px", "offset_x_px", "offset_se_px"):
            if len(getattr(self, name)) != len(self.track):
                object.__setattr__(self, name, np.full(len(self.track), np.nan))

    def __len__(self) -> int:
        return len(self.track)

    def take(self, which: ArrayLike) -> CalciumEvents:
        """Return some rows, by mask or by index."""
        rows = np.asarray(which)
        return CalciumEvents(*(getattr(self, f.name)[rows] for f in fields(self)))
