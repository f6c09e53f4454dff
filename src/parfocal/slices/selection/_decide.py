"""How every rule turns what it found into a `Selection`: reasons joined, and nothing empty without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.robust import MAD_TO_SD
from parfocal.slices.selection._evidence import Selection, StackEvidence

MEAN_DEVIATION_TO_SD = 1.2533
_NOT_SCORED = "not scored: its sharpness is not a number"


def decide(
    rule: str,
    parameters: Mapping[str, Any],
    reasons: Sequence[str],
    threshold: float = float("nan"),
    notes: Sequence[str] = (),
) -> Selection:
    """Return the selection that keeps every frame without a reason against it.

    Where no frame is left and `notes` do not say so yet, a note does.
    """
    keep = np.array([not reason for reason in reasons], bool)
    said = list(notes)
    if not keep.any() and not any(note.startswith("nothing survived") for note in said):
        said.append(f"nothing survived: {rule} leaves out all {keep.size} frames")
    return Selection(keep, tuple(reasons), rule, dict(parameters), threshold, tuple(said))


def not_applicable(rule: str, parameters: Mapping[str, Any], evidence: StackEvidence, why: str) -> Selection:
    """Return what a rule says that cannot judge this stack: every scored frame stays, and it is said why."""
    reasons = scored_reasons(evidence)
    return decide(rule, parameters, reasons, notes=(f"not applicable: {why}",))


def scored_reasons(evidence: StackEvidence) -> list[str]:
    """Return a reason against each frame without a finite score, "" for the others."""
    return ["" if finite else _NOT_SCORED for finite in np.isfinite(evidence.sharpness)]


def joined(*columns: Sequence[str]) -> list[str]:
    """Return one reason a frame out of several lists of them."""
    return ["; ".join(reason for reason in reasons if reason) for reasons in zip(*columns, strict=True)]


def kept_only(n_frames: int, frames: Sequence[int], why_not: str) -> list[str]:
    """Return reasons that keep `frames` and say `why_not` of every other."""
    kept = set(frames)
    return ["" if i in kept else why_not for i in range(n_frames)]


def matrix_of(evidence: StackEvidence, rule: str) -> NDArray[np.float64]:
    """Return the correlation matrix, undefined entries as -1 (correlated with nothing).

    Raises
    ------
    BadInputError
        The evidence has none, or one of another shape.
    """
    if evidence.matrix is None:
        raise BadInputError(f"{rule}: needs the correlation matrix; gather_evidence(..., matrix=True) makes it")
    n = evidence.n_frames
    if evidence.matrix.shape != (n, n):
        raise BadInputError(f"{rule}: the matrix has shape {evidence.matrix.shape}, expected ({n}, {n})")
    matrix = np.nan_to_num(np.asarray(evidence.matrix, np.float64), nan=-1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def checked_fraction(rule: str, name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return a number that must lie above `low` and not above `high`."""
    if not low < value <= high:
        raise BadInputError(f"{rule}: {name} is {value:g}, expected above {low:g} and at most {high:g}")
    return float(value)


def robust_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return median and robust standard deviation of the finite values.

    1.4826 MAD; where more than half of the values are equal and MAD is 0, 1.2533 times the mean absolute deviation
    (the same for normal values); NaN without values.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan"), float("nan")
    median = float(np.median(finite))
    away = np.abs(finite - median)
    scale = MAD_TO_SD * float(np.median(away))
    # Scores that are equal but for rounding have no spread.
    if scale <= 1e-12 * max(abs(median), 1e-300):
        scale = MEAN_DEVIATION_TO_SD * float(away.mean())
    return median, scale
