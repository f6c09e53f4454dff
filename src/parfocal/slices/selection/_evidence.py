"""What the rules look at, and what each of them answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class StackEvidence:
    """What is known of a stack's frames without looking at their pixels again.

    Rules take this and nothing else, so that any of them can be tried on stored scores, and a calibration can rank
    them all on the same stacks.

    Attributes
    ----------
    sharpness : ndarray of float64, shape (n,)
        One sharpness score a frame, less its noise floor; grows with sharpness.
    score_name : str
        Which operator it is.
    adjacent : ndarray of float64, shape (n - 1,)
        Correlation of band-limited frames i and i + 1; NaN where a frame is flat.
    skip : ndarray of float64, shape (n - 2,)
        The same for frames i and i + 2: what clears a good neighbour of a bad frame.
    matrix : ndarray of float32, shape (n, n), optional
        Correlation of every frame with every other.
    z_um : ndarray of float64, shape (n,)
        Position of each frame; 0, 1, 2... where none is known.
    facts : mapping
        Further numbers a frame (arrays of shape (n,)) by name: `relative_entropy`, `min_tile_ncc`...
    """

    sharpness: NDArray[np.float64]
    score_name: str
    adjacent: NDArray[np.float64]
    skip: NDArray[np.float64]
    z_um: NDArray[np.float64]
    matrix: NDArray[np.float32] | None = None
    facts: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.sharpness.size)


@dataclass(frozen=True)
class Selection:
    """Which frames of a stack to keep, and why not the others.

    Attributes
    ----------
    keep : ndarray of bool, shape (n,)
        Never all False without a word of it in `notes`.
    reasons : tuple of str
        One a frame: why it is left out; empty for a frame that is kept.
    rule : str
        Name of the rule, as in `RULES`.
    parameters : mapping
        What the rule was told.
    threshold : float
        What it came to on this stack, in the unit of what it looked at; NaN where there is no one number.
    notes : tuple of str
        What a reader must know, by code and plain words: "peak_at_edge: ...", "nothing survived: ...",
        "not applicable: ...".
    """

    keep: NDArray[np.bool_]
    reasons: tuple[str, ...]
    rule: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    threshold: float = float("nan")
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> tuple[int, ...]:
        """Indices of the frames to keep, ascending."""
        return tuple(int(i) for i in np.flatnonzero(self.keep))
