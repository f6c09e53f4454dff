"""Rules that look at sharpness alone: peak-relative, median and MAD, Otsu."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.slices.selection._curve import Peak, peak_of
from parfocal.slices.selection._decide import (
    checked_fraction,
    decide,
    not_applicable,
    robust_scale,
    scored_reasons,
)
from parfocal.slices.selection._evidence import Selection, StackEvidence

PeakHeight = Literal["vertex", "max"]

_EDGE = "the sharpest frame is the {place}: focus may lie outside the stack"


def peak_relative(
    evidence: StackEvidence, *, alpha: float = 0.7, peak: PeakHeight = "vertex", contiguous: bool = False
) -> Selection:
    """Keep the frames at least `alpha` times as sharp as the peak.

    Parameters
    ----------
    evidence : StackEvidence
        Sharpness must be free of its noise floor: with the floor in it, every frame passes.
    alpha : float
        Share of the peak; 0.5 to 0.8 is useful. A lower one keeps more.
    peak : {"vertex", "max"}
        The height to compare with: vertex of the parabola at the peak, or the highest score.
    contiguous : bool
        Keep only the frames next to the sharpest, up to the first that is not sharp: a sharp frame behind blurred
        ones is often dust on another surface.
    """
    parameters = {"alpha": alpha, "peak": peak, "contiguous": contiguous}
    checked_fraction("peak_relative", "alpha", alpha)
    if peak not in ("vertex", "max"):
        raise BadInputError(f"peak_relative: peak {peak!r} is unknown; expected vertex or max")
    top = peak_of(evidence.z_um, evidence.sharpness)
    if top.index < 0:
        return not_applicable("peak_relative", parameters, evidence, "no frame has a finite score")
    height = top.height if peak == "vertex" else float(np.nanmax(evidence.sharpness))
    if height <= 0:
        why = f"the highest {evidence.score_name} is {height:.3g}: nothing stands above the noise"
        return not_applicable("peak_relative", parameters, evidence, why)
    reasons = _below(evidence, alpha * height, f"{alpha:g} of the peak")
    if contiguous:
        order = np.argsort(evidence.z_um, kind="stable")
        place = int(np.flatnonzero(order == top.index)[0])
        for side in (order[place + 1 :], order[:place][::-1]):
            apart = False
            for frame in side.tolist():
                apart = apart or bool(reasons[frame])
                if apart and not reasons[frame]:
                    reasons[frame] = "sharp, but blurred frames lie between it and the peak"
    return decide("peak_relative", parameters, reasons, alpha * height, edge_notes(evidence, top))


def mad_sharpness(evidence: StackEvidence, *, k: float = 2.0) -> Selection:
    """Keep the frames with sharpness of at least median - `k` 1.4826 MAD (useful `k`: 1.5 to 2.5).

    This finds the few that are worse than the rest, so it needs a stack that is mostly sharp. Where MAD is 0 the
    mean absolute deviation stands in for it.
    """
    if k <= 0:
        raise BadInputError(f"mad_sharpness: k is {k:g}, expected above 0")
    median, scale = robust_scale(evidence.sharpness)
    if math.isnan(median):
        return not_applicable("mad_sharpness", {"k": k}, evidence, "no frame has a finite score")
    limit = median - k * scale
    # rounding must not make outliers of equal scores
    limit -= 1e-9 * abs(median)
    top = peak_of(evidence.z_um, evidence.sharpness)
    reasons = _below(evidence, limit, f"median less {k:g} robust SD")
    return decide("mad_sharpness", {"k": k}, reasons, limit, edge_notes(evidence, top))


def otsu(evidence: StackEvidence, *, min_share: float = 0.75, max_chance: float = 0.05) -> Selection:
    """Keep the upper of the two classes that Otsu's threshold makes, where there are two classes.

    Every split of the sorted scores is tried [1]_, no histogram. The scores count as bimodal where the variance
    between the classes is `min_share` of the whole and the gap between them is wider than evenly scattered scores
    leave at their own best split in all but `max_chance` of cases; else the rule is "not applicable" and keeps
    all.

    Ashman's D is no test here: classes cut by a threshold have D = 2.65 from one normal distribution and 3.46 from
    an even one, both above the usual limit of 2.

    References
    ----------
    .. [1] N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. Syst. Man Cybern. 9, 62
       (1979).
    """
    parameters = {"min_share": min_share, "max_chance": max_chance}
    checked_fraction("otsu", "min_share", min_share)
    checked_fraction("otsu", "max_chance", max_chance)
    found = otsu_split(evidence.sharpness)
    if found is None:
        return not_applicable("otsu", parameters, evidence, "fewer than 4 different scores")
    threshold, share, chance = found
    if share < min_share or chance > max_chance:
        why = (
            f"scores are not bimodal: {share:.2f} of their variance lies between two classes ({min_share:g} "
            f"asked), a gap as wide as theirs has a chance of {chance:.2f} ({max_chance:g} at most)"
        )
        return not_applicable("otsu", parameters, evidence, why)
    reasons = _below(evidence, threshold, "Otsu's threshold")
    return decide("otsu", parameters, reasons, threshold, edge_notes(evidence, peak_of_evidence(evidence)))


def otsu_split(scores: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return threshold, share of variance between the classes, and chance of the gap; None for under 4 scores."""
    ordered = np.sort(scores[np.isfinite(scores)])
    if ordered.size < 4 or ordered[-1] - ordered[0] <= 1e-12 * np.abs(ordered).max():
        return None
    split, share, gap = _best_split(ordered[np.newaxis])
    at = int(split[0])
    chance = float(np.mean(_even_gaps(ordered.size) >= gap[0]))
    return float(ordered[at] + ordered[at - 1]) / 2, float(share[0]), chance


def _best_split(
    ordered: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, of rows of ascending values, the upper class's first index, variance share and gap over range."""
    n = ordered.shape[1]
    # the sums of a few tiny and one huge value: from the lowest, or they cancel
    away = ordered - ordered[:, :1]
    sums = np.cumsum(away, axis=1)
    total = sums[:, -1:]
    lower = np.arange(1, n)
    mean_low = sums[:, :-1] / lower
    mean_high = (total - sums[:, :-1]) / (n - lower)
    between = lower * (n - lower) / n**2 * np.square(mean_high - mean_low)
    best = np.argmax(between, axis=1)
    rows = np.arange(ordered.shape[0])
    variance = np.var(away, axis=1)
    gap = (ordered[rows, best + 1] - ordered[rows, best]) / (ordered[:, -1] - ordered[:, 0])
    return best + 1, between[rows, best] / variance, gap


@lru_cache(maxsize=64)
def _even_gaps(n: int) -> NDArray[np.float64]:
    """Return the gap at Otsu's split of `n` evenly scattered values, 2,000 times over (the same each time)."""
    drawn = np.sort(np.random.default_rng(n).random((2000, n)), axis=1)
    return _best_split(drawn)[2]


def peak_of_evidence(evidence: StackEvidence) -> Peak:
    """Return the top of the evidence's focus curve."""
    return peak_of(evidence.z_um, evidence.sharpness)


def edge_notes(evidence: StackEvidence, top: Peak) -> tuple[str, ...]:
    """Return the note that focus is not bracketed, where it is not."""
    if not top.at_edge:
        return ()
    lowest = evidence.z_um[top.index] <= float(np.min(evidence.z_um))
    place = f"{'lowest' if lowest else 'highest'} in z (frame {top.index})"
    return (f"peak_at_edge: {_EDGE.format(place=place)}",)


def _below(evidence: StackEvidence, limit: float, what: str) -> list[str]:
    reasons = scored_reasons(evidence)
    for i, score in enumerate(evidence.sharpness.tolist()):
        if not reasons[i] and score < limit:
            reasons[i] = f"blurred: {evidence.score_name} {score:.3g} < {limit:.3g} ({what})"
    return reasons
