"""Which rule suits a stack, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from parfocal.slices.selection._anchor_rules import TEMPLATE_FACT
from parfocal.slices.selection._clustering import largest_clique
from parfocal.slices.selection._curve import fit_curve
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._gather import gather_evidence
from parfocal.slices.selection._matrix_rules import dbscan_segments
from parfocal.slices.selection._motion_rules import motion
from parfocal.slices.selection._rules import select
from parfocal.slices.selection._sharpness_rules import otsu, otsu_split, peak_relative

_CLEAN_CURVE = 0.95
_ONE_SQUARE = 0.8


@dataclass(frozen=True)
class Hint:
    """One thing looked at: whether it holds, the rule that it speaks for, and the numbers."""

    name: str
    holds: bool
    rule: str
    parameters: Mapping[str, Any]
    why: str


@dataclass(frozen=True)
class Recommendation:
    """A rule for a stack.

    Attributes
    ----------
    rule : str
        Name among `RULES`.
    parameters : mapping
        What to give it.
    why : str
        The reason, with its numbers.
    hints : tuple of Hint
        All that was looked at, in order of weight; the first that holds decided.
    """

    rule: str
    parameters: Mapping[str, Any]
    why: str
    hints: tuple[Hint, ...]

    def select(self, evidence: StackEvidence) -> Selection:
        """Apply it."""
        return select(evidence, self.rule, **self.parameters)


def recommend(
    stack: StackEvidence | Iterable[ArrayLike], *, alpha: float = 0.7, tau: float = 0.95
) -> Recommendation:
    """Recommend a rule for a stack and say why.

    In this order, since the first names what must be done and the last only what may:

    1. a golden template is given: `golden_template`;
    2. the matrix of the sharp frames shows several separate squares: `dbscan`;
    3. it shows one square with 80 % of the steady ones: `anchor`, or `chained_anchor` where sharp frames moved;
    4. scores follow a clean curve (95 % of their variance) and no sharp frame moved: `sharpness_or_residual`;
    5. scores are bimodal: `otsu`;
    6. else `hybrid`.

    Parameters
    ----------
    stack : StackEvidence or array_like of shape (n, height, width)
        Evidence, with the matrix, or the frames to gather it from.
    alpha, tau : float
        Of the rules: share of the peak, and correlation of frames that fit each other.
    """
    evidence = stack if isinstance(stack, StackEvidence) else gather_evidence(stack)
    moved = motion(evidence)
    hints = (
        _template_hint(evidence, alpha, tau),
        *_square_hints(evidence, alpha, tau, moved),
        _curve_hint(evidence, alpha, moved),
        _bimodal_hint(evidence),
        Hint(
            "no clear sign", True, "hybrid", {"alpha": alpha}, "nothing else speaks: sharpness and motion together"
        ),
    )
    chosen = next(hint for hint in hints if hint.holds)
    return Recommendation(chosen.rule, chosen.parameters, chosen.why, hints)


def _template_hint(evidence: StackEvidence, alpha: float, tau: float) -> Hint:
    holds = TEMPLATE_FACT in evidence.facts
    why = "a golden template is there: frames are held against a known standard" if holds else "no golden template"
    return Hint("golden template", holds, "golden_template", {"alpha": alpha, "tau": tau}, why)


def _square_hints(evidence: StackEvidence, alpha: float, tau: float, moved: Selection) -> tuple[Hint, Hint]:
    # A stack that changes slowly along z falls apart at any limit a little under its usual correlations; two
    # places, or before and after a jump, stay apart at a limit twice as far from 1.
    several = {"alpha": alpha, "tau": round(2 * tau - 1, 4), "min_samples": 2}
    one = {"alpha": alpha, "tau": tau}
    if evidence.matrix is None:
        why = "no correlation matrix was gathered"
        return Hint("several squares", False, "dbscan", several, why), Hint(
            "one square", False, "anchor", one, why
        )
    pool = peak_relative(evidence, alpha=alpha).keep
    # What moved is not of any square: it is looked at first, by the chained rule.
    steady = np.flatnonzero(pool & moved.keep)
    dips = int((pool & ~moved.keep).sum())
    squares = dbscan_segments(evidence, tau=2 * tau - 1, min_samples=2, alpha=alpha)
    linked = np.asarray(evidence.matrix)[np.ix_(steady, steady)] >= tau
    largest = len(largest_clique(linked, evidence.sharpness[steady])[0])
    size = steady.size
    why_several = (
        f"{len(squares)} separate squares of correlation {2 * tau - 1:g} among {int(pool.sum())} sharp frames"
    )
    share = largest / size if size else 0.0
    why_one = f"{largest} of {size} sharp frames all correlate by {tau:g} with each other: one square"
    rule = "chained_anchor" if dips else "anchor"
    if dips:
        why_one = (
            f"{largest} of {size} sharp and steady frames all correlate by {tau:g} with each other: one square"
        )
        why_one += f"; {dips} sharp frames have moved, so motion is looked at first"
    # A pool of one frame is a square of its own: a peak so sharp leaves nothing to group.
    return (
        Hint("several squares", len(squares) > 1, "dbscan", several, why_several),
        Hint("one square", size > 1 and share >= _ONE_SQUARE, rule, one, why_one),
    )


def _curve_hint(evidence: StackEvidence, alpha: float, moved: Selection) -> Hint:
    fits = {model: fit_curve(evidence.z_um, evidence.sharpness, model) for model in ("parabola", "gaussian")}
    found = {model: fit.explained for model, fit in fits.items() if fit is not None}
    if not found:
        return Hint("clean curve", False, "sharpness_or_residual", {"alpha": alpha}, "too few frames for a curve")
    model = max(found, key=lambda name: found[name])
    fit = fits[model]
    inside = fit is not None and evidence.z_um.min() <= fit.vertex_um <= evidence.z_um.max()
    why = f"a {model} explains {found[model]:.1%} of the scores' variance" + (
        "" if inside else ", but has no top here"
    )
    # A frame can be of another place and as sharp as ever: its residual would not tell.
    dips = int((peak_relative(evidence, alpha=alpha).keep & ~moved.keep).sum())
    why += f", but {dips} sharp frames have moved" if dips else ""
    holds = found[model] >= _CLEAN_CURVE and inside and not dips
    return Hint("clean curve", holds, "sharpness_or_residual", {"alpha": alpha, "model": model}, why)


def _bimodal_hint(evidence: StackEvidence) -> Hint:
    holds = not any(note.startswith("not applicable") for note in otsu(evidence).notes)
    split = otsu_split(evidence.sharpness)
    if split is None:
        return Hint("bimodal scores", False, "otsu", {}, "too few different scores")
    _, share, chance = split
    why = f"{share:.1%} of the variance lies between two classes, with a gap that chance leaves in {chance:.1%}"
    return Hint("bimodal scores", holds, "otsu", {}, why if holds else f"not bimodal: {why}")
