"""The two shelves of a catalog, and what its questions need of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast

from bluesky_tiled_plugins import CatalogOfBlueskyRuns
from tiled.client.container import Container

Shelf = Literal["raw", "analysis"]


class Shelves(Protocol):
    """A tree with its shelves: what runs and tables are looked up in. `Catalog` is one."""

    table_clients: dict[tuple[str, str], Any]

    @property
    def raw(self) -> CatalogOfBlueskyRuns:
        """Runs as they were acquired, oldest first."""
        ...

    @property
    def analysis(self) -> CatalogOfBlueskyRuns:
        """Runs derived from others, oldest first."""
        ...

    def shelf(self, name: str) -> Container:
        """Return the container of a shelf's runs or of the tables; made where it is missing."""
        ...


def shelf_of(start: Mapping[str, Any]) -> Shelf:
    """Return where a run belongs: a run derived from another, which names it, is an analysis."""
    ours = start.get("parfocal")
    return "analysis" if isinstance(ours, Mapping) and cast("Mapping[str, Any]", ours).get("raw") else "raw"
