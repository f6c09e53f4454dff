"""How true tracks are: whole, pure, and linked where they should be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta._tracks import PunctaTracks
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._matching import Matching
from parfocal.puncta.evaluation._tally import share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrackTally:
    """What the score of tracks follows from, and what adds up over recordings.

    Parameters
    ----------
    wholeness : float64[n_puncta]
        Of each punctum the largest share of its visible frames that one track has.
    pureness : float64[n_tracks]
        Of each track the largest share of its localizations that one punctum has.
    n_switches : int
    n_true_links, n_made_links, n_right_links : int
    """

    wholeness: Floats
    pureness: Floats
    n_switches: int
    n_true_links: int
    n_made_links: int
    n_right_links: int


@dataclass(frozen=True)
class TrackScore:
    """Tracks beside the truth; NaN for what there is nothing of.

    Parameters
    ----------
    completeness : float
        Mean over puncta of the largest share of their visible frames that one track has.
    purity : float
        Mean over tracks of the largest share of their localizations that one punctum has; a false one is nobody's.
    n_switches : int
        How often a punctum that is localized again is in another track than before.
    link_recall, link_precision : float
        Of the links between localizations that follow each other: how many of the true ones were made, and how
        many of those made are true. True is a link between two that were matched to one punctum, none of it being
        localized between, at most `max_missing_frames` frames missing. So they judge linking alone, and
        completeness judges finding too.
    n_puncta, n_tracks : int
    """

    completeness: float
    purity: float
    n_switches: int
    link_recall: float
    link_precision: float
    n_puncta: int
    n_tracks: int

    def figures(self) -> dict[str, Any]:
        """Return the figures by name; None for what there is not."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def score_tracks(
    truth: PunctaTruth,
    found_frame: NDArray[np.integer[Any]],
    tracks: PunctaTracks,
    matching: Matching,
    *,
    max_missing_frames: int = 2,
    min_frames: int = 2,
) -> TrackScore:
    """Judge tracks by a matching of their localizations.

    Parameters
    ----------
    truth : PunctaTruth
    found_frame : int64[n_localizations]
    tracks : PunctaTracks
    matching : Matching
        Of these localizations with this truth.
    max_missing_frames : int
        Over how many missing frames a link is asked for.
    min_frames : int
        Puncta that are visible in fewer frames are not asked for.
    """
    tally = tally_tracks(
        truth, found_frame, tracks, matching, max_missing_frames=max_missing_frames, min_frames=min_frames
    )
    return track_score(tally)


def track_score(tally: TrackTally) -> TrackScore:
    """Return the score of counts."""
    return TrackScore(
        completeness=_mean(tally.wholeness),
        purity=_mean(tally.pureness),
        n_switches=tally.n_switches,
        link_recall=share(tally.n_right_links, tally.n_true_links),
        link_precision=share(tally.n_right_links, tally.n_made_links),
        n_puncta=tally.wholeness.size,
        n_tracks=tally.pureness.size,
    )


def tally_tracks(
    truth: PunctaTruth,
    found_frame: NDArray[np.integer[Any]],
    tracks: PunctaTracks,
    matching: Matching,
    *,
    max_missing_frames: int = 2,
    min_frames: int = 2,
) -> TrackTally:
    """Count what `score_tracks` judges; the parameters are its own."""
    track = np.asarray(tracks.track, np.int64)
    frame = np.asarray(found_frame, np.int64)
    punctum = np.full(track.size, -1, np.int64)
    punctum[matching.found_row] = truth.punctum[matching.truth_row]

    n_puncta = int(truth.punctum.max()) + 1 if truth.punctum.size else 0
    asked = truth.is_visible.copy()
    asked[matching.ignored_truth_row] = False
    n_visible = np.bincount(truth.punctum[asked], minlength=n_puncta)
    has_both = (track >= 0) & (punctum >= 0)
    best_of_punctum, best_of_track = np.zeros(n_puncta), np.zeros(tracks.n_tracks)
    if has_both.any():
        pairs, shared = np.unique(
            np.column_stack([punctum[has_both], track[has_both]]), axis=0, return_counts=True
        )
        np.maximum.at(best_of_punctum, pairs[:, 0], shared)
        np.maximum.at(best_of_track, pairs[:, 1], shared)
    is_asked = n_visible >= max(min_frames, 1)
    # what was ignored is neither for nor against a track
    counts_for = track >= 0
    counts_for[matching.ignored_found_row] = False
    n_in_track = np.bincount(track[counts_for], minlength=tracks.n_tracks)
    is_track = n_in_track > 0

    true_links = _links(frame, punctum, max_missing_frames)
    made_links = _links(frame, track, None)
    return TrackTally(
        wholeness=best_of_punctum[is_asked] / n_visible[is_asked],
        pureness=best_of_track[is_track] / n_in_track[is_track],
        n_switches=_switches(frame, punctum, track),
        n_true_links=len(true_links),
        n_made_links=len(made_links),
        n_right_links=len(true_links & made_links),
    )


def _links(frame: Ints, owner: Ints, max_missing_frames: int | None) -> set[tuple[int, int]]:
    """Return the rows that follow each other under one owner."""
    order = np.lexsort((frame, owner))
    order = order[owner[order] >= 0]
    a, b = order[:-1], order[1:]
    same = owner[a] == owner[b]
    if max_missing_frames is not None:
        same &= frame[b] - frame[a] <= max_missing_frames + 1
    return set(zip(a[same].tolist(), b[same].tolist()))


def _switches(frame: Ints, punctum: Ints, track: Ints) -> int:
    order = np.lexsort((frame, punctum))
    order = order[(punctum[order] >= 0) & (track[order] >= 0)]
    a, b = order[:-1], order[1:]
    return int(np.count_nonzero((punctum[a] == punctum[b]) & (track[a] != track[b])))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan
