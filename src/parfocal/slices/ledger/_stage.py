"""What a stage of the slice pipeline gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

CANONICAL_COLUMNS = (
    "slice_id",
    "use",
    "quality_score",
    "galvo_confidence",
    "galvo_fix",
    "rehomed",
    "rehoming_reliable",
    "auto_excluded",
    "auto_exclude_reason",
    "interpolated",
    "interpolation_failed",
    "interpolation_method_used",
    "interpolation_fallback_reason",
    "notes",
)
"""Columns of `slice_config.csv`, in the order in which they are written; others are kept at the end."""

CellValue = bool | float | str | None
Metric = bool | int | float | str | None


@dataclass(frozen=True)
class Stamp:
    """One decision about one slice: a cell of the ledger and its new value.

    None clears the cell. `append` (for `notes`) joins the value to what stands there with "; ", once.
    """

    slice_id: str
    column: str
    value: CellValue
    append: bool = False


@dataclass(frozen=True)
class StageResult:
    """What a stage decided, and the numbers behind it.

    Attributes
    ----------
    stage : str
        Its name: "generate", "assess", "detect-rehoming"...
    stamps : tuple of Stamp
        For the ledger. Decisions and short reasons only.
    metrics : mapping of slice id to mapping of name to number
        Raw numbers, for one JSON a slice and the report; never in the ledger.
    messages : tuple of str
        What a user should read: what was included, excluded, doubted.
    """

    stage: str
    stamps: tuple[Stamp, ...] = ()
    metrics: Mapping[str, Mapping[str, Metric]] = field(default_factory=lambda: MappingProxyType({}))
    messages: tuple[str, ...] = ()
