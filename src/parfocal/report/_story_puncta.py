"""Puncta of a movie: their tracks over the mean image, and the calcium of those with most events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.report._plot import Floats, thin
from parfocal.report._puncta_numbers import puncta_report
from parfocal.report._puncta_run import PunctaRun, read_puncta_run
from parfocal.report._story_reading import Reading, columns_of
from parfocal.report._story_slices import as_grey, grey_range

_MOST_PLACES, _MOST_TRACKS, _MOST_TRACES = 4, 400, 12
_MOST_FRAMES = 8
_MOST_POINTS = 20_000
_SIDE_PX = 768


@dataclass(frozen=True, eq=False)
class Trace:
    """Calcium of one track: `dff` over `t_s` (from frame 0), and its events' peaks."""

    track: int
    t_s: Floats
    dff: Floats
    peak_s: Floats
    peak_dff: Floats


@dataclass(frozen=True, eq=False)
class PunctaStory:
    """One place of a movie.

    Attributes
    ----------
    derived_uid : str
        Of the run of `puncta`.
    place : (int, int)
        Position and tile.
    numbers : dict
        As `puncta_report` gives them.
    pixels : ndarray of shape (y, x), uint8
        Mean of `n_averaged` frames.
    pixel_size_um : (float, float)
        y, x; of the pixels shown.
    tracks : dict of str to (x, y)
        Paths in um by `mobile`, `immobile`, `not judged`, broken by NaN.
    traces : tuple of Trace
        Of the tracks with most events.
    notes : tuple of str
        What was left out.
    """

    derived_uid: str
    place: tuple[int, int]
    numbers: dict[str, Any]
    pixels: NDArray[np.uint8]
    pixel_size_um: tuple[float, float]
    n_averaged: int
    tracks: dict[str, tuple[Floats, Floats]]
    traces: tuple[Trace, ...]
    notes: tuple[str, ...]


def read_puncta(reading: Reading, derived: Iterable[Any]) -> tuple[PunctaStory, ...]:
    """Return the places of the newest run of `puncta` that counts; none where there is none."""
    runs = [run for run in derived if run.metadata["start"]["parfocal"]["analysis"] == "puncta"]
    if not runs or "summary" not in runs[-1]:
        return ()
    uid = str(runs[-1].metadata["start"]["uid"])
    said = columns_of(runs[-1], "summary")
    places = [(int(p), int(t)) for p, t in zip(said["position"], said["tile"])]
    told: list[PunctaStory] = []
    for place in places[:_MOST_PLACES]:
        try:
            run = read_puncta_run(reading.catalog, uid, place)
        except BadInputError as error:  # nothing was found at this place, which is a result too
            reading.remarks.append(f"run {reading.name}: {error}")
            continue
        told.append(_story(reading, run, len(places)))
    return tuple(told)


def _story(reading: Reading, run: PunctaRun, n_places: int) -> PunctaStory:
    spots = run.results.localizations
    rows = reading.catalog.read_table(run.uid, "localizations", ["position", "tile", "raw_frame"])
    position, tile, raw_frame = (np.asarray(rows[name].to_pandas()) for name in ("position", "tile", "raw_frame"))
    frames = np.unique(raw_frame[(position == run.place[0]) & (tile == run.place[1])])
    chosen = frames[np.unique(np.linspace(0, frames.size - 1, min(_MOST_FRAMES, frames.size)).astype(int))]
    mean = np.mean([reading.frames.read(int(k)).astype(np.float32) for k in chosen], axis=0)
    step = max(1, -(-max(mean.shape) // _SIDE_PX))
    tracks, notes = _tracks(run)
    if n_places > _MOST_PLACES:
        notes.append(f"{_MOST_PLACES} of {n_places} places are shown")
    size_y_um, size_x_um = spots.pixel_size_um
    return PunctaStory(
        run.uid,
        run.place,
        puncta_report(run.results),
        as_grey(mean[::step, ::step], *grey_range([mean])),
        (size_y_um * step, size_x_um * step),
        int(chosen.size),
        tracks,
        _traces(run, notes),
        tuple(notes),
    )


def _tracks(run: PunctaRun) -> tuple[dict[str, tuple[Floats, Floats]], list[str]]:
    """Return paths by how they move; of very many tracks, those with most points."""
    results, notes = run.results, list[str]()
    spots, track, n = results.localizations, results.tracks.track, results.tracks.n_tracks
    lengths = np.bincount(track[track >= 0], minlength=n)
    shown = np.zeros(n, bool)
    shown[np.argsort(-lengths, kind="stable")[:_MOST_TRACKS]] = True
    if n > _MOST_TRACKS:
        notes.append(f"{_MOST_TRACKS} of {n} tracks are drawn, the longest")
    none = np.zeros(n, bool)
    mobile = results.by_track.get("is_mobile", none).astype(bool)
    judged = results.by_track.get("is_judged", none if "is_mobile" not in results.by_track else ~none).astype(bool)
    paths: dict[str, tuple[Floats, Floats]] = {}
    n_points = 0
    for name, which in (("not judged", ~judged), ("immobile", judged & ~mobile), ("mobile", judged & mobile)):
        which = which & shown
        if which.any():
            rows = np.flatnonzero(track >= 0)
            rows = rows[which[track[rows]]]
            rows = rows[np.lexsort((spots.frame[rows], track[rows]))]
            breaks = np.flatnonzero(np.diff(track[rows])) + 1
            kept = max(1, -(-rows.size // _MOST_POINTS))
            x, y = np.insert(spots.x_um[rows], breaks, np.nan), np.insert(spots.y_um[rows], breaks, np.nan)
            keep = np.isnan(x) | (np.arange(x.size) % kept == 0)
            paths[name] = x[keep], y[keep]
            n_points = max(n_points, kept)
    if n_points > 1:
        notes.append(f"every {n_points}th point of a track is drawn")
    return paths, notes


def _traces(run: PunctaRun, notes: list[str]) -> tuple[Trace, ...]:
    results = run.results
    if results.events is None or not np.isfinite(results.dff).any():
        return ()
    dff, events = results.table(results.dff), results.events
    counts = np.bincount(events.track, minlength=len(dff))
    known = np.isfinite(dff).sum(axis=1)
    order = np.lexsort((-known, -counts))
    order = order[known[order] > 1][:_MOST_TRACES]
    if (n_traced := int((known > 1).sum())) > order.size:
        notes.append(f"calcium of {order.size} of {n_traced} tracks is shown, those with most events")
    step_s = results.frame_interval_s if np.isfinite(results.frame_interval_s) else 1.0
    t_s = np.arange(dff.shape[1]) * step_s
    traces: list[Trace] = []
    for k in order.tolist():
        own = events.track == k
        x, y = thin(t_s, dff[k], 2000)
        traces.append(Trace(k, x, y, events.peak_frame[own] * step_s, events.peak_dff[own]))
    return tuple(traces)
