"""puncta.csv, trajectories.csv and calcium_events.csv: written and read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import csv_text, read_csv, write_atomically
from parfocal.puncta._localizations import COLUMNS, Localizations
from parfocal.puncta._tracks import CalciumEvents, PunctaTracks
from parfocal.puncta.tables._results import PunctaResults

Floats = NDArray[np.float64]

PUNCTA_COLUMNS: Mapping[str, str] = {
    "id": "row, from 0",
    "frame": "from 0",
    "x_um": "x_px times the pixel size",
    "y_um": "y_px times the pixel size",
    **dict.fromkeys((c for c in COLUMNS if c != "frame"), "as in Localizations"),
}
"""Columns of puncta.csv; all but `id`, `x_um` and `y_um` are those of `Localizations`."""

TRAJECTORY_COLUMNS: Mapping[str, str] = {
    "track": "from 0",
    "punctum": "id in puncta.csv",
    "frame": "from 0",
    "t_s": "when the frame began; empty where the interval is not known",
    "x_um": "",
    "y_um": "",
    "photons": "",
    "dff": "dF/F0 of calcium; empty where it was not read",
}
"""Columns of trajectories.csv; what is known of the whole track follows, the same in each of its rows."""

EVENT_COLUMNS: Mapping[str, str] = {
    "track": "of trajectories.csv",
    "onset_s": "half of the rise; 0 is when frame 0 began",
    "onset_se_s": "its standard error",
    "begin_frame": "",
    "peak_frame": "",
    "end_frame": "",
    "peak_dff": "",
    "peak_snr": "in standard deviations of the noise",
    "is_wave": "1 or 0",
    "offset_y_px": "from the punctum to where the light came from",
    "offset_x_px": "",
    "offset_se_px": "",
    "is_own": "1: of the punctum; 0: a wave, or from beside it",
    "x_um": "of the punctum in the peak frame, or the last before it",
    "y_um": "",
}
"""Columns of calcium_events.csv."""


def write_results(folder: Path, results: PunctaResults) -> list[Path]:
    """Write puncta.csv, trajectories.csv and (where events were sought) calcium_events.csv; return their paths."""
    spots, track = results.localizations, results.tracks.track
    tables: dict[str, dict[str, NDArray[Any]]] = {
        "puncta.csv": {
            "id": np.arange(len(spots)),
            "frame": spots.frame,
            "x_um": spots.x_um,
            "y_um": spots.y_um,
            **{name: column for name, column in spots.columns().items() if name != "frame"},
        }
    }
    rows = np.flatnonzero(track >= 0)
    rows = rows[np.lexsort((spots.frame[rows], track[rows]))]
    tables["trajectories.csv"] = {
        "track": track[rows],
        "punctum": rows,
        "frame": spots.frame[rows],
        "t_s": spots.frame[rows] * results.frame_interval_s,
        "x_um": spots.x_um[rows],
        "y_um": spots.y_um[rows],
        "photons": spots.photons[rows],
        "dff": results.dff[rows],
        **{name: column[track[rows]] for name, column in results.by_track.items()},
    }
    if results.events is not None:
        tables["calcium_events.csv"] = _event_table(results, results.events)
    written: list[Path] = []
    for name, columns in tables.items():
        with write_atomically(folder / name) as temporary:
            text = csv_text(list(columns), [_cells(column) for column in columns.values()])
            temporary.write_text(text, encoding="utf-8", newline="\n")
        written.append(folder / name)
    return written


def read_results(detections: Path, tracks: Path | None = None, calcium: Path | None = None) -> PunctaResults:
    """Read what `write_results` wrote. Without tracks, no punctum is in one.

    Raises
    ------
    BadInputError
        A file or a column is missing, a cell is no number, or the files do not fit each other.
    """
    found = _columns(detections, ("frame", "x_px", "y_px", "photons", "x_um", "y_um"))
    numbers: dict[str, Any] = {name: found[name] for name in COLUMNS if name in found}
    for name in ("frame", "n_emitters"):
        if name in numbers:
            numbers[name] = numbers[name].astype(np.int64)
    spots = Localizations((_ratio(found["y_um"], found["y_px"]), _ratio(found["x_um"], found["x_px"])), **numbers)
    track, dff = np.full(len(spots), -1, np.int64), np.full(len(spots), np.nan)
    by_track: dict[str, NDArray[Any]] = {}
    interval_s = math.nan
    if tracks is not None:
        given = _columns(tracks, ("track", "punctum", "frame"))
        rows, of = given["punctum"].astype(np.int64), given["track"].astype(np.int64)
        if rows.size and not (0 <= rows.min() and rows.max() < len(spots)):
            raise BadInputError(f"{tracks}: punctum {rows.max()}, but {detections} has {len(spots)}")
        if (spots.frame[rows] != given["frame"]).any():
            raise BadInputError(f"{tracks}: its frames are not those of {detections}; are they of one recording?")
        track[rows] = of
        dff[rows] = given.get("dff", dff[rows])
        first = np.unique(of, return_index=True)[1]
        rest = [name for name in given if name not in TRAJECTORY_COLUMNS]
        by_track = {n: given[n][first].astype(bool) if n.startswith("is_") else given[n][first] for n in rest}
        if (np.unique(of) != np.arange(first.size)).any():
            raise BadInputError(f"{tracks}: tracks must be numbered from 0 without gaps")
        if "t_s" in given and np.isfinite(given["t_s"]).all() and (given["frame"] > 0).any():
            interval_s = _ratio(given["t_s"], given["frame"])
    n_tracks = int(track.max(initial=-1)) + 1
    known = PunctaTracks(track, np.empty((0, 2), np.int64), n_tracks)
    if calcium is None:
        return PunctaResults(interval_s, spots, known, dff, by_track=by_track)
    events, is_own = _events(calcium, n_tracks)
    return PunctaResults(interval_s, spots, known, dff, events, is_own, by_track)


def _event_table(results: PunctaResults, events: CalciumEvents) -> dict[str, NDArray[Any]]:
    own = results.is_own if results.is_own is not None else ~events.is_wave
    at = np.array([_row_at(results, t, f) for t, f in zip(events.track, events.peak_frame)], dtype=np.int64)
    columns = {name: getattr(events, name) for name in EVENT_COLUMNS if hasattr(events, name)}
    return {
        **columns,
        "is_own": own,
        "x_um": results.localizations.x_um[at],
        "y_um": results.localizations.y_um[at],
    }


def _row_at(results: PunctaResults, track: int, frame: int) -> int:
    rows = np.flatnonzero(results.tracks.track == track)
    before = rows[results.localizations.frame[rows] <= frame]
    if not before.size:
        raise BadInputError(f"results: an event of track {track} in frame {frame}, where the track is not yet")
    return int(before[np.argmax(results.localizations.frame[before])])


def _events(path: Path, n_tracks: int) -> tuple[CalciumEvents, NDArray[np.bool_]]:
    required = [name for name in EVENT_COLUMNS if name not in ("is_own", "x_um", "y_um")]
    given = _columns(path, tuple(required))
    whole = ("track", "begin_frame", "peak_frame", "end_frame")
    columns: dict[str, Any] = {n: given[n].astype(np.int64) if n in whole else given[n] for n in required}
    columns["is_wave"] = given["is_wave"] > 0
    events = CalciumEvents(**columns)
    if len(events) and int(events.track.max()) >= n_tracks:
        raise BadInputError(f"{path}: an event of track {events.track.max()}, but there are {n_tracks} tracks")
    return events, given["is_own"] > 0 if "is_own" in given else ~events.is_wave


def _columns(path: Path, required: tuple[str, ...]) -> dict[str, Floats]:
    cells = read_csv(path).columns()
    missing = [name for name in required if name not in cells]
    if missing:
        raise BadInputError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(cells)}")
    found: dict[str, Floats] = {}
    for name, column in cells.items():
        try:
            found[name] = np.array([float(cell) if cell else math.nan for cell in column])
        except ValueError:
            bad = next(row for row, cell in enumerate(column, 2) if cell and not _is_number(cell))
            raise BadInputError(f"{path}, row {bad}: {name} is {column[bad - 2]!r}, expected a number") from None
    return found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _ratio(a: Floats, b: Floats) -> float:
    """Return what b was multiplied by to make a; NaN where there is nothing to tell by."""
    total = float(np.nansum(np.abs(b)))
    return float(np.nansum(np.abs(a))) / total if total else math.nan


def _cells(column: NDArray[Any]) -> list[str]:
    if column.dtype == bool or np.issubdtype(column.dtype, np.integer):
        return [str(int(value)) for value in column]
    return ["" if math.isnan(value) else repr(round(float(value), 9)) for value in column]
