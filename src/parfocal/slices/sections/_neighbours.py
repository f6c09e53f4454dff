"""Which neighbours a section is compared with, and which of them is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parfocal.slices.sections._pair_quality import (
    PairQuality,
    SampledSection,
    compare_sections,
    middle_of,
    sample_section,
    sampled_planes,
)
from parfocal.slices.sections._source import SectionSource

LOW = 0.5
"""A score below this share of the median is low."""

_CLEARLY = 0.1
_FARTHEST = 8  # sections; beyond, tissue has changed too much to tell a bad section from a distant one

Pairs = dict[tuple[str, str], PairQuality]


@dataclass(frozen=True)
class Judged:
    """Score of one section, and whose comparison it is.

    Attributes
    ----------
    score : float
        0 to 1; NaN where there is none to compare with.
    by : str
        The section it was compared with.
    agreement : float, optional
        How alike its two neighbours are.
    blame : str
        "this section" or "its neighbours" where they do not go together; "no data", "no neighbour".
    """

    score: float
    by: str = ""
    agreement: float | None = None
    blame: str = ""


@dataclass(frozen=True)
class Sampling:
    """What of which sections is looked at; the parameters are those of `assess_quality`."""

    source: SectionSource
    depths: Mapping[str, int]
    sample_depth: int
    roi_size: int
    max_shift_px: int

    def planes(self, *ids: str) -> tuple[int, ...]:
        """Return the planes in which sections are compared."""
        return sampled_planes(min(self.depths[sid] for sid in ids), self.sample_depth)

    def read(self, sid: str, planes: Sequence[tuple[int, ...]]) -> SampledSection:
        """Read a section for comparisons in these planes."""
        every, edges = {z for some in planes for z in some}, {middle_of(some) for some in planes}
        return sample_section(self.source.volume(sid), every, edges, self.roi_size)


def pair_of(ids: Sequence[str], i: int, j: int) -> tuple[str, str]:
    """Return two sections in their order."""
    return (ids[i], ids[j]) if i < j else (ids[j], ids[i])


def judge_by_neighbours(
    sampling: Sampling, ids: Sequence[str]
) -> tuple[dict[str, Judged], Pairs, dict[str, bool]]:
    """Judge every section by those around it.

    Returns
    -------
    judged : dict of slice id to Judged
    pairs : dict of two slice ids to PairQuality
        Every comparison that was made.
    has_data : dict of slice id to bool
    """
    pairs, has_data = _compare(sampling, ids)
    judged = {sid: _judge(i, ids, pairs, has_data) for i, sid in enumerate(ids)}
    return _asked_farther(sampling, ids, judged, pairs), pairs, has_data


def _compare(sampling: Sampling, ids: Sequence[str]) -> tuple[Pairs, dict[str, bool]]:
    """Compare each section with the next and the one after that; three at most are in memory at a time."""
    pairs: Pairs = {}
    has_data: dict[str, bool] = {}
    sampled: dict[str, SampledSection] = {}
    for i, sid in enumerate(ids):
        others = [other for other in ids[max(0, i - 2) : i + 3] if other != sid]
        sampled[sid] = sampling.read(sid, [sampling.planes(sid, other) for other in others or [sid]])
        has_data[sid] = sampled[sid].has_data
        for earlier in ids[max(0, i - 2) : i]:
            planes = sampling.planes(earlier, sid)
            pairs[earlier, sid] = compare_sections(sampled[earlier], sampled[sid], planes, sampling.max_shift_px)
        if i >= 2:
            del sampled[ids[i - 2]]
    return pairs, has_data


def _judge(
    i: int, ids: Sequence[str], pairs: Mapping[tuple[str, str], PairQuality], has_data: Mapping[str, bool]
) -> Judged:
    if not has_data[ids[i]]:
        return Judged(0.0, blame="no data")
    direct = {ids[j]: pairs[pair_of(ids, i, j)].overall for j in (i - 1, i + 1) if 0 <= j < len(ids)}
    if not direct:
        return Judged(float("nan"), blame="no neighbour")
    by = max(direct, key=lambda sid: direct[sid])
    agreement = pairs[ids[i - 1], ids[i + 1]].likeness if len(direct) == 2 else None
    if agreement is not None and agreement > pairs[pair_of(ids, i, ids.index(by))].likeness + _CLEARLY:
        return Judged(direct[by], by, agreement, "this section")
    beyond = {ids[j]: pairs[pair_of(ids, i, j)].overall for j in (i - 2, i + 2) if 0 <= j < len(ids)}
    best = max(beyond, key=lambda sid: beyond[sid], default=by)
    if beyond.get(best, 0.0) > direct[by]:
        return Judged(beyond[best], best, agreement, "its neighbours")
    return Judged(direct[by], by, agreement)


def _asked_farther(
    sampling: Sampling, ids: Sequence[str], judged: Mapping[str, Judged], pairs: Pairs
) -> dict[str, Judged]:
    """Compare sections with low scores, all around which have low ones, with the nearest that have not."""
    scores = np.array([judged[sid].score for sid in ids])
    low = scores < LOW * float(np.median(scores))  # a median that is NaN has none below it
    found = dict(judged)
    for i, sid in enumerate(ids):
        around = [j for j in range(i - 2, i + 3) if j != i and 0 <= j < len(ids)]
        if not low[[*around, i]].all() or judged[sid].blame in ("this section", "no data"):
            continue
        sides = (range(i - 3, i - _FARTHEST - 1, -1), range(i + 3, i + _FARTHEST + 1))
        nearest = (next((j for j in side if 0 <= j < len(ids) and not low[j]), None) for side in sides)
        for j in (j for j in nearest if j is not None):
            first, second = pair_of(ids, i, j)
            planes = sampling.planes(first, second)
            before, after = (sampling.read(one, [planes]) for one in (first, second))
            pair = pairs[first, second] = compare_sections(before, after, planes, sampling.max_shift_px)
            if pair.overall > found[sid].score:
                found[sid] = Judged(pair.overall, ids[j], judged[sid].agreement, "its neighbours")
    return found
