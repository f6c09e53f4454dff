"""What a judge says of a slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Verdict:
    """Whether a slice is good enough, why, and by which number.

    `reason` is a short phrase for people; it is empty only where nothing is to be said. `score` is the number
    the decision rests on, NaN where there is none. `is_provisional` says that the judge does not know yet what
    to expect and will say more when asked again. `scores` are the numbers behind it, by name.
    """

    accepted: bool
    reason: str = ""
    score: float = float("nan")
    is_provisional: bool = False
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
