"""Labelled stacks in, ranked metrics and rules and their thresholds out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.slices.references._gallery import Category
from parfocal.slices.references._labelled import LabelledStack
from parfocal.slices.references._rank import MetricRank, Ranking, rank_metrics
from parfocal.slices.references._score import LOWER_IS_BETTER, ScoredStack, score_labelled
from parfocal.slices.references._thresholds import CalibratedRule, ReferenceThresholds, Threshold
from parfocal.slices.selection import RULES, Rule, Selection, StackEvidence

RULE_GRID: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "peak_relative": tuple({"alpha": alpha} for alpha in (0.5, 0.6, 0.7, 0.8)),
    "mad_sharpness": tuple({"k": k} for k in (1.5, 2.0, 2.5)),
    "motion": (
        *({"limit": "floor", "floor": floor} for floor in (0.80, 0.85, 0.90, 0.95)),
        *({"limit": limit} for limit in ("dip", "mean_sd", "mad", "either", "both")),
        {"limit": "floor", "floor": 0.85, "blame": "both"},
        {"limit": "mad", "blame": "both"},
    ),
    "hybrid": (
        *({"limit": "floor", "floor": floor, "alpha": 0.7} for floor in (0.80, 0.85, 0.90, 0.95)),
        *({"limit": limit, "alpha": 0.7} for limit in ("dip", "mad")),
        {"sharp": "mad_sharpness", "limit": "mad"},
        {"limit": "mad", "blame": "both", "alpha": 0.7},
    ),
    "curve_residuals": ({"model": "parabola"}, {"model": "gaussian"}),
    "sharpness_or_residual": ({"model": "parabola"}, {"model": "gaussian"}),
    "anchor": tuple({"tau": tau} for tau in (0.90, 0.95, 0.98)),
    "centre_of_mass_anchor": tuple({"tau": tau} for tau in (0.90, 0.95, 0.98)),
    "chained_anchor": tuple({"tau": tau} for tau in (0.90, 0.95, 0.98)),
    "clique": tuple({"tau": tau} for tau in (0.90, 0.95, 0.98)),
    "block": tuple({"tau": tau} for tau in (0.90, 0.95, 0.98)),
    "dbscan": tuple({"tau": tau} for tau in (0.90, 0.95, 0.98)),
}
"""Parameters that each rule is tried with; rules that are not named are tried as they are."""


@dataclass(frozen=True, eq=False)
class ReferenceCalibration:
    """A calibration against references.

    Attributes
    ----------
    stacks : tuple of ScoredStack
        In the order given.
    metrics : Ranking
        Of the stacks' metrics.
    rules : Ranking
        Of selection rules, each with parameters of its grid, by the share of frames that it keeps.
    rule_shares : mapping of name to tuple of float
        That share, a stack each; NaN where the rule does not apply.
    thresholds : ReferenceThresholds
        What is kept.
    """

    stacks: tuple[ScoredStack, ...]
    metrics: Ranking
    rules: Ranking
    rule_shares: Mapping[str, tuple[float, ...]]
    thresholds: ReferenceThresholds


def calibrate_references(
    stacks: Iterable[LabelledStack],
    rules: Mapping[str, Rule] = RULES,
    *,
    metric: str = "",
    confidence: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
    scored: Callable[[ScoredStack], None] | None = None,
) -> ReferenceCalibration:
    """Score labelled stacks, and rank metrics and selection rules by how well they tell bad from great.

    Stacks are read one after the other; their pixels are not kept.

    Parameters
    ----------
    stacks : iterable of LabelledStack
        At least two bad and two great.
    rules : mapping of name to rule
        Selection rules; none with an empty mapping.
    metric : str
        A person's choice of the metric to go by, whichever ranks first.
    confidence, n_bootstrap, seed
        As in `rank_metrics`.
    scored : callable, optional
        Is told of each stack when it has been scored.

    Returns
    -------
    ReferenceCalibration

    Raises
    ------
    BadInputError
        There are too few stacks, two of one name, one that cannot be read, or no metric of that name.
    """
    done: list[ScoredStack] = []
    for stack in stacks:
        if any(stack.name == other.name for other in done):
            raise BadInputError(f"{stack.name}: two references have this name, expected names that differ")
        done.append(score_labelled(stack))
        if scored is not None:
            scored(done[-1])
    categories: list[Category] = [stack.category for stack in done]
    settings = {"confidence": confidence, "n_bootstrap": n_bootstrap, "seed": seed}
    names = list(done[0].metrics) if done else []
    values = {name: [stack.metrics[name] for stack in done] for name in names}
    ranking = rank_metrics(
        values,
        categories,
        dict.fromkeys(LOWER_IS_BETTER, False),
        confidence=confidence,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    candidates = {name: (rule, given) for name, rule, given in rule_candidates(rules)}
    shares, refused = _shares(done, candidates, rules)
    of_rules = rank_metrics(shares, categories, confidence=confidence, n_bootstrap=n_bootstrap, seed=seed)
    of_rules = replace(of_rules, left_out={**of_rules.left_out, **refused})
    thresholds = ReferenceThresholds(
        thresholds=tuple(Threshold.of(rank) for rank in ranking.metrics),
        rules=_best_of_each(of_rules, candidates, rules),
        winner=ranking.winner,
        chosen=ranking.winner,
        why=ranking.why,
        references={stack.name: (stack.category, stack.pixels_sha256) for stack in done},
        settings=settings,
    )
    if metric:
        thresholds = thresholds.choose(metric)
    told = {name: tuple(float(v) for v in row) for name, row in shares.items()}
    return ReferenceCalibration(tuple(done), ranking, of_rules, told, thresholds)


def rule_candidates(rules: Mapping[str, Rule]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (name, rule, parameters) of everything that is tried, such as `motion(limit=floor, floor=0.85)`."""
    for rule, function in rules.items():
        known = inspect.signature(function).parameters
        for given in RULE_GRID.get(rule, ({},)):
            if set(given) <= set(known):
                told = ", ".join(f"{name}={value}" for name, value in given.items())
                yield f"{rule}({told})", rule, given


def kept_share(selection: Selection) -> float:
    """Return the share of frames that a rule keeps; NaN where it does not apply, 0 where nothing survived it."""
    if any(note.startswith("not applicable") for note in selection.notes):
        return float("nan")
    if any(note.startswith(("nothing survived", "fell back")) for note in selection.notes):
        return 0.0
    return float(np.mean(selection.keep))


def _shares(
    stacks: Sequence[ScoredStack],
    candidates: Mapping[str, tuple[str, Mapping[str, Any]]],
    rules: Mapping[str, Rule],
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the share of frames that each candidate keeps of each stack, and which could not be tried."""
    shares: dict[str, list[float]] = {}
    refused: dict[str, str] = {}
    for name, (rule, given) in candidates.items():
        row: list[float] = []
        for stack in stacks:
            try:
                row.append(_share(rules[rule], stack.evidence, given))
            except BadInputError as error:
                refused[name] = f"not applicable: {error}"
                break
        else:
            shares[name] = row
    return shares, refused


def _share(rule: Rule, evidence: StackEvidence, given: Mapping[str, Any]) -> float:
    return float("nan") if evidence.n_frames < 2 else kept_share(rule(evidence, **given))


def _best_of_each(
    ranking: Ranking, candidates: Mapping[str, tuple[str, Mapping[str, Any]]], rules: Mapping[str, Rule]
) -> tuple[CalibratedRule, ...]:
    """Return each rule's best parameters, best rule first; the defaults where they do as well as any."""
    best: dict[str, MetricRank] = {}
    for rank in ranking.metrics:
        rule, given = candidates[rank.name]
        if rank.auc_interval[0] <= 0.5:  # a rule keeps its own defaults
            continue
        first = best.setdefault(rule, rank)
        as_well = (rank.auc, rank.kendall_tau, rank.loo_correct) == (
            first.auc,
            first.kendall_tau,
            first.loo_correct,
        )
        if as_well and _are_defaults(rules[rule], given):
            best[rule] = rank
    return tuple(
        CalibratedRule(rule, dict(candidates[rank.name][1]), rank.auc, rank.auc_interval)
        for rule, rank in best.items()
    )


def _are_defaults(rule: Rule, given: Mapping[str, Any]) -> bool:
    known = inspect.signature(rule).parameters
    return all(known[name].default == value for name, value in given.items())
