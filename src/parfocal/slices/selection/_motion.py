"""Which pairs of neighbouring frames do not fit together, and which frame of a pair is to blame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd
from parfocal.slices.selection._decide import robust_scale
from parfocal.slices.selection._evidence import StackEvidence

Limit = Literal["floor", "mean_sd", "mad", "either", "both", "dip"]
Blame = Literal["skip", "both"]

LIMITS: tuple[Limit, ...] = ("floor", "mean_sd", "mad", "either", "both", "dip")


@dataclass(frozen=True)
class PairLimits:
    """How low a correlation of neighbours may be.

    Attributes
    ----------
    limit : ndarray of float64, shape (n - 1,)
        For each pair of neighbours.
    threshold : float
        The one number behind them (of "dip": the depth of a dip).
    """

    limit: NDArray[np.float64]
    threshold: float


def pair_limits(
    adjacent: NDArray[np.float64], method: Limit, floor: float, k: float, min_drop: float
) -> PairLimits:
    """Return how low the correlation of each pair may be.

    ===========  ==========================================================================================
    `floor`      `floor`
    `mean_sd`    mean - k SD of all pairs
    `mad`        median - k 1.4826 MAD of all pairs
    `either`     the higher of `floor` and `mad`: a pair is bad if either says so
    `both`       the lower of them: a pair is bad if both say so
    `dip`        what the good pairs on either side lead to expect - k 1.4826 MAD of such differences: what rises
                 and falls slowly along a stack, as correlation does with defocus, is no motion
    ===========  ==========================================================================================

    Statistical limits are at least `min_drop` below their centre: the scatter of a very steady stack would condemn
    differences nobody sees.
    """
    finite = adjacent[np.isfinite(adjacent)]
    even = np.ones_like(adjacent)
    if method == "floor" or finite.size < 3:
        return PairLimits(floor * even, floor)
    if method == "mean_sd":
        mean = float(finite.mean())
        limit = mean - max(k * float(finite.std()), min_drop)
        return PairLimits(limit * even, limit)
    if method == "dip":
        return _dip_limits(adjacent, k, min_drop)
    median = float(np.median(finite))
    mad = robust_sd(finite)
    _, scale = robust_scale(finite)
    limit = median - max(k * scale, min_drop)
    if mad == 0 and scale == 0:
        limit = floor
    if method == "either":
        limit = max(limit, floor)
    elif method == "both":
        limit = min(limit, floor)
    elif method != "mad":
        raise BadInputError(f"motion: limit {method!r} is unknown; expected one of {', '.join(LIMITS)}")
    return PairLimits(limit * even, limit)


def _dip_limits(adjacent: NDArray[np.float64], k: float, min_drop: float) -> PairLimits:
    """Return the limits of "dip": again without the dips, until there are no more of them."""
    bad = ~np.isfinite(adjacent)
    while True:
        expected = _expected(adjacent, ~bad)
        _, scale = robust_scale((expected - adjacent)[~bad])
        depth = max(k * scale, min_drop) if math.isfinite(scale) else min_drop
        dips = bad | ~(adjacent >= expected - depth)
        if (dips == bad).all():
            return PairLimits(expected - depth, depth)
        bad = dips


def _expected(adjacent: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what the good pairs around lead to expect of each pair, at the least.

    The lower of the highest of the nearest three on either side: on a slope that is the pair on the lower side, so
    a slope is no dip. Near the ends, where one side has fewer than two pairs: what the three of the other prolong
    to, by lines through any two of them or by a parabola, whichever is lower, so an ever steeper slope is no dip.
    """
    n = adjacent.size
    expected = np.empty(n)
    for i in range(n):
        left = [j for j in range(i - 1, -1, -1) if good[j]][:3]
        right = [j for j in range(i + 1, n) if good[j]][:3]
        if len(left) > 1 and len(right) > 1:
            expected[i] = min(adjacent[left].max(), adjacent[right].max())
        else:
            expected[i] = _prolonged(adjacent[max(left, right, key=len)])
    return expected


def _prolonged(nearest: NDArray[np.float64]) -> float:
    """Return what up to three values, the nearest first, go on to one step on, however far off the nearest is."""
    if not nearest.size:
        return -1.0
    lines = [
        nearest[a] + (nearest[a] - nearest[b]) * (a + 1) / (b - a) for b in range(nearest.size) for a in range(b)
    ]
    found = min(float(nearest.max()), float(max(lines, default=nearest[0])))
    if nearest.size == 3:
        found = min(found, float(3 * nearest[0] - 3 * nearest[1] + nearest[2]))
    return found


def excursions(evidence: StackEvidence, least: float) -> list[int]:
    """Return the frames whose neighbours fit each other better, by `least`, than either fits them.

    Correlation falls with distance whatever the sample: the farther pair fits better only past a bad frame.
    """
    nearer = np.fmax(evidence.adjacent[:-1], evidence.adjacent[1:])
    worse = ~(evidence.skip - nearer <= least) & np.isfinite(evidence.skip)
    return [int(i) + 1 for i in np.flatnonzero(worse)]


@dataclass(frozen=True)
class Blamed:
    """What follows from bad pairs: a reason for each blamed frame, and notes."""

    reasons: dict[int, str]
    notes: tuple[str, ...]


def blame_both(evidence: StackEvidence, bad: NDArray[np.bool_]) -> Blamed:
    """Blame both frames of every bad pair."""
    reasons: dict[int, str] = {}
    for i in np.flatnonzero(bad).tolist():
        text = f"moved: correlation of frames {i} and {i + 1} is {evidence.adjacent[i]:.3f}"
        for frame in (i, i + 1):
            reasons.setdefault(frame, text)
    return Blamed(reasons, ())


def blame_by_skip(evidence: StackEvidence, bad: NDArray[np.bool_], limit: NDArray[np.float64]) -> Blamed:
    """Blame only the frames between two that fit each other across them.

    Bad pairs cut the stack into runs of frames. Where the frames on both sides of one or more short runs correlate
    as frames that far apart generally do (the limit of neighbours, lowered by as much as the median falls from gap
    1 to that gap), those runs were an excursion: only they are blamed. With the matrix any gap can be judged,
    without it a single frame, from `skip`. A run of up to two frames at an end of the stack is blamed when it is
    shorter than the run next to it. A bad pair that nothing clears is blamed on both frames, as the older rule
    does.
    """
    cuts = np.flatnonzero(bad).tolist()
    starts = [0, *(i + 1 for i in cuts)]
    stops = [*(i + 1 for i in cuts), evidence.n_frames]
    runs = list(zip(starts, stops))
    cleared: set[int] = set()
    reasons: dict[int, str] = {}
    # Short excursions first: a long one must not swallow good frames that a short one would have cleared.
    groups = sorted(
        ((runs[b][1] - runs[a][0], a, b) for a in range(1, len(runs) - 1) for b in range(a, len(runs) - 1)),
        key=lambda group: group[0],
    )
    for length, a, b in groups:
        if any(cut in cleared for cut in range(a - 1, b + 1)):
            continue
        before, after = runs[a - 1][1] - 1, runs[b + 1][0]
        if length > max(1, evidence.n_frames // 4) or not _fit(evidence, before, after, limit[before]):
            continue
        across = _correlation(evidence, before, after)
        for frame in range(runs[a][0], runs[b][1]):
            reasons[frame] = (
                f"moved: does not fit frames {before} and {after}, which fit each other (correlation {across:.3f})"
            )
        cleared.update(range(a - 1, b + 1))
    for cut, frames in _ends(runs):
        if not cleared & set(cut):
            for frame in frames:
                reasons[frame] = (
                    f"moved: at the end of the stack, correlation {evidence.adjacent[cuts[cut[-1]]]:.3f}"
                )
            cleared.update(cut)
    notes: list[str] = []
    for number, i in enumerate(cuts):
        if number in cleared:
            continue
        notes.append(f"step: what follows frame {i} does not fit what precedes it ({evidence.adjacent[i]:.3f})")
        for frame in (i, i + 1):
            reasons.setdefault(
                frame, f"moved: correlation of frames {i} and {i + 1} is {evidence.adjacent[i]:.3f}"
            )
    return Blamed(reasons, tuple(notes))


def _ends(runs: list[tuple[int, int]]) -> list[tuple[list[int], range]]:
    """Return cuts and frames of up to two frames at either end, fewer than the run they are cut from."""
    found: list[tuple[list[int], range]] = []
    last = len(runs) - 1
    for n_runs in (2, 1):
        if n_runs > last:
            continue
        (first, _), (start, stop) = runs[0], runs[n_runs]
        if start - first <= 2 and start - first < stop - start:
            found.append((list(range(n_runs)), range(first, start)))
        (start, stop), (_, end) = runs[last - n_runs], runs[last]
        if end - stop <= 2 and end - stop < stop - start:
            found.append((list(range(last - n_runs, last)), range(stop, end)))
    return found


def _correlation(evidence: StackEvidence, i: int, j: int) -> float:
    if evidence.matrix is not None:
        return float(evidence.matrix[i, j])
    if j - i == 2:
        return float(evidence.skip[i])
    return float(evidence.adjacent[i]) if j - i == 1 else math.nan


def _fit(evidence: StackEvidence, i: int, j: int, limit: float) -> bool:
    """Say whether two frames correlate as frames so far apart do."""
    value, gap = _correlation(evidence, i, j), j - i
    if not math.isfinite(value):
        return False
    if evidence.matrix is not None:
        usual = np.diagonal(np.asarray(evidence.matrix, np.float64), gap)
    else:
        usual = evidence.skip if gap == 2 else evidence.adjacent
    finite, near = usual[np.isfinite(usual)], evidence.adjacent[np.isfinite(evidence.adjacent)]
    lower = max(0.0, float(np.median(near)) - float(np.median(finite))) if near.size else 0.0
    # It fits where it is two thirds of the way from how the bad frame fits to how a good one would.
    nearer = float(np.fmax(evidence.adjacent[i], evidence.adjacent[j - 1]))
    if not math.isfinite(nearer):
        return value >= limit - lower
    return value > nearer and value >= nearer + (limit - lower - nearer) * 2 / 3
