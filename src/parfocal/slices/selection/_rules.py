"""All rules by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
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
    check_parameters(rule, parameters)
    return rule_named(rule)(evidence, **parameters)


def check_parameters(rule: str, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that a rule does not have, or that are not of its kind.

    So is a NaN: every comparison with it is False, and a rule would keep all frames or none without a word.

    Raises
    ------
    BadInputError
        There is no such rule, or one of its parameters is wrong.
    """
    known = inspect.signature(rule_named(rule)).parameters
    names = rule_parameters(rule)
    for name, value in parameters.items():
        if name not in names:
            raise BadInputError(f"rule {rule}: no parameter {name!r}; it has {', '.join(names)}")
        kinds = str(known[name].annotation).split(" | ")
        expected = _KINDS.get(kinds[0], "")
        if not expected or (value is None and "None" in kinds):
            continue  # words are checked by the rule, which says what there are
        if not _is_of_kind(value, kinds[0]):
            or_none = " or None" if "None" in kinds else ""
            raise BadInputError(f"rule {rule}: {name} is {value!r}, expected {expected}{or_none}")


_KINDS = {"float": "a number, and finite", "int": "a whole number", "bool": "True or False"}


def _is_of_kind(value: Any, kind: str) -> bool:
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind == "int":
        return isinstance(value, Integral)
    return isinstance(value, Real) and math.isfinite(value)
