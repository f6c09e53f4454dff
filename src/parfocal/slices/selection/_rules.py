"""All rules by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from parfocal.errors import BadInputError
from parfocal.slices.selection import _anchor_rules as anchors
from parfocal.slices.selection import _matrix_rules as matrices
from parfocal.slices.selection import _motion_rules as motions
from parfocal.slices.selection import _residual_rules as residuals
from parfocal.slices.selection import _sharpness_rules as sharp
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._stack_rules import morphseq_ncc

Rule = Callable[..., Selection]
"""`rule(evidence, *, parameters...) -> Selection`; every parameter has a default."""

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "peak_relative": sharp.peak_relative,
        "mad_sharpness": sharp.mad_sharpness,
        "otsu": sharp.otsu,
        "motion": motions.motion,
        "hybrid": motions.hybrid,
        "anchor": anchors.anchor,
        "centre_of_mass_anchor": anchors.centre_of_mass_anchor,
        "chained_anchor": anchors.chained_anchor,
        "golden_template": anchors.golden_template,
        "clique": matrices.clique,
        "block": matrices.block,
        "dbscan": matrices.dbscan_rule,
        "kmeans": matrices.kmeans_rule,
        "curve_residuals": residuals.curve_residuals,
        "sharpness_or_residual": residuals.sharpness_or_residual,
        "morphseq_ncc": morphseq_ncc,
    }
)
"""Rules by the name that their selections carry."""

NEED_MATRIX = frozenset(
    {"anchor", "centre_of_mass_anchor", "chained_anchor", "clique", "block", "dbscan", "kmeans"}
)
"""Rules that need `StackEvidence.matrix`."""


def rule_parameters(name: str) -> dict[str, Any]:
    """Return a rule's parameters and their defaults."""
    signature = inspect.signature(rule_named(name))
    return {p.name: p.default for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}


def rule_named(name: str) -> Rule:
    """Return a rule; `BadInputError` names them all where there is none of that name."""
    if name not in RULES:
        raise BadInputError(f"rule {name!r} is unknown; expected one of {', '.join(RULES)}")
    return RULES[name]


def select(evidence: StackEvidence, rule: str = "hybrid", **parameters: Any) -> Selection:
    """Apply a rule by name.

    Raises
    ------
    BadInputError
        There is no such rule, it has no such parameter, or the evidence lacks what it needs.
    """
    chosen, known = rule_named(rule), rule_parameters(rule)
    for name in parameters:
        if name not in known:
            raise BadInputError(f"rule {rule}: no parameter {name!r}; it has {', '.join(known)}")
    return chosen(evidence, **parameters)
