"""From frames to what the rules look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import (
    FocusScoreSet,
    adjacent_ncc,
    band_limited,
    correlation_matrix,
    ncc,
    operator_scores,
    relative_entropy,
    sharpness,
)
from parfocal.optics import CameraModel
from parfocal.slices.selection._anchor_rules import TEMPLATE_FACT, centre_fact, sharpest
from parfocal.slices.selection._evidence import StackEvidence
from parfocal.slices.selection._template import GoldenTemplate, registered, template_ncc

ScoreKind = Literal["debiased", "normalized", "raw"]

DEFAULT_SCORE = "tenengrad"  # of the six, the steadiest on dim real stacks once its noise floor is off


def gather_evidence(
    frames: Iterable[ArrayLike],
    z_um: ArrayLike | None = None,
    camera_model: CameraModel | None = None,
    score: str = DEFAULT_SCORE,
    matrix: bool = True,
    *,
    kind: ScoreKind = "debiased",
    sigma_px: float = 2.0,
    bin_px: int = 1,
    mask: ArrayLike | None = None,
    template: GoldenTemplate | None = None,
    anchor_top_k: int | None = None,
) -> StackEvidence:
    """Score a stack's frames and correlate them, once, for all rules.

    Parameters
    ----------
    frames : array_like of shape (n, height, width)
        A z-stack or burst in the order it was taken.
    z_um : array_like of shape (n,), optional
        Position of each frame, um; 0, 1, 2... where not given.
    camera_model : CameraModel, optional
        For the noise floor; without it the noise is estimated from each frame.
    score : str
        Which operator: see `parfocal.imaging.sharpness` and `operator_scores`.
    matrix : bool
        Correlate all frames with all others.
    kind : {"debiased", "normalized", "raw"}
        "raw" keeps the noise floor in, which no peak-relative rule survives on dim stacks.
    sigma_px : float
        Frames are band-limited (Gaussian of this width, background removed) before they are correlated; 0: not.
    bin_px : int
        Average so many pixels along each axis for the matrix.
    mask : array_like of shape (height, width), optional
        One object, where objects move by themselves: only what is inside counts, and `facts["relative_entropy"]`
        is its histogram's entropy less the background's.
    template : GoldenTemplate, optional
        Frames are held against it: `facts["template_ncc"]`.
    anchor_top_k : int, optional
        Register the so many sharpest frames and hold every frame against their mean, for `centre_of_mass_anchor`.

    Raises
    ------
    BadInputError
        There is no frame, frames differ in shape, there is another number of z than of frames, or no such score.
    """
    stack = [np.asarray(frame) for frame in frames]
    n = len(stack)
    positions = np.arange(n, dtype=np.float64) if z_um is None else np.asarray(z_um, np.float64).ravel()
    if n == 0 or positions.size != n or not np.isfinite(positions).all():
        raise BadInputError(f"gather evidence: {n} frames and {positions.size} z; expected one finite z a frame")
    for i, frame in enumerate(stack):
        if frame.ndim != 2 or frame.shape != stack[0].shape:
            raise BadInputError(
                f"gather evidence: frame {i} has shape {frame.shape}, the first {stack[0].shape}; "
                "expected one shape [y, x]"
            )
    scores = _scores(stack, score, kind, camera_model, mask)
    limited = np.stack([band_limited(f, sigma_px) if sigma_px > 0 else np.asarray(f, np.float32) for f in stack])
    facts: dict[str, NDArray[np.float64]] = {}
    if mask is not None:
        facts["relative_entropy"] = np.array([relative_entropy(frame, mask) for frame in stack], np.float64)
    if template is not None:
        facts[TEMPLATE_FACT] = template_ncc(stack, template)
    evidence = StackEvidence(
        sharpness=scores,
        score_name=score,
        adjacent=adjacent_ncc(limited, 1, mask),
        skip=adjacent_ncc(limited, 2, mask),
        z_um=positions,
        matrix=correlation_matrix(limited, bin_px, mask) if matrix else None,
        facts=facts,
    )
    if anchor_top_k is not None:
        facts[centre_fact(anchor_top_k)] = _centre_ncc(stack, limited, evidence, anchor_top_k, sigma_px, mask)
    return evidence


def _scores(
    stack: Sequence[NDArray[np.generic]],
    score: str,
    kind: ScoreKind,
    camera_model: CameraModel | None,
    mask: ArrayLike | None,
) -> NDArray[np.float64]:
    if kind not in ("debiased", "normalized", "raw"):
        raise BadInputError(f"gather evidence: kind {kind!r} is unknown; expected debiased, normalized or raw")
    if mask is None and score in FocusScoreSet.names():
        measured = [getattr(sharpness(frame, camera_model), kind) for frame in stack]
        return np.array([getattr(one, score) for one in measured], np.float64)
    found = [operator_scores(frame, (score,), camera_model=camera_model, mask=mask) for frame in stack]
    return np.array([getattr(one, kind)[score] for one in found], np.float64)


def _centre_ncc(
    stack: Sequence[NDArray[np.generic]],
    limited: NDArray[np.float32],
    evidence: StackEvidence,
    top_k: int,
    sigma_px: float,
    mask: ArrayLike | None,
) -> NDArray[np.float64]:
    """Return each frame's correlation with the mean of the registered sharpest frames, itself left out of it."""
    members = sharpest(evidence, top_k)
    if not members:
        return np.full(len(stack), np.nan)
    first = np.asarray(stack[members[0]], np.float32)
    bound = min(first.shape) / 10
    laid = {m: registered(first, np.asarray(stack[m], np.float32), sigma_px, bound)[0] for m in members}
    found = np.empty(len(stack))
    for i in range(len(stack)):
        others = [m for m in members if m != i] or members
        mean = np.mean([laid[m] for m in others], axis=0, dtype=np.float32)
        anchor = band_limited(mean, sigma_px) if sigma_px > 0 else mean
        found[i] = ncc(anchor, limited[i], mask)
    return found
