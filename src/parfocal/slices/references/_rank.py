"""Which number tells bad from great best, at which threshold, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from parfocal.errors import BadInputError
from parfocal.slices.references._gallery import CATEGORIES, Category
from parfocal.slices.references._tallies import tallies

_EXACT_UP_TO = 20_000  # ways of labelling that are all gone through; above it, as many are drawn
_FEWEST = 2


@dataclass(frozen=True)
class MetricRank:
    """How well one number tells bad from great.

    Attributes
    ----------
    name : str
        Of the metric.
    higher_is_better : bool
        Which way it should go, said before looking at the labels.
    auc : float
        Chance that a great one scores better than a bad one, ties counting half.
    auc_interval : tuple of float
        See `rank_metrics`.
    kendall_tau : float
        Tau-b between the score (better counting up) and bad < okay < great.
    kendall_interval : tuple of float
        Bootstrap interval of it, widened to hold it.
    p_value : float
        Chance of an AUC at least this high if labels meant nothing; exact where there are few.
    threshold : float
        Best cut between bad and great, in the metric's own unit.
    threshold_interval : tuple of float
        Bootstrap interval of it.
    loo_correct, loo_n : int
        Bad and great ones that fall on their own side of a threshold found without them, and how many there are.
    n : tuple of int
        References that had a number, by category, worst first.
    kept : tuple of int
        Those on the good side of the threshold, by category, worst first.
    """

    name: str
    higher_is_better: bool
    auc: float
    auc_interval: tuple[float, float]
    kendall_tau: float
    kendall_interval: tuple[float, float]
    p_value: float
    threshold: float
    threshold_interval: tuple[float, float]
    loo_correct: int
    loo_n: int
    n: tuple[int, int, int]
    kept: tuple[int, int, int]

    def keeps(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Return which values are on the good side of the threshold; NaN never is."""
        told = np.asarray(values, np.float64)
        return told >= self.threshold if self.higher_is_better else told <= self.threshold


@dataclass(frozen=True)
class Ranking:
    """Metrics, best first, and whether one of them may be called the best.

    Attributes
    ----------
    metrics : tuple of MetricRank
        By AUC, then tau, then leave-one-out, then name.
    winner : str
        The one whose AUC interval lies above all others'; empty where intervals overlap.
    tied : tuple of str
        Where there is no winner, all whose interval overlaps that of the first.
    why : str
        Why there is, or is no, winner.
    left_out : mapping of name to reason
        Metrics that could not be ranked.
    confidence : float
        Of all intervals.
    n_bootstrap, seed : int
        How they were drawn.
    """

    metrics: tuple[MetricRank, ...]
    winner: str
    tied: tuple[str, ...]
    why: str
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    confidence: float = 0.95
    n_bootstrap: int = 2000
    seed: int = 0

    def of(self, name: str) -> MetricRank:
        """Return one metric by name.

        Raises
        ------
        BadInputError
            There is none, or it was left out.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        reason = self.left_out.get(name, f"expected one of {', '.join(m.name for m in self.metrics)}")
        raise BadInputError(f"metric {name!r} is not ranked: {reason}")


def rank_metrics(
    values: Mapping[str, ArrayLike],
    categories: Sequence[Category],
    higher_is_better: Mapping[str, bool] | None = None,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Ranking:
    """Rank metrics by how well they tell bad references from great ones.

    Bootstrap samples are drawn within each category, the same for all metrics. That of the AUC is of no width
    where a metric separates all, however few there are; so its interval is widened to that of Newcombe [1]_,
    which is not. A winner is only named where its interval lies above all others': metrics of the same frames
    that do about as well are called tied.

    Parameters
    ----------
    values : mapping of name to array_like of shape (n,)
        One number a reference; NaN where there is none.
    categories : sequence of n of {"bad", "okay", "great"}
        Labels.
    higher_is_better : mapping of name to bool, optional
        True where not said.
    confidence : float
        Of all intervals, 0.5 to 0.999.
    n_bootstrap : int
        Samples, at least 100.
    seed : int
        Of the samples.

    Returns
    -------
    Ranking

    Raises
    ------
    BadInputError
        Lengths differ, a label is unknown, or there are fewer than two bad or two great.

    References
    ----------
    .. [1] R. G. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
       Part 2", Stat. Med. 25, 559 (2006), method 5.
    """
    levels = _levels(categories)
    if not 0.5 <= confidence <= 0.999 or n_bootstrap < 100:
        raise BadInputError(
            f"rank: confidence {confidence:g} and {n_bootstrap} samples; expected 0.5 to 0.999 and at least 100"
        )
    ranks: list[MetricRank] = []
    left_out: dict[str, str] = {}
    for name, told in values.items():
        row = np.asarray(told, np.float64).ravel()
        if row.size != levels.size:
            raise BadInputError(
                f"rank: {row.size} values of {name} for {levels.size} references; expected as many"
            )
        known = np.isfinite(row)
        counts = [int((known & (levels == k)).sum()) for k in range(3)]
        if counts[0] < _FEWEST or counts[2] < _FEWEST:
            left_out[name] = f"not applicable: a number for {counts[0]} bad and {counts[2]} great only"
            continue
        better_up = True if higher_is_better is None else higher_is_better.get(name, True)
        ranks.append(_ranked(name, row[known], levels[known], better_up, confidence, n_bootstrap, seed))
    # A tau that points the wrong way is no merit, and one that is not defined is none.
    ranks.sort(key=lambda m: (-m.auc, -float(np.nan_to_num(m.kendall_tau)), m.loo_n - m.loo_correct, m.name))
    winner, tied, why = _winner(ranks, confidence)
    return Ranking(tuple(ranks), winner, tied, why, left_out, confidence, n_bootstrap, seed)


def auc_interval(auc: float, n_bad: int, n_great: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Newcombe's score-like interval of an AUC from its value and the two numbers alone."""
    z = float(ndtri(0.5 + confidence / 2))
    often = (n_bad + n_great) / 2 - 1

    def misfit(true: float) -> float:
        spread = true * (1 - true) * (1 + often * ((1 - true) / (2 - true) + true / (1 + true)))
        return abs(true - auc) - z * math.sqrt(max(0.0, spread) / (n_bad * n_great))

    low = 0.0 if auc <= 0 else float(brentq(misfit, 1e-12, min(auc, 1 - 1e-9)))  # pyright: ignore[reportArgumentType]
    high = 1.0 if auc >= 1 else float(brentq(misfit, max(auc, 1e-9), 1 - 1e-12))  # pyright: ignore[reportArgumentType]
    return low, high


def _levels(categories: Sequence[Category]) -> NDArray[np.int64]:
    unknown = sorted({str(one) for one in categories} - set(CATEGORIES))
    if unknown:
        raise BadInputError(f"rank: category {unknown[0]!r}, expected one of {', '.join(CATEGORIES)}")
    levels = np.array([CATEGORIES.index(one) for one in categories], np.int64)
    n_bad, n_great = int((levels == 0).sum()), int((levels == 2).sum())
    if min(n_bad, n_great) < _FEWEST:
        raise BadInputError(f"rank: {n_bad} bad and {n_great} great references, expected at least two of each")
    return levels


def _ranked(
    name: str,
    row: NDArray[np.float64],
    levels: NDArray[np.int64],
    better_up: bool,
    confidence: float,
    n_bootstrap: int,
    seed: int,
) -> MetricRank:
    score = row if better_up else -row
    parts = [score[levels == k] for k in range(3)]
    bad, great = parts[0], parts[2]
    told = tallies([part[np.newaxis] for part in parts])
    auc, cut = float(told.aucs()[0]), float(told.cuts()[0])
    rng = np.random.default_rng(seed)
    drawn = tallies([part[rng.integers(0, max(1, part.size), (n_bootstrap, part.size))] for part in parts])
    tails = (50 * (1 - confidence), 50 * (1 + confidence))
    newcombe = auc_interval(auc, bad.size, great.size, confidence)
    by_draw = _percentiles(drawn.aucs(), tails)
    interval = _percentiles(drawn.cuts(), tails)
    sign = 1.0 if better_up else -1.0
    correct = sum(bool(one < _cut(np.delete(bad, k), great)) for k, one in enumerate(bad))
    correct += sum(bool(one >= _cut(bad, np.delete(great, k))) for k, one in enumerate(great))
    tau, by_tau = float(told.taus()[0]), _percentiles(drawn.taus(), tails)
    kept = tuple(int((part >= cut).sum()) for part in parts)
    return MetricRank(
        name=name,
        higher_is_better=better_up,
        auc=auc,
        auc_interval=(min(newcombe[0], by_draw[0]), max(newcombe[1], by_draw[1])),
        kendall_tau=tau,
        # values drawn twice are ties, which move tau-b: the interval may miss what it is of
        kendall_interval=(min(tau, by_tau[0]), max(tau, by_tau[1])),
        p_value=_p_value(bad, great, auc, seed),
        threshold=sign * cut,
        threshold_interval=(interval[0], interval[1]) if better_up else (-interval[1], -interval[0]),
        loo_correct=correct,
        loo_n=bad.size + great.size,
        n=(parts[0].size, parts[1].size, parts[2].size),
        kept=(kept[0], kept[1], kept[2]),
    )


def _percentiles(drawn: NDArray[np.float64], tails: tuple[float, float]) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if known.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, tails)
    return float(low), float(high)


def _cut(bad: NDArray[np.float64], great: NDArray[np.float64]) -> float:
    return float(tallies([bad[np.newaxis], np.empty((1, 0)), great[np.newaxis]]).cuts()[0])


def _p_value(bad: NDArray[np.float64], great: NDArray[np.float64], auc: float, seed: int) -> float:
    """Return the share of labellings with an AUC at least as high."""
    both = np.concatenate([bad, great])
    n, k = both.size, great.size
    order = np.sort(both)
    midranks = (np.searchsorted(order, both, "left") + np.searchsorted(order, both, "right") + 1) / 2
    observed = auc * bad.size * k + k * (k + 1) / 2
    if math.comb(n, k) <= _EXACT_UP_TO:
        sums = np.array([sum(chosen) for chosen in combinations(midranks.tolist(), k)])
        return float((sums >= observed - 1e-9).mean())
    rng = np.random.default_rng(seed)
    sums = rng.permuted(np.broadcast_to(midranks, (_EXACT_UP_TO, n)), axis=1)[:, :k].sum(axis=1)
    return float(((sums >= observed - 1e-9).sum() + 1) / (_EXACT_UP_TO + 1))


def _winner(ranks: Sequence[MetricRank], confidence: float) -> tuple[str, tuple[str, ...], str]:
    if not ranks:
        return "", (), "no metric could be ranked"
    first = ranks[0]
    told = f"AUC {first.auc:.3f} ({first.auc_interval[0]:.3f} to {first.auc_interval[1]:.3f}, {confidence:.0%})"
    n = f"{first.n[0]} bad and {first.n[2]} great"
    if first.auc_interval[0] <= 0.5:
        return "", (first.name,), f"no winner: {first.name} has {told} with {n}, which chance can do too"
    rivals = [m for m in ranks[1:] if m.auc_interval[1] >= first.auc_interval[0]]
    if rivals:
        best = f"the best, {first.name}, has {told} with {n}"
        return (
            "",
            (first.name, *(m.name for m in rivals)),
            f"no winner: {best}, and the intervals of {len(rivals)} more overlap it",
        )
    if len(ranks) == 1:
        return first.name, (), f"{first.name} has {told} with {n}; no other was tried"
    return first.name, (), f"{first.name} has {told} with {n}, above all {len(ranks) - 1} others"


def as_row(metric: MetricRank) -> dict[str, Any]:
    """Return a metric as one flat row of numbers and text."""
    row: dict[str, Any] = {
        "metric": metric.name,
        "higher_is_better": int(metric.higher_is_better),
        "auc": metric.auc,
        "auc_low": metric.auc_interval[0],
        "auc_high": metric.auc_interval[1],
        "kendall_tau": metric.kendall_tau,
        "kendall_low": metric.kendall_interval[0],
        "kendall_high": metric.kendall_interval[1],
        "p_value": metric.p_value,
        "threshold": metric.threshold,
        "threshold_low": metric.threshold_interval[0],
        "threshold_high": metric.threshold_interval[1],
        "loo_correct": metric.loo_correct,
        "loo_n": metric.loo_n,
    }
    for k, category in enumerate(CATEGORIES):
        row[f"n_{category}"] = metric.n[k]
        row[f"kept_{category}"] = metric.kept[k]
    return row
