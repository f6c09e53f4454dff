"""What the analysis `puncta` found in a run, read back from the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks import good_analysis
from parfocal.catalog import Catalog
from parfocal.errors import BadInputError
from parfocal.puncta import CalciumEvents, Localizations, PunctaTracks
from parfocal.puncta.calcium import own_events
from parfocal.puncta.drift import Drift, corrected
from parfocal.puncta.tables import PunctaResults

_ANALYSIS = "puncta"
_TABLES = ("localizations", "tracks", "track_points", "events", "drift")
_NOT_OF_MOTION = (
    "position", "tile", "track", "first_frame", "last_frame", "y_um", "x_um", "photons", "came_from", "went_to",
)  # fmt: skip
_OF_SPOTS = tuple(name for name in Localizations.__dataclass_fields__ if name != "pixel_size_um")
_WHOLE = ("frame", "n_emitters", "track", "begin_frame", "peak_frame", "end_frame")

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class PunctaRun:
    """The puncta of one place of a run.

    Attributes
    ----------
    uid : str
        Of the derived run.
    raw_uid : str
        Of the run that it was made from.
    place : (int, int)
        Position and tile.
    n_frames : int
        Time points with puncta channel, whether they show puncta or not.
    detector, model_hash : str
    results : PunctaResults
        Drift taken out where the analysis did; frames count from 0 at this place.
    """

    uid: str
    raw_uid: str
    place: tuple[int, int]
    n_frames: int
    detector: str
    model_hash: str
    results: PunctaResults


def read_puncta_run(catalog: Catalog, which: str, place: tuple[int, int] | None = None) -> PunctaRun:
    """Read what was found in a run.

    Parameters
    ----------
    catalog : Catalog
    which : str
        A derived run of `puncta`, or the raw run that it was made from (then its newest good one); uid, its
        beginning, scan id or `newest`.
    place : (int, int), optional
        Position and tile; needed where the run has several.

    Raises
    ------
    BadInputError
        There is no such result, or no such place in it, or nothing was found there.
    """
    run = good_analysis(catalog, which, _ANALYSIS)
    start: Any = run.metadata["start"]
    uid = str(start["uid"])
    name = f"run {uid[:8]}"
    if "summary" not in run:
        reason = (run.metadata.get("stop") or {}).get("reason") or "it is not there yet"
        raise BadInputError(f"{name}: {_ANALYSIS} did not come to its end: {reason}")
    said: Any = run["summary"].read()
    places = [(int(p), int(t)) for p, t in zip(said["position"].values, said["tile"].values, strict=True)]
    row = _row_of(places, place, name)
    there = catalog.list_tables(uid)
    tables = {key: _at(catalog.read_table(uid, key), places[row]) for key in _TABLES if key in there}
    summary = {str(key): said[key].values[row] for key in said}
    return PunctaRun(
        uid,
        str(start["parfocal"]["raw"]["uid"]),
        places[row],
        int(summary["n_frames"]),
        str(summary["detector"]),
        str(summary["model_hash"]),
        _results(tables, float(summary["frame_interval_s"]), f"{name}, place {places[row]}"),
    )


def _row_of(places: list[tuple[int, int]], asked: tuple[int, int] | None, name: str) -> int:
    if asked is None and len(places) == 1:
        return 0
    if asked not in places:
        there = ", ".join(f"{position},{tile}" for position, tile in places)
        raise BadInputError(f"{name}: has the places {there} (position,tile); say which, as {places[0]}")
    return places.index(asked)


def _at(rows: Any, place: tuple[int, int]) -> Table:
    table: Table = {name: np.asarray(rows[name].to_pandas()) for name in rows.column_names}
    here = (table["position"] == place[0]) & (table["tile"] == place[1])
    return {name: column[here] for name, column in table.items()}


def _results(tables: dict[str, Table], interval_s: float, name: str) -> PunctaResults:
    spots = tables.get("localizations", {})
    if not len(spots.get("frame", ())):
        raise BadInputError(f"{name}: no puncta were found there")
    size = (_ratio(spots["y_um"], spots["y_px"]), _ratio(spots["x_um"], spots["x_px"]))
    localizations = Localizations(size, **_columns(spots, _OF_SPOTS))
    if drift := tables.get("drift"):
        # By frame; a frame that was written twice says the same.
        order = np.argsort(drift["frame"], kind="stable")
        localizations = corrected(localizations, Drift(drift["y_um"][order], drift["x_um"][order]))
    points, of = tables.get("track_points", {}), tables.get("tracks", {})
    n, n_tracks = len(localizations), len(of.get("track", ()))
    track, dff = np.full(n, -1, np.int64), np.full(n, np.nan)
    if n_tracks:
        rows = points["localization"].astype(np.int64)
        if rows.size and rows.max() >= n:
            raise BadInputError(f"{name}: track_points name row {rows.max()}, there are {n} localizations")
        track[rows], dff[rows] = points["track"], points["dff"]
    tracks = PunctaTracks(track, _parents(of), n_tracks)
    motion = {key: column for key, column in of.items() if key not in _NOT_OF_MOTION}
    events = is_own = None
    if n_tracks and np.isfinite(dff).any():
        events = _events(tables.get("events", {}))
        is_own = own_events(events, localizations)
    return PunctaResults(interval_s, localizations, tracks, dff, events, is_own, motion)


def _parents(of: Table) -> NDArray[np.int64]:
    pairs = [
        (int(before), int(after))
        for after, others in zip(of.get("track", ()), of.get("came_from", ()), strict=True)
        for before in str(others).split()
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _events(given: Table) -> CalciumEvents:
    names = tuple(CalciumEvents.__dataclass_fields__)
    if not given:
        none = np.empty(0)
        whole = dict.fromkeys(("track", "begin_frame", "peak_frame", "end_frame"), np.empty(0, np.int64))
        real = dict.fromkeys(("onset_s", "onset_se_s", "peak_dff", "peak_snr"), none)
        return CalciumEvents(**whole, **real, is_wave=np.empty(0, np.bool_))
    columns = _columns(given, names)
    columns["is_wave"] = given["is_wave"].astype(np.bool_)
    return CalciumEvents(**columns)


def _columns(table: Table, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those that the table has: runs of former versions may lack some."""
    return {
        name: table[name].astype(np.int64 if name in _WHOLE else np.float64) for name in names if name in table
    }


def _ratio(a: NDArray[Any], b: NDArray[Any]) -> float:
    total = float(np.abs(b).sum())
    return float(np.abs(a).sum()) / total if total else 1.0
