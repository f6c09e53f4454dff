"""Which pairs of neighbouring frames do not fit together, and which frame of a pair is to blame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.slices.selection._decide import MAD_TO_SD, robust_scale
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
    `dip`        what the three pairs on either side lead to expect - k 1.4826 MAD of such differences: what rises
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
        expected = _expected(adjacent)
        _, scale = robust_scale(expected - adjacent)
        depth = max(k * scale, min_drop)
        return PairLimits(expected - depth, depth)
    median = float(np.median(finite))
    mad = MAD_TO_SD * float(np.median(np.abs(finite - median)))
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


def _expected(adjacent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the pairs around lead to expect of each pair, at the least.

    The lower of the medians of the three pairs on either side: on a slope that is the lower side, so a slope is no
    dip. At the ends, where one side is missing: the lower of the other side's lowest and of its first two,
    prolonged.
    """
    n = adjacent.size
    expected = np.empty(n)
    known = np.where(np.isfinite(adjacent), adjacent, -1.0)
    for i in range(n):
        left, right = known[max(0, i - 3) : i][::-1], known[i + 1 : i + 4]
        if left.size and right.size:
            expected[i] = min(float(np.median(left)), float(np.median(right)))
        else:
            side = right if right.size else left
            prolonged = 2 * side[0] - side[1] if side.size > 1 else side[0]
            expected[i] = min(float(side.min()), float(prolonged))
    return expected


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
    for cut, run, other in ((0, 0, 1), (len(cuts) - 1, len(runs) - 1, len(runs) - 2)):
        if not cuts or cut in cleared:
            continue
        (first, stop), (first_other, stop_other) = runs[run], runs[other]
        if stop - first <= 2 and stop - first < stop_other - first_other:
            for frame in range(first, stop):
                reasons[frame] = f"moved: at the end of the stack, correlation {evidence.adjacent[cuts[cut]]:.3f}"
            cleared.add(cut)
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
    # With many bad frames the medians are theirs: never so low that frames of a bad pair would pass.
    nearer = float(np.fmax(evidence.adjacent[i], evidence.adjacent[j - 1]))
    return value >= limit - lower and not value <= nearer
