"""A score of doubt for each object, with its reasons; which to look at first; a map of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import Segmentation
from parfocal.segmentation.uncertainty._measure import Measured, Relabel, measure

Doubles = NDArray[np.float64]

_SAY_ABOVE = 0.8


@dataclass(frozen=True)
class DoubtWeights:
    """How much each signal counts, 0 for not at all; what a segmentation lacks is left out.

    Parameters
    ----------
    flow : float
        Flow error: how far the object's mask is from what the network's flow says of it.
    boundary : float
        Mean binary entropy of the foreground within 2 px of the object's edge, bits.
    logits : float
        Share of its voxels whose foreground logit is within 1 of 0.
    flips : float
        1 - mean IoU with what is found at its place in flipped images.
    shape : float
        Distance of its solidity (volume over its convex hull's) from the median.
    size : float
        Distance of its log-volume from the median, robust standard deviations.
    links : float
        Its weakest link between planes.
    border : float
        Whether it touches the border of the image: then it is cut, which is seldom a mistake.
    """

    flow: float = 1.0
    boundary: float = 1.0
    logits: float = 1.0
    flips: float = 2.0
    shape: float = 1.0
    size: float = 1.0
    links: float = 1.0
    border: float = 0.25

    def __post_init__(self) -> None:
        if any(not (weight >= 0 and math.isfinite(weight)) for weight in self.as_dict().values()):
            raise BadInputError("doubts: weights must be 0 or more")

    def as_dict(self) -> dict[str, float]:
        """Return signal and weight."""
        return {one.name: float(getattr(self, one.name)) for one in fields(self)}


@dataclass(frozen=True)
class ObjectDoubts:
    """What `object_doubts` finds; rows are objects, in the order of `ids`.

    Parameters
    ----------
    ids : int32[n]
        Their ids in the labels, rising.
    score : float32[n]
        0 to 1: where each object stands within this run, not a probability of being wrong.
    reasons : tuple of tuple of str
        For each object, the signals in which it stands out, the strongest first, in plain words.
    signals : mapping of str to float32[n]
        What was measured, by the names in `DoubtWeights`; NaN where it could not be.
    ranks : mapping of str to float32[n]
        Share of the run's objects that have less of it.
    features : float32[n, k]
        What `most_uncertain` spreads its choice over: ranks, log-volume and place, all about 0 to 1.
    """

    ids: NDArray[np.int32]
    score: NDArray[np.float32]
    reasons: tuple[tuple[str, ...], ...]
    signals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    ranks: Mapping[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    features: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))


def object_doubts(
    segmentation: Segmentation,
    image: NDArray[np.generic] | None = None,
    *,
    relabel: Relabel | None = None,
    weights: DoubtWeights | None = None,
) -> ObjectDoubts:
    """Say how doubtful each object of a segmentation is, and why.

    Each signal is turned into the share of the run's objects that have less of it, so that signals of different
    units can be averaged with weights. A signal whose input is missing (a watershed has no network's output), or
    that is the same for all objects, is left out.

    Parameters
    ----------
    segmentation : Segmentation
        With `output` and `links` where there are any.
    image : ndarray of shape (z, y, x), optional
        Needed with `relabel` alone.
    relabel : callable, optional
        Takes an image of any shape, returns its labels: asked seven times, for the flipped images, which costs
        seven segmentations.
    weights : DoubtWeights, optional
        How much each signal counts.

    Returns
    -------
    ObjectDoubts

    Raises
    ------
    BadInputError
        Labels are not `[z, y, x]`, `relabel` gives labels of another shape, or has no image to flip.
    """
    measured = measure(segmentation, image, relabel)
    shares = (weights or DoubtWeights()).as_dict()
    n = measured.ids.size
    ranks = {name: _ranks(np.round(values / _RESOLUTION[name])) for name, values in measured.signals.items()}
    total, weight = np.zeros(n), np.zeros(n)
    for name, rank in ranks.items():
        known = np.isfinite(rank)
        if shares[name] and known.any() and float(np.ptp(rank[known])) > 0:
            total[known] += shares[name] * rank[known]
            weight[known] += shares[name]
    score = np.divide(total, weight, out=np.zeros(n), where=weight > 0)
    return ObjectDoubts(
        ids=measured.ids,
        score=score.astype(np.float32),
        reasons=_reasons(measured, ranks, shares),
        signals={name: values.astype(np.float32) for name, values in measured.signals.items()},
        ranks={name: rank.astype(np.float32) for name, rank in ranks.items()},
        features=_features(measured, ranks, segmentation),
    )


def _ranks(values: Doubles) -> Doubles:
    """Return the share of the others that are below each value, so that equals at the bottom have 0."""
    out = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    ordered = np.sort(values[known])
    if ordered.size:
        out[known] = np.searchsorted(ordered, values[known], side="left") / max(1, ordered.size - 1)
    return out


def _features(measured: Measured, ranks: dict[str, Doubles], segmentation: Segmentation) -> NDArray[np.float32]:
    voxel = np.asarray(segmentation.voxel_size_um, np.float64)
    extent = max(float((voxel * segmentation.labels.shape).max()), 1e-9)
    columns = [np.nan_to_num(rank) for rank in ranks.values()]
    columns.append(_ranks(measured.volume_voxels))
    columns += list((measured.centroid_px * voxel / extent).T)
    return np.stack(columns, axis=1).astype(np.float32) if measured.ids.size else np.empty((0, 0), np.float32)


def _reasons(
    measured: Measured, ranks: dict[str, Doubles], shares: dict[str, float]
) -> tuple[tuple[str, ...], ...]:
    said: dict[int, list[tuple[float, str]]] = {}
    typical_volume = float(np.median(measured.volume_voxels)) if measured.ids.size else 0.0
    for name, values in measured.signals.items():
        if not shares[name] or not np.isfinite(values).any():
            continue
        median = float(np.nanmedian(values))
        least = max(_WORTH_SAYING[name], float(np.nanquantile(values, _SAY_ABOVE)))
        for row in np.flatnonzero(values >= least).tolist():
            text = _in_words(name, float(values[row]), median, measured, row, typical_volume)
            said.setdefault(row, []).append((shares[name] * float(ranks[name][row]), text))
    ordered = {row: sorted(one, key=lambda pair: -pair[0]) for row, one in said.items()}
    return tuple(tuple(text for _, text in ordered.get(row, ())) for row in range(measured.ids.size))


_WORTH_SAYING = {
    "flow": 0.05,
    "boundary": 0.2,
    "logits": 0.05,
    "flips": 0.1,
    "shape": 0.03,
    "size": 2.0,
    "links": 0.4,
    "border": 0.5,
}

# What differs by less is the same: else noise in the last digit would make ranks.
_RESOLUTION = {
    "flow": 0.005,
    "boundary": 0.01,
    "logits": 0.005,
    "flips": 0.01,
    "shape": 0.005,
    "size": 0.1,
    "links": 0.01,
    "border": 1.0,
}


def _in_words(name: str, value: float, median: float, measured: Measured, row: int, typical_volume: float) -> str:
    if name == "flow":
        return f"the network's flow does not fit the mask (error {value:.2f}, median {median:.2f})"
    if name == "boundary":
        return f"the edge is unsure ({value:.2f} bit, median {median:.2f})"
    if name == "logits":
        return f"{value:.0%} of its voxels could as well be background (median {median:.0%})"
    if name == "flips":
        return f"found differently in mirrored images (IoU {1 - value:.2f}, median {1 - median:.2f})"
    if name == "shape":
        solidity = float(measured.solidity[row])
        typical = float(np.nanmedian(measured.solidity))
        how = "dented or branched" if solidity < typical else "fuller than others"
        return f"{how}: fills {solidity:.0%} of its hull, median {typical:.0%}"
    if name == "size":
        volume = float(measured.volume_voxels[row])
        how = "small" if volume < typical_volume else "large"
        return f"unusually {how}: {volume / typical_volume:.2g} times the median volume"
    if name == "links":
        return "its planes are linked weakly" + ("" if value < 1 else ", or another link was as good")
    return "touches the border of the image"


def most_uncertain(doubts: ObjectDoubts, n: int = 10, *, diversity: float = 0.5) -> NDArray[np.int32]:
    """Return ids of `n` objects to look at first, doubtful and unlike each other.

    Greedy k-centre among the more doubtful: the most doubtful object comes first, each next one is that with the
    largest (1 - d) score + d distance, the distance being to the nearest chosen one in `ObjectDoubts.features`,
    over the largest distance there is. Only the `max(4 n, 10 %)` most doubtful are looked at.

    Parameters
    ----------
    doubts : ObjectDoubts
        Of the run.
    n : int
        How many; all where there are fewer.
    diversity : float
        d, 0 (by score alone) to 1 (by difference alone).

    Raises
    ------
    BadInputError
        `n` is below 0, or `diversity` outside 0 to 1.
    """
    if n < 0 or not 0 <= diversity <= 1:
        raise BadInputError(f"most uncertain: n {n}, diversity {diversity:g}; expected 0 or more, and 0 to 1")
    n = min(n, doubts.ids.size)
    if n == 0:
        return np.empty(0, np.int32)
    pool = np.argsort(-doubts.score, kind="stable")[: max(4 * n, math.ceil(doubts.ids.size / 10))]
    features = doubts.features[pool].astype(np.float64)
    score = doubts.score[pool].astype(np.float64)
    chosen = [0]
    distance = np.linalg.norm(features - features[0], axis=1)
    largest = max(float(np.linalg.norm(np.ptp(features, axis=0))), 1e-12)
    while len(chosen) < n:
        value = (1 - diversity) * score + diversity * distance / largest
        value[chosen] = -np.inf
        following = int(np.argmax(value))
        chosen.append(following)
        distance = np.minimum(distance, np.linalg.norm(features - features[following], axis=1))
    return doubts.ids[pool[chosen]]


def heatmap(segmentation: Segmentation, doubts: ObjectDoubts) -> NDArray[np.float32]:
    """Return a volume `float32[z, y, x]` of the score of the object at each voxel, 0 on background."""
    labels = segmentation.labels
    table = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    known = doubts.ids < table.size
    table[doubts.ids[known]] = doubts.score[known]
    table[0] = 0
    return table[np.maximum(labels, 0)]
