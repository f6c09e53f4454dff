"""The numbers of one labelled stack: scores of its frames, and what they come to for the stack as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import OPERATORS, operator_scores
from parfocal.slices.references._gallery import Category
from parfocal.slices.references._labelled import LabelledStack
from parfocal.slices.selection import DEFAULT_SCORE, StackEvidence, gather_evidence, rule_parameters

BAD_PAIR = 0.90
"""A pair of neighbours that correlates by less is a bad pair."""

LOWER_IS_BETTER = ("bad_pair_share",)
SHOWN_BY = DEFAULT_SCORE
"""The score by which worst, median and best frames are told, and that rules look at."""

_AS_MEASURED = ("laplacian_variance", "mean_abs_log")  # what is usually looked at, noise and exposure in it
_SHOWN_PX = 160


@dataclass(frozen=True)
class ShownFrame:
    """A frame for people to look at: `pixels` are uint8, at most 160 px wide, stretched to the stack's range."""

    role: str
    index: int
    score: float
    pixels: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, eq=False)
class ScoredStack:
    """The numbers of one labelled stack.

    Attributes
    ----------
    name, category, source
        As of the stack.
    z_um : ndarray of float64, shape (n,)
        0, 1, 2... where not known.
    profiles : mapping of name to ndarray of float64, shape (n,)
        Operators of each frame, noise floor subtracted, free of gain and exposure; those with `raw_` as measured.
    adjacent : ndarray of float64, shape (n - 1,)
        Correlation of neighbours, band-limited.
    matrix : ndarray of float32, shape (n, n)
        Correlation of every frame with every other, band-limited.
    metrics : mapping of name to float
        One number each for the whole stack; NaN where a single frame has none.
    pixels_sha256 : str
        Of the frames, in order: what the numbers are of.
    shown : tuple of ShownFrame
        Worst, median and best frame.
    evidence : StackEvidence
        What rules take.
    """

    name: str
    category: Category
    source: str
    z_um: NDArray[np.float64]
    profiles: Mapping[str, NDArray[np.float64]]
    adjacent: NDArray[np.float64]
    matrix: NDArray[np.float32]
    metrics: Mapping[str, float]
    pixels_sha256: str
    shown: tuple[ShownFrame, ...]
    evidence: StackEvidence

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.z_um.size)


def score_labelled(stack: LabelledStack) -> ScoredStack:
    """Read a labelled stack and score it.

    A sharpness of a stack is that of its best frame. Motion is `min_adjacent_ncc` (the lowest correlation of
    neighbours), `median_adjacent_ncc` and `bad_pair_share` (of those below 0.90). `relative_entropy` is the median
    over frames.

    Raises
    ------
    BadInputError
        The frames cannot be read, or are no frames.
    """
    frames = np.asarray(stack.read())
    if frames.ndim != 3 or frames.shape[0] == 0 or min(frames.shape[1:]) < 3:
        raise BadInputError(f"{stack.name}: frames of shape {frames.shape}, expected [z, y, x] of at least 3x3")
    n = frames.shape[0]
    if stack.z_um and len(stack.z_um) != n:
        raise BadInputError(f"{stack.name}: {n} frames and {len(stack.z_um)} z positions, expected as many")
    z_um = np.array(stack.z_um or range(n), np.float64)
    profiles = _profiles(frames, stack.mask)
    # As `slices select` has it, so that what is found here holds there.
    top_k = rule_parameters("centre_of_mass_anchor")["top_k"] if n > 1 else None
    evidence = gather_evidence(frames, z_um, mask=stack.mask, anchor_top_k=top_k)
    if evidence.matrix is None:
        raise BadInputError(f"{stack.name}: its frames could not be correlated")
    return ScoredStack(
        name=stack.name,
        category=stack.category,
        source=stack.source,
        z_um=z_um,
        profiles=profiles,
        adjacent=evidence.adjacent,
        matrix=evidence.matrix,
        metrics=_metrics(profiles, evidence.adjacent),
        pixels_sha256=_hash(frames),
        shown=_shown(frames, profiles[SHOWN_BY]),
        evidence=evidence,
    )


def _profiles(frames: NDArray[np.generic], mask: NDArray[np.bool_] | None) -> dict[str, NDArray[np.float64]]:
    told = [operator_scores(frame, mask=mask) for frame in frames]
    profiles = {name: np.array([one.normalized[name] for one in told], np.float64) for name in OPERATORS}
    for name in _AS_MEASURED:
        profiles[f"raw_{name}"] = np.array([one.raw[name] for one in told], np.float64)
    return profiles


def _metrics(profiles: Mapping[str, NDArray[np.float64]], adjacent: NDArray[np.float64]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, values in profiles.items():
        known = values[np.isfinite(values)]
        whole = np.median if name == "relative_entropy" else np.max
        metrics[name] = float(whole(known)) if known.size else float("nan")
    known = adjacent[np.isfinite(adjacent)]
    metrics["min_adjacent_ncc"] = float(known.min()) if known.size else float("nan")
    metrics["median_adjacent_ncc"] = float(np.median(known)) if known.size else float("nan")
    # a pair that cannot be correlated, flat or not finite, is a bad one
    is_bad = ~(adjacent >= BAD_PAIR)
    metrics["bad_pair_share"] = float(is_bad.mean()) if adjacent.size else float("nan")
    return metrics


def _hash(frames: NDArray[np.generic]) -> str:
    told = hashlib.sha256(f"{frames.shape} {frames.dtype.name}".encode())
    told.update(np.ascontiguousarray(frames).data)
    return told.hexdigest()


def _shown(frames: NDArray[np.generic], scores: NDArray[np.float64]) -> tuple[ShownFrame, ...]:
    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.argsort(scores[known], kind="stable")]
    if not order.size:
        order = np.arange(1)
    chosen = {"best": order[-1]} if order.size == 1 else {
        "worst": order[0], "median": order[order.size // 2], "best": order[-1]
    }  # fmt: skip
    step = max(1, -(-max(frames.shape[1:]) // _SHOWN_PX))
    small = {role: frames[index, ::step, ::step].astype(np.float32) for role, index in chosen.items()}
    finite = np.concatenate([pixels[np.isfinite(pixels)] for pixels in small.values()])
    low, high = (float(v) for v in np.percentile(finite, (0.5, 99.8))) if finite.size else (0.0, 1.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    return tuple(
        ShownFrame(
            role,
            int(chosen[role]),
            float(scores[chosen[role]]),
            np.nan_to_num(np.clip((pixels - low) * scale, 0, 255)).astype(np.uint8),
        )
        for role, pixels in small.items()
    )
