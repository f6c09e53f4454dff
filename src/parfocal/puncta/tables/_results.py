"""All that was found in one recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumEvents, PunctaTracks


@dataclass(frozen=True, eq=False)
class PunctaResults:
    """Puncta, their tracks, and their calcium.

    Parameters
    ----------
    frame_interval_s : float
        NaN where it is not known.
    localizations : Localizations
    tracks : PunctaTracks
    dff : float64[n_localizations]
        dF/F0 at each punctum; NaN where calcium was not read.
    events : CalciumEvents, optional
    is_own : bool[n_events], optional
        Which events are of their punctum: no waves, none from beside it.
    by_track : mapping of str to ndarray of shape (n_tracks,)
        What is known of each track, such as the columns of `tracking.Mobility`; `is_mobile` and `is_judged` are
        drawn.
    """

    frame_interval_s: float
    localizations: Localizations
    tracks: PunctaTracks
    dff: NDArray[np.float64]
    events: CalciumEvents | None = None
    is_own: NDArray[np.bool_] | None = None
    by_track: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    def __repr__(self) -> str:
        found = f"{self.localizations!r}, {self.tracks!r}, {self.events!r}"
        return f"PunctaResults({found}, {self.frame_interval_s:g} s a frame)"

    def __post_init__(self) -> None:
        n = len(self.localizations)
        if len(self.tracks.track) != n or len(self.dff) != n:
            raise BadInputError(
                f"results: {n} puncta, {len(self.tracks.track)} values of track and {len(self.dff)} of dff"
            )
        for name, column in self.by_track.items():
            if len(column) != self.tracks.n_tracks:
                raise BadInputError(f"results: {len(column)} values of {name} for {self.tracks.n_tracks} tracks")

    def table(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return a column of the localizations as `[track, frame]`; NaN where a track is not."""
        found = np.full((self.tracks.n_tracks, self.localizations.n_frames), np.nan)
        held = self.tracks.track >= 0
        found[self.tracks.track[held], self.localizations.frame[held]] = column[held]
        return found
