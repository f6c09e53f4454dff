"""From a stack to its one good image in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.optics import CameraModel
from parfocal.slices.selection._compose import ComposedImage, compose
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._gather import DEFAULT_SCORE, ScoreKind, gather_evidence
from parfocal.slices.selection._recommend import Recommendation, recommend
from parfocal.slices.selection._rules import check_parameters, select
from parfocal.slices.selection._template import GoldenTemplate


@dataclass(frozen=True, eq=False)
class BestImage:
    """A stack's evidence, what was selected, and the image of it.

    Attributes
    ----------
    evidence : StackEvidence
        What is known of the frames.
    selection : Selection
        Which were kept, and why not the others.
    composed : ComposedImage or None
        The image; None where no frame survived, which `selection.notes` say, or none was asked for.
    recommendation : Recommendation or None
        Why this rule, where none was asked for.
    """

    evidence: StackEvidence
    selection: Selection
    composed: ComposedImage | None
    recommendation: Recommendation | None = None


def best_image(
    stack: Sequence[ArrayLike] | NDArray[Any],
    rule: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    z_um: ArrayLike | None = None,
    camera_model: CameraModel | None = None,
    score: str = DEFAULT_SCORE,
    kind: ScoreKind = "debiased",
    template: GoldenTemplate | None = None,
    mask: ArrayLike | None = None,
    how: Mapping[str, Any] | None = None,
    composed: bool = True,
) -> BestImage:
    """Select the good frames of a stack and make one image of them.

    Parameters
    ----------
    stack : array_like of shape (n, height, width)
        The frames.
    rule : str, optional
        Name among `RULES`; the one that `recommend` names by default.
    parameters : mapping, optional
        Of the rule.
    z_um, camera_model, score, kind, template, mask
        As in `gather_evidence`; the image is of the whole frames, whatever the mask.
    how : mapping, optional
        Parameters of `compose`.
    composed : bool
        False: only select.

    Raises
    ------
    BadInputError
        As the functions it calls.
    """
    told = dict(parameters or {})
    if rule is not None:
        check_parameters(rule, told)  # before anything is computed
    top_k = told.get("top_k", 5) if rule == "centre_of_mass_anchor" else None
    evidence = gather_evidence(
        stack,
        z_um,
        camera_model,
        score,
        kind=kind,
        mask=mask,
        template=template,
        anchor_top_k=top_k,
    )
    recommendation = None
    if rule is None:
        recommendation = recommend(evidence)
        rule, told = recommendation.rule, {**recommendation.parameters, **told}
    selection = select(evidence, rule, **told)
    if not composed or not selection.keep.any():
        return BestImage(evidence, selection, None, recommendation)
    frames = [np.asarray(frame) for frame in stack]
    told_how: dict[str, Any] = {"camera_model": camera_model, **dict(how or {})}
    return BestImage(evidence, selection, compose(frames, selection, **told_how), recommendation)
