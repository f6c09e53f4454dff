"""Rules that ask which frames fit one frame: the sharpest, the mean of the sharpest, or a golden template."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.slices.selection._decide import (
    checked_fraction,
    decide,
    joined,
    matrix_of,
    not_applicable,
)
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._motion import Blame, Limit
from parfocal.slices.selection._motion_rules import moved_frames
from parfocal.slices.selection._sharpness_rules import peak_of_evidence, peak_relative

TEMPLATE_FACT = "template_ncc"


def centre_fact(top_k: int) -> str:
    """Return the name of the fact that holds correlations with the registered mean of the sharpest frames."""
    return f"centre_of_mass_{top_k}_ncc"


def anchor(evidence: StackEvidence, *, alpha: float = 0.7, tau: float = 0.95) -> Selection:
    """Keep the sharp frames that correlate with the sharpest one.

    Parameters
    ----------
    evidence : StackEvidence
        With the correlation matrix.
    alpha : float
        Candidates are the frames that `peak_relative` keeps.
    tau : float
        Least correlation with the anchor.
    """
    parameters = {"alpha": alpha, "tau": tau}
    checked_fraction("anchor", "tau", tau, -1.0)
    matrix = matrix_of(evidence, "anchor")
    pool = peak_relative(evidence, alpha=alpha)
    top = peak_of_evidence(evidence).index
    if top < 0:
        return not_applicable("anchor", parameters, evidence, "no frame has a finite score")
    fits = _unlike(matrix[top], tau, f"the anchor, frame {top}")
    return decide("anchor", parameters, joined(pool.reasons, fits), tau, pool.notes)


def centre_of_mass_anchor(
    evidence: StackEvidence, *, alpha: float = 0.7, tau: float = 0.95, top_k: int = 5
) -> Selection:
    """Keep the sharp frames that correlate with the mean of the `top_k` sharpest.

    The mean is steadier than any one frame. Where the evidence was gathered with `anchor_top_k` equal to `top_k`,
    the frames of the mean were registered first; else correlations follow from the matrix alone, of the
    unregistered mean, and a note says so. Either way a frame is never compared with a mean that it is itself part
    of, and frames that do not correlate by `tau` with the sharpest are no part of the unregistered mean.

    Parameters
    ----------
    evidence : StackEvidence
        With the correlation matrix.
    alpha : float
        Candidates are the frames that `peak_relative` keeps.
    tau : float
        Least correlation with the anchor.
    top_k : int
        Number of frames in the mean, 3 to 5 as a rule.
    """
    parameters = {"alpha": alpha, "tau": tau, "top_k": top_k}
    checked_fraction("centre_of_mass_anchor", "tau", tau, -1.0)
    if top_k < 1:
        raise BadInputError(f"centre_of_mass_anchor: top_k is {top_k}, expected 1 or more")
    matrix = matrix_of(evidence, "centre_of_mass_anchor")
    pool = peak_relative(evidence, alpha=alpha)
    if peak_of_evidence(evidence).index < 0:
        return not_applicable("centre_of_mass_anchor", parameters, evidence, "no frame has a finite score")
    notes = list(pool.notes)
    registered = evidence.facts.get(centre_fact(top_k))
    if registered is None:
        members = sharpest(evidence, top_k)
        members = [m for m in members if matrix[members[0], m] >= tau]
        values = correlation_with_mean(matrix, members)
        notes.append(f"anchor_not_registered: the anchor is the plain mean of frames {members}")
        what = f"the mean of frames {', '.join(map(str, members))}"
    else:
        values, what = np.asarray(registered, np.float64), f"the registered mean of the {top_k} sharpest"
    fits = _unlike(values, tau, what)
    return decide("centre_of_mass_anchor", parameters, joined(pool.reasons, fits), tau, notes)


def chained_anchor(
    evidence: StackEvidence,
    *,
    alpha: float = 0.7,
    tau: float = 0.95,
    top_k: int = 1,
    limit: Limit = "dip",
    floor: float = 0.85,
    k: float = 3.0,
    min_drop: float = 0.08,
    blame: Blame = "skip",
) -> Selection:
    """Keep the frames that are sharp, then steady among those, then correlate with the anchor of what is left.

    Only pairs that are neighbours in the stack itself count as motion: two frames of the pool with others left
    out between them differ by right.

    Parameters
    ----------
    evidence : StackEvidence
        With the correlation matrix.
    alpha : float
        Of `peak_relative`.
    tau, top_k
        Of the anchor: the sharpest frame left (1), or the mean of the `top_k` sharpest left.
    limit, floor, k, min_drop, blame
        As in `motion`.
    """
    parameters: dict[str, Any] = {
        "alpha": alpha,
        "tau": tau,
        "top_k": top_k,
        "limit": limit,
        "floor": floor,
        "k": k,
        "min_drop": min_drop,
        "blame": blame,
    }
    if top_k < 1:
        raise BadInputError(f"chained_anchor: top_k is {top_k}, expected 1 or more")
    checked_fraction("chained_anchor", "tau", tau, -1.0)
    matrix = matrix_of(evidence, "chained_anchor")
    pool = peak_relative(evidence, alpha=alpha)
    steady, _ = moved_frames(evidence, limit, floor, k, min_drop, blame, pool.keep)
    notes = [*(note for note in pool.notes if not note.startswith("nothing survived")), *steady.notes]
    reasons = joined(pool.reasons, [steady.reasons.get(i, "") for i in range(evidence.n_frames)])
    if all(reasons):
        if not pool.keep.any():
            return not_applicable("chained_anchor", parameters, evidence, "no frame has a finite score")
        reasons = list(pool.reasons)
        notes.append("fell back: every sharp frame has moved; the sharp ones go on to the anchor")
    left = [i for i, reason in enumerate(reasons) if not reason]
    members = sorted(left, key=lambda i: -evidence.sharpness[i])[:top_k]
    members = [m for m in members if matrix[members[0], m] >= tau]
    values = correlation_with_mean(matrix, members) if top_k > 1 else matrix[members[0]]
    fits = _unlike(values, tau, f"the anchor, {_named(members)}")
    return decide("chained_anchor", parameters, joined(reasons, fits), tau, notes)


def golden_template(evidence: StackEvidence, *, alpha: float | None = 0.7, tau: float = 0.95) -> Selection:
    """Keep the frames that correlate with a golden template: focus, motion and drift judged against one standard.

    Parameters
    ----------
    evidence : StackEvidence
        Gathered with `template=`, which puts the correlations into `facts["template_ncc"]`.
    alpha : float, optional
        Candidates are the frames that `peak_relative` keeps; None: every frame.
    tau : float
        Least correlation with the template.
    """
    parameters = {"alpha": alpha, "tau": tau}
    checked_fraction("golden_template", "tau", tau, -1.0)
    values = evidence.facts.get(TEMPLATE_FACT)
    if values is None:
        raise BadInputError(
            "golden_template: the evidence was gathered without a template; --template FILE, or "
            "gather_evidence(..., template=...)"
        )
    fits = _unlike(np.asarray(values, np.float64), tau, "the template")
    if alpha is None:
        return decide("golden_template", parameters, fits, tau)
    pool = peak_relative(evidence, alpha=alpha)
    return decide("golden_template", parameters, joined(pool.reasons, fits), tau, pool.notes)


def sharpest(evidence: StackEvidence, top_k: int) -> list[int]:
    """Return the `top_k` sharpest frames, the sharpest first."""
    scores = np.where(np.isfinite(evidence.sharpness), evidence.sharpness, -np.inf)
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [int(i) for i in order if np.isfinite(scores[i])]


def correlation_with_mean(matrix: NDArray[np.float64], members: list[int]) -> NDArray[np.float64]:
    """Return each frame's correlation with the mean of `members` (each of unit variance), itself left out of it.

    With x_i the frames at mean 0 and length 1, the mean of a set M has correlation sum_M r_ij / sqrt(sum_MM r_jk).
    """
    n = matrix.shape[0]
    values = np.empty(n)
    for i in range(n):
        others = [m for m in members if m != i] or members
        norm = float(np.sqrt(max(1e-12, matrix[np.ix_(others, others)].sum())))
        values[i] = float(matrix[i, others].sum()) / norm
    return values


def _unlike(values: NDArray[np.float64], tau: float, what: str) -> list[str]:
    return [
        "" if value >= tau else f"does not fit {what}: correlation {value:.3f} < {tau:g}"
        for value in values.tolist()
    ]


def _named(members: list[int]) -> str:
    return f"frame {members[0]}" if len(members) == 1 else f"the mean of frames {', '.join(map(str, members))}"
