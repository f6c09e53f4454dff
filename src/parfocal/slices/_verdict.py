"""What a judge says of a slice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a slice is good enough, why, and by which number.

    `reason` is a short phrase for people; it is empty only where nothing is to be said. `score` is the number
    the decision rests on, NaN where there is none.
    """

    accepted: bool
    reason: str = ""
    score: float = float("nan")
