"""What is found of puncta, as rows of tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from parfocal.callbacks._puncta_series import Batch, Whole
from parfocal.puncta import CalciumEvents

_OF_SPOTS = (
    "photons",
    "background",
    "sigma_x_px",
    "sigma_y_px",
    "x_se_px",
    "y_se_px",
    "photons_se",
    "background_sd",
    "z_um",
    "z_se_um",
    "probability",
    "misfit",
    "n_emitters",
)


def localization_rows(place: tuple[int, int], batch: Batch) -> pa.Table:
    """Return a row a localization, as seen: drift is in it, `live_track` may still change."""
    spots = batch.localizations
    at = spots.frame - batch.first
    return pa.table(
        {
            **_where(place, len(spots)),
            "frame": spots.frame,
            "raw_frame": batch.raw_frame[at],
            "t_s": batch.t_s[at],
            "y_um": spots.y_um,
            "x_um": spots.x_um,
            "y_px": spots.y_px,
            "x_px": spots.x_px,
            **{name: getattr(spots, name) for name in _OF_SPOTS},
            "live_track": batch.track,
            "calcium_photons": batch.calcium.signal,
            "calcium_surround": batch.calcium.surround,
        }
    )


def event_rows(
    place: tuple[int, int], events: CalciumEvents, own: NDArray[np.bool_], more: dict[str, Any] | None = None
) -> pa.Table:
    """Return a row a calcium event; `own` says which are of their punctum, no waves and not from beside it."""
    return pa.table(
        {
            **_where(place, len(events)),
            "track": events.track,
            "onset_s": events.onset_s,
            "onset_se_s": events.onset_se_s,
            "begin_frame": events.begin_frame,
            "peak_frame": events.peak_frame,
            "end_frame": events.end_frame,
            "peak_dff": events.peak_dff,
            "peak_snr": events.peak_snr,
            "is_wave": events.is_wave,
            "is_own": own,
            "offset_y_px": events.offset_y_px,
            "offset_x_px": events.offset_x_px,
            "offset_se_px": events.offset_se_px,
            **(more or {}),
        }
    )


def point_rows(place: tuple[int, int], whole: Whole) -> pa.Table:
    """Return a row a localization of a track, drift taken out: by track, then by frame."""
    spots, tracks = whole.localizations, whole.tracks
    rows = np.flatnonzero(tracks.track >= 0)
    rows = rows[np.lexsort((spots.frame[rows], tracks.track[rows]))]
    track, frame = tracks.track[rows], spots.frame[rows]
    dff = whole.traces.dff[track, frame] if whole.traces is not None else np.full(len(rows), np.nan, np.float32)
    return pa.table(
        {
            **_where(place, len(rows)),
            "track": track,
            "frame": frame,
            "localization": rows,
            "t_s": whole.t_s[frame],
            "y_um": spots.y_um[rows],
            "x_um": spots.x_um[rows],
            "z_um": spots.z_um[rows],
            "photons": spots.photons[rows],
            "is_mobile": whole.mobility.point_is_mobile[rows],
            "dff": dff.astype(np.float64),
        }
    )


def track_rows(place: tuple[int, int], whole: Whole) -> pa.Table:
    """Return a row a track."""
    spots, tracks, n = whole.localizations, whole.tracks, whole.tracks.n_tracks
    held = tracks.track >= 0
    track = tracks.track[held]
    counts = np.maximum(np.bincount(track, minlength=n), 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(track, values[held], n) / counts

    first, last = np.full(n, np.iinfo(np.int64).max), np.zeros(n, np.int64)
    np.minimum.at(first, track, spots.frame[held])
    np.maximum.at(last, track, spots.frame[held])
    before, after = (_named(tracks.parents[:, side], tracks.parents[:, 1 - side], n) for side in (1, 0))
    own = whole.events.track[~whole.events.is_wave] if whole.events is not None else np.empty(0, np.int64)
    return pa.table(
        {
            **_where(place, n),
            "track": np.arange(n),
            "first_frame": first,
            "last_frame": last,
            "y_um": mean(spots.y_um),
            "x_um": mean(spots.x_um),
            "photons": mean(spots.photons),
            "came_from": before,
            "went_to": after,
            "n_events": np.bincount(own, minlength=n),
            **whole.mobility.columns(),
        }
    )


def drift_rows(place: tuple[int, int], whole: Whole) -> pa.Table:
    """Return a row a frame."""
    n = whole.drift.n_frames
    columns = {"frame": np.arange(n), "y_um": whole.drift.y_um, "x_um": whole.drift.x_um}
    return pa.table({**_where(place, n), **columns})


def mobile_at_peak(whole: Whole, events: CalciumEvents) -> NDArray[np.int64]:
    """Return what each event's punctum did at its peak: 1 mobile, 0 not, -1 not judged."""
    spots, tracks = whole.localizations, whole.tracks
    states = np.full((tracks.n_tracks, whole.n_frames), -1, np.int64)
    held = tracks.track >= 0
    states[tracks.track[held], spots.frame[held]] = whole.mobility.point_is_mobile[held]
    return states[events.track, events.peak_frame]


def _where(place: tuple[int, int], n: int) -> dict[str, Any]:
    return {"position": np.full(n, place[0]), "tile": np.full(n, place[1])}


def _named(of: NDArray[np.int64], others: NDArray[np.int64], n: int) -> list[str]:
    """Return, for each track, the others that are tied to it, in words."""
    named: list[list[str]] = [[] for _ in range(n)]
    for one, other in zip(of.tolist(), others.tolist(), strict=True):
        named[one].append(str(other))
    return [" ".join(each) for each in named]
