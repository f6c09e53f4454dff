"""How true calcium events are, at whose punctum, and how near."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.linking import assign
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumEvents, PunctaTracks
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._frames import FrameTally, count_frames, frame_score, n_visible_on
from parfocal.puncta.evaluation._matching import Matching
from parfocal.puncta.evaluation._tally import share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EventTally:
    """What the score of events follows from, and what adds up over recordings.

    Parameters
    ----------
    n_true, n_found, n_matched : int
        Events.
    n_reached : int
        True ones that were found at some punctum within reach, right or wrong.
    late_s : float64[n_matched]
        Onset found less true.
    away_nm : float64[n_matched]
        From a true event to the localization that it was given to.
    frames : FrameTally
    """

    n_true: int
    n_found: int
    n_matched: int
    n_reached: int
    late_s: Floats
    away_nm: Floats
    frames: FrameTally


@dataclass(frozen=True)
class EventScore:
    """Calcium events beside the truth; NaN for what there is nothing of.

    Parameters
    ----------
    f1, precision, recall : float
        Of events: one found is right if it is at the right punctum and begins near enough in time.
    sensitivity : float
        Share of punctum-frames with signal, of all visible ones, that were found to have it; a punctum that was
        not localized there was not.
    specificity : float
        Share of localized punctum-frames without signal that were found to have none.
    frame_f1 : float
        F1 of punctum-frames.
    association : float
        Of the true events that were found at some punctum within reach, right or wrong: the share that was found
        at its own. How often calcium is tied to its own spot.
    colocalization_nm : float
        Median distance from where a true event is to the localization of the punctum that it was given to.
    onset_error_s, onset_bias_s : float
        Median absolute, and median, difference of onsets.
    n_true, n_found, n_matched : int
    """

    f1: float
    precision: float
    recall: float
    sensitivity: float
    specificity: float
    frame_f1: float
    association: float
    colocalization_nm: float
    onset_error_s: float
    onset_bias_s: float
    n_true: int
    n_found: int
    n_matched: int

    def figures(self) -> dict[str, Any]:
        """Return the figures by name; None for what there is not."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def score_events(
    truth: PunctaTruth,
    localizations: Localizations,
    tracks: PunctaTracks,
    events: CalciumEvents,
    matching: Matching,
    *,
    onset_tolerance_s: float | None = None,
    min_peak_dff: float = 0.0,
    reach_um: float = 0.5,
) -> EventScore:
    """Judge calcium events, of which waves are left out.

    Parameters
    ----------
    truth, localizations, tracks, events, matching
        `matching` is of these localizations with this truth.
    onset_tolerance_s : float, optional
        How far apart onsets may be; two frames by default.
    min_peak_dff : float
        True events that are weaker are not asked for.
    reach_um : float
        For `association`: how near another punctum must be to have taken an event.
    """
    tally = tally_events(
        truth,
        localizations,
        tracks,
        events,
        matching,
        onset_tolerance_s=onset_tolerance_s,
        min_peak_dff=min_peak_dff,
        reach_um=reach_um,
    )
    return event_score(tally)


def event_score(tally: EventTally) -> EventScore:
    """Return the score of counts."""
    by_frame = frame_score(tally.frames)
    return EventScore(
        f1=share(2 * tally.n_matched, tally.n_found + tally.n_true),
        precision=share(tally.n_matched, tally.n_found),
        recall=share(tally.n_matched, tally.n_true),
        sensitivity=by_frame.sensitivity,
        specificity=by_frame.specificity,
        frame_f1=by_frame.f1,
        association=share(tally.n_matched, tally.n_reached),
        colocalization_nm=_median(tally.away_nm),
        onset_error_s=_median(np.abs(tally.late_s)),
        onset_bias_s=_median(tally.late_s),
        n_true=tally.n_true,
        n_found=tally.n_found,
        n_matched=tally.n_matched,
    )


def tally_events(
    truth: PunctaTruth,
    localizations: Localizations,
    tracks: PunctaTracks,
    events: CalciumEvents,
    matching: Matching,
    *,
    onset_tolerance_s: float | None = None,
    min_peak_dff: float = 0.0,
    reach_um: float = 0.5,
) -> EventTally:
    """Count what `score_events` judges; the parameters are its own."""
    tolerance = 2 * truth.frame_interval_s if onset_tolerance_s is None else onset_tolerance_s
    track, frame = np.asarray(tracks.track, np.int64), np.asarray(localizations.frame, np.int64)
    punctum = np.full(track.size, -1, np.int64)
    punctum[matching.found_row] = truth.punctum[matching.truth_row]

    kept = np.flatnonzero(~events.is_wave)
    owner = _owners(events, kept, track, frame, punctum)
    asked = np.flatnonzero((truth.event_punctum >= 0) & (truth.event_peak_dff >= min_peak_dff))
    weak = np.flatnonzero((truth.event_punctum >= 0) & (truth.event_peak_dff < min_peak_dff))
    asked = asked[_can_be_seen(truth, asked)]
    right, of = _paired(truth, asked, events, kept, owner, tolerance)
    # a weak one that was found all the same is not held against anybody
    rest = np.setdiff1d(np.arange(kept.size), of)
    _, of_weak = _paired(truth, weak, events, kept[rest], owner[rest], tolerance)
    late = events.onset_s[kept[of]] - truth.event_onset_s[asked[right]]
    at_all = _anywhere(truth, asked, events, kept, localizations, track, tolerance, reach_um)
    on, said = _punctum_frames(truth, events, kept, track, frame, matching)
    return EventTally(
        n_true=int(asked.size),
        n_found=int(kept.size - of_weak.size),
        n_matched=int(right.size),
        n_reached=len(at_all | set(right.tolist())),
        late_s=late,
        away_nm=_distances_nm(truth, asked[right], events, kept[of], localizations, track, frame),
        frames=count_frames(on, ~on, said, n_visible_on(truth.is_calcium_on, truth, matching), on.size),
    )


def _owners(events: CalciumEvents, kept: Ints, track: Ints, frame: Ints, punctum: Ints) -> Ints:
    """Return the true punctum of each event: whose most of its track's localizations are while it lasts."""
    owner = np.full(kept.size, -1, np.int64)
    rows_of = _rows_by_track(track)
    for k, event in enumerate(kept.tolist()):
        rows = rows_of.get(int(events.track[event]), np.empty(0, np.int64))
        during = rows[(frame[rows] >= events.begin_frame[event]) & (frame[rows] <= events.end_frame[event])]
        named = punctum[during if during.size else rows]
        named = named[named >= 0]
        if named.size:
            owner[k] = np.bincount(named).argmax()
    return owner


def _can_be_seen(truth: PunctaTruth, events: Ints) -> NDArray[np.bool_]:
    """Say which events have a punctum that is visible at all while they begin: others nobody can place."""
    at = np.round(truth.event_onset_s[events] / truth.frame_interval_s).astype(np.int64)
    seen = set(zip(truth.punctum[truth.is_visible].tolist(), truth.frame[truth.is_visible].tolist()))
    whose = truth.event_punctum[events]
    return np.array(
        [any((int(p), int(f) + k) in seen for k in (-1, 0, 1)) for p, f in zip(whose, at)], np.bool_
    ).reshape(-1)


def _paired(
    truth: PunctaTruth, asked: Ints, events: CalciumEvents, kept: Ints, owner: Ints, tolerance_s: float
) -> tuple[Ints, Ints]:
    """Return places in `asked` and in `kept` of events that are one, optimally."""
    late = np.abs(events.onset_s[kept][None, :] - truth.event_onset_s[asked][:, None])
    a, b = np.nonzero((truth.event_punctum[asked][:, None] == owner[None, :]) & (late <= tolerance_s))
    pairs = assign(a, b, late[a, b], asked.size, kept.size, math.inf).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


def _anywhere(
    truth: PunctaTruth,
    asked: Ints,
    events: CalciumEvents,
    kept: Ints,
    localizations: Localizations,
    track: Ints,
    tolerance_s: float,
    reach_um: float,
) -> set[int]:
    """Return the places in `asked` of events for which something was found near in space and time."""
    size_y, size_x = localizations.pixel_size_um
    rows_of = _rows_by_track(track)
    found: set[int] = set()
    for event in kept.tolist():
        rows = rows_of.get(int(events.track[event]), np.empty(0, np.int64))
        near = np.flatnonzero(np.abs(truth.event_onset_s[asked] - events.onset_s[event]) <= tolerance_s)
        if not (rows.size and near.size):
            continue
        row = rows[np.abs(localizations.frame[rows] - events.peak_frame[event]).argmin()]
        dy = (truth.event_y_px[asked[near]] - localizations.y_px[row]) * size_y
        dx = (truth.event_x_px[asked[near]] - localizations.x_px[row]) * size_x
        found.update(near[np.hypot(dy, dx) <= reach_um].tolist())
    return found


def _punctum_frames(
    truth: PunctaTruth, events: CalciumEvents, kept: Ints, track: Ints, frame: Ints, matching: Matching
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each pair of the matching that is in a track: is there signal, and was it found."""
    n_tracks = int(track.max()) + 1 if track.size else 0
    n_frames = 1 + int(max(frame.max(initial=0), events.end_frame.max(initial=0)))
    edges = np.zeros((n_tracks, n_frames + 1), np.int32)
    np.add.at(edges, (events.track[kept], events.begin_frame[kept]), 1)
    np.add.at(edges, (events.track[kept], events.end_frame[kept] + 1), -1)
    is_on = np.cumsum(edges, axis=1) > 0
    of = track[matching.found_row]
    tracked = of >= 0
    said = is_on[of[tracked], frame[matching.found_row][tracked]]
    return truth.is_calcium_on[matching.truth_row][tracked], said


def _distances_nm(
    truth: PunctaTruth,
    asked: Ints,
    events: CalciumEvents,
    found: Ints,
    localizations: Localizations,
    track: Ints,
    frame: Ints,
) -> Floats:
    size_y, size_x = localizations.pixel_size_um
    rows_of = _rows_by_track(track)
    onset = np.round(truth.event_onset_s[asked] / truth.frame_interval_s)
    away: list[float] = []
    for real, event, at in zip(asked.tolist(), found.tolist(), onset.tolist()):
        rows = rows_of[int(events.track[event])]
        row = rows[np.abs(frame[rows] - at).argmin()]
        dy = (truth.event_y_px[real] - localizations.y_px[row]) * size_y
        dx = (truth.event_x_px[real] - localizations.x_px[row]) * size_x
        away.append(1e3 * math.hypot(dy, dx))
    return np.array(away, np.float64)


def _rows_by_track(track: Ints) -> dict[int, Ints]:
    order = np.argsort(track, kind="stable")
    names, begins = np.unique(track[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, begins[1:])))


def _median(values: Floats) -> float:
    return float(np.median(values)) if values.size else math.nan
