"""Rules that look for groups in the correlation matrix: the largest clique or block, segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.slices.selection._clustering import dbscan, k_means, largest_block, largest_clique, silhouette
from parfocal.slices.selection._decide import (
    checked_fraction,
    decide,
    joined,
    kept_only,
    matrix_of,
    scored_reasons,
)
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._sharpness_rules import peak_relative


@dataclass(frozen=True)
class Segment:
    """A group of frames that correlate with each other.

    Attributes
    ----------
    frames : tuple of int
        Ascending.
    rank_by : float
        Number of frames times their mean sharpness over the stack's highest.
    least_correlation : float
        Lowest correlation inside.
    """

    frames: tuple[int, ...]
    rank_by: float
    least_correlation: float


def clique(evidence: StackEvidence, *, tau: float = 0.95, alpha: float | None = 0.7) -> Selection:
    """Keep the largest group of sharp frames that all correlate with each other by `tau`.

    Of equally large groups the sharper one. The exact search can take long where very many groups overlap; beyond
    200,000 steps the best so far is kept and a note says so.

    Parameters
    ----------
    evidence : StackEvidence
        With the correlation matrix.
    tau : float
        Least correlation of every pair.
    alpha : float, optional
        Only frames that `peak_relative` keeps take part; None: every frame.
    """
    parameters: dict[str, Any] = {"tau": tau, "alpha": alpha}
    matrix, pool = _begun("clique", evidence, tau, alpha)
    frames = np.flatnonzero(pool.keep)
    linked = matrix[np.ix_(frames, frames)] >= tau
    found, complete = largest_clique(linked, _weights(evidence)[frames])
    notes = list(pool.notes)
    if not complete:
        notes.append("search_stopped: the clique may not be the largest there is")
    kept = frames[found].tolist()
    fits = kept_only(evidence.n_frames, kept, f"not in the largest clique, frames {_said(kept)}")
    return decide("clique", parameters, _first(pool.reasons, fits), tau, notes)


def block(evidence: StackEvidence, *, tau: float = 0.95, alpha: float | None = 0.7) -> Selection:
    """Keep the longest run of consecutive sharp frames that all correlate with each other by `tau`.

    Parameters as in `clique`. Frames that are not sharp interrupt a run.
    """
    parameters: dict[str, Any] = {"tau": tau, "alpha": alpha}
    matrix, pool = _begun("block", evidence, tau, alpha)
    linked = (matrix >= tau) & pool.keep & pool.keep[:, np.newaxis]
    weights = np.where(pool.keep, _weights(evidence), -np.inf)
    kept = [i for i in largest_block(linked, weights) if pool.keep[i]]
    fits = kept_only(evidence.n_frames, kept, f"not in the largest block, frames {_said(kept)}")
    return decide("block", parameters, _first(pool.reasons, fits), tau, pool.notes)


def dbscan_segments(
    evidence: StackEvidence, *, tau: float = 0.95, min_samples: int = 2, alpha: float | None = 0.7
) -> tuple[Segment, ...]:
    """Return the dense groups in the matrix, best first: by number of frames times mean sharpness.

    DBSCAN on distances max(0, 1 - r) with eps = 1 - `tau`. A chain of frames, each like the next, is one group,
    though its ends may differ; see `Segment.least_correlation`.
    """
    if min_samples < 1:
        raise BadInputError(f"dbscan: min_samples is {min_samples}, expected 1 or more")
    matrix, pool = _begun("dbscan", evidence, tau, alpha)
    frames = np.flatnonzero(pool.keep)
    distance = np.maximum(0.0, 1 - matrix[np.ix_(frames, frames)])
    # A correlation of exactly tau counts as linked, whatever 1 - tau rounds to.
    labels = dbscan(distance, 1 - tau + 1e-12, min_samples)
    return _ranked(evidence, matrix, frames, labels)


def dbscan_rule(
    evidence: StackEvidence,
    *,
    tau: float = 0.95,
    min_samples: int = 2,
    alpha: float | None = 0.7,
    rank: int = 0,
) -> Selection:
    """Keep the best of the groups that DBSCAN finds, or the one of that `rank`; notes name them all.

    Parameters
    ----------
    evidence : StackEvidence
        With the correlation matrix.
    tau : float
        Frames that correlate so are neighbours.
    min_samples : int
        Neighbours, itself included, that make a frame the core of a group.
    alpha : float, optional
        Only frames that `peak_relative` keeps take part; None: every frame.
    rank : int
        Which group: 0 is the best.
    """
    parameters: dict[str, Any] = {"tau": tau, "min_samples": min_samples, "alpha": alpha, "rank": rank}
    segments = dbscan_segments(evidence, tau=tau, min_samples=min_samples, alpha=alpha)
    return _of_segments("dbscan", parameters, evidence, alpha, segments, rank, tau)


def kmeans_segments(
    evidence: StackEvidence,
    *,
    k: int | None = None,
    k_max: int = 5,
    min_silhouette: float = 0.5,
    alpha: float | None = 0.7,
) -> tuple[Segment, ...]:
    """Return the groups that k-means finds among the frames' correlation distances, best first.

    A frame's coordinates are its distances 1 - r to every frame. `k` None: the number from 2 to `k_max` with the
    largest mean silhouette, where that reaches `min_silhouette`, else one group.
    """
    if k is not None and k < 1:
        raise BadInputError(f"kmeans: k is {k}, expected 1 or more")
    matrix, pool = _begun("kmeans", evidence, 1.0, alpha)
    frames = np.flatnonzero(pool.keep)
    distance = np.maximum(0.0, 1 - matrix[np.ix_(frames, frames)])
    labels = np.zeros(frames.size, np.int64)
    if k is not None and frames.size > k:
        labels = k_means(distance, k)
    elif k is None and frames.size > 2:
        tried = [k_means(distance, number) for number in range(2, min(k_max, frames.size - 1) + 1)]
        values = [silhouette(distance, one) for one in tried]
        if values and max(values) >= min_silhouette:
            labels = tried[int(np.argmax(values))]
    elif k is not None:
        labels = np.arange(frames.size)
    return _ranked(evidence, matrix, frames, labels)


def kmeans_rule(
    evidence: StackEvidence,
    *,
    k: int | None = None,
    k_max: int = 5,
    min_silhouette: float = 0.5,
    alpha: float | None = 0.7,
    rank: int = 0,
) -> Selection:
    """Keep the best of the groups of `kmeans_segments`, or the one of that `rank`; notes name them all."""
    parameters: dict[str, Any] = {
        "k": k,
        "k_max": k_max,
        "min_silhouette": min_silhouette,
        "alpha": alpha,
        "rank": rank,
    }
    segments = kmeans_segments(evidence, k=k, k_max=k_max, min_silhouette=min_silhouette, alpha=alpha)
    return _of_segments("kmeans", parameters, evidence, alpha, segments, rank, float("nan"))


def _begun(
    rule: str, evidence: StackEvidence, tau: float, alpha: float | None
) -> tuple[NDArray[np.float64], Selection]:
    checked_fraction(rule, "tau", tau, -1.0)
    matrix = matrix_of(evidence, rule)
    if alpha is None:
        return matrix, decide(rule, {}, scored_reasons(evidence))
    return matrix, peak_relative(evidence, alpha=alpha)


def _weights(evidence: StackEvidence) -> NDArray[np.float64]:
    return np.nan_to_num(evidence.sharpness, nan=0.0)


def _ranked(
    evidence: StackEvidence, matrix: NDArray[np.float64], frames: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[Segment, ...]:
    weights = _weights(evidence)
    highest = max(float(weights.max()), 1e-300) if weights.size else 1.0
    segments: list[Segment] = []
    for label in np.unique(labels[labels >= 0]):
        members = frames[labels == label]
        rank_by = members.size * max(0.0, float(weights[members].mean())) / highest
        least = float(matrix[np.ix_(members, members)].min())
        segments.append(Segment(tuple(int(i) for i in members), rank_by, least))
    return tuple(sorted(segments, key=lambda s: (-s.rank_by, s.frames)))


def _of_segments(
    rule: str,
    parameters: dict[str, Any],
    evidence: StackEvidence,
    alpha: float | None,
    segments: Sequence[Segment],
    rank: int,
    threshold: float,
) -> Selection:
    _, pool = _begun(rule, evidence, 1.0, alpha)
    notes = list(pool.notes)
    notes += [
        f"segment {number}: frames {_said(s.frames)}, rank {s.rank_by:.2f}, "
        f"correlations from {s.least_correlation:.3f}"
        for number, s in enumerate(segments)
    ]
    if rank < 0:
        raise BadInputError(f"{rule}: rank is {rank}, expected 0 or more")
    if not segments and pool.keep.any():
        top = int(np.argmax(np.where(pool.keep, _weights(evidence), -np.inf)))
        notes.append(
            f"fell back: no sharp frames correlate enough to make a group; frame {top}, the sharpest, stays"
        )
        alone = kept_only(evidence.n_frames, (top,), "in no segment")
        return decide(rule, parameters, _first(pool.reasons, alone), threshold, notes)
    if rank >= len(segments):
        notes.append(f"nothing survived: there are {len(segments)} segments, rank {rank} was asked for")
        none = kept_only(evidence.n_frames, (), "in no segment")
        return decide(rule, parameters, _first(pool.reasons, none), threshold, notes)
    where = {frame: number for number, s in enumerate(segments) for frame in s.frames}
    fits = [
        "" if where.get(i) == rank else f"in segment {where[i]}" if i in where else "in no segment"
        for i in range(evidence.n_frames)
    ]
    return decide(rule, parameters, _first(pool.reasons, fits), threshold, notes)


def _first(pool: Sequence[str], fits: Sequence[str]) -> list[str]:
    """Return why a frame was no candidate, else why it was not chosen: the second follows from the first."""
    return [candidate or chosen for candidate, chosen in zip(joined(pool), fits)]


def _said(frames: Sequence[int]) -> str:
    """Return frame numbers in words: runs as `3-7`."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][-1] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"
