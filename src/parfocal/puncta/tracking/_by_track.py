"""Localizations in the order of their tracks, for what goes along each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import PunctaTracks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ByTrack:
    """Rows of localizations that have a track, by track and frame.

    Parameters
    ----------
    row : int64[n]
        In the localizations.
    first : int64[n_tracks + 1]
        Where each track begins.
    frame : int64[n]
    y_um, x_um : float64[n]
    """

    row: Ints
    first: Ints
    frame: Ints
    y_um: Floats
    x_um: Floats

    @property
    def n_points(self) -> Ints:
        """Localizations of each track."""
        return np.diff(self.first)


def by_track(localizations: Localizations, tracks: PunctaTracks) -> ByTrack:
    """Return the rows of tracks in order. `BadInputError` where the tracks are not those of the localizations."""
    track = np.asarray(tracks.track, np.int64)
    if track.size != len(localizations):
        raise BadInputError(f"tracks: {track.size} rows for {len(localizations)} localizations, expected as many")
    if track.size and track.max() >= tracks.n_tracks:
        raise BadInputError(f"tracks: track {track.max()} of {tracks.n_tracks}")
    frame = np.asarray(localizations.frame, np.int64)
    row = np.lexsort((frame, track))
    row = row[track[row] >= 0].astype(np.int64)
    counts = np.bincount(track[row], minlength=tracks.n_tracks)
    return ByTrack(
        row,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        frame[row],
        np.asarray(localizations.y_um, np.float64)[row],
        np.asarray(localizations.x_um, np.float64)[row],
    )
