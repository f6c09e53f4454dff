"""The two shelves of a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

Shelf = Literal["raw", "analysis"]


def shelf_of(start: Mapping[str, Any]) -> Shelf:
    """Return where a run belongs: a run derived from another, which names it, is an analysis."""
    ours = start.get("parfocal")
    return "analysis" if isinstance(ours, Mapping) and cast("Mapping[str, Any]", ours).get("raw") else "raw"
