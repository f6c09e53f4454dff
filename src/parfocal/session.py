"""One working session: RunEngine, catalog, writer, analyses, put together once for every face.

`start_session()` is what a startup file, the demo and a queue's worker all call, so that there is one place
where they are wired::

    session = start_session("~/microscope-data")
    session.RE(z_stack(microscope))
    session.catalog.runs()
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bluesky import RunEngine

from parfocal.callbacks import Analysis
from parfocal.catalog import Catalog, CatalogWriter, open_catalog
from parfocal.devices import Camera, Microscope


@dataclass
class Session:
    """A RunEngine whose documents go to a catalog, and the analyses that look on.

    Attributes
    ----------
    RE : RunEngine
        Runs plans.
    catalog : Catalog
        `catalog.runs()`, `catalog.raw[-1]`, `catalog.analyses_of(run)`.
    writer : CatalogWriter
        Writes every document; `writer.health` can be watched by a suspender.
    analyses : list of Analysis
        Subscribed to the RunEngine; their derived runs go through the same writer.
    """

    RE: RunEngine
    catalog: Catalog
    writer: CatalogWriter
    analyses: list[Analysis] = field(default_factory=list[Analysis])
    _cameras: list[Camera] = field(default_factory=list[Camera])

    def add(self, analysis: Analysis) -> Analysis:
        """Let an analysis look at every run, live."""
        self.RE.subscribe(analysis)
        self.analyses.append(analysis)
        return analysis

    def use(self, microscope: Microscope) -> Microscope:
        """Write a microscope's frames into this session's data folder."""
        microscope.camera.frames_root = self.catalog.folder.frames
        return microscope

    def drain(self, timeout_s: float = 60.0) -> bool:
        """Wait until analyses are done and everything is in the catalog."""
        states = [analysis.drain(timeout_s) for analysis in self.analyses]
        return self.writer.drain(timeout_s) and all(states)

    def close(self, timeout_s: float = 60.0) -> bool:
        """Finish and let go; what the catalog does not hold yet stays in the write-ahead log."""
        for analysis in self.analyses:
            analysis.close(timeout_s)
        return self.writer.close(timeout_s)


def start_session(
    data: Path | str | None = None,
    *,
    analyses: Iterable[type[Analysis]] = (),
    RE: RunEngine | None = None,  # noqa: N803  (the ecosystem's name for it)
    md: dict[str, Any] | None = None,
) -> Session:
    """Open the catalog (starting its server if need be) and wire a RunEngine to it.

    Parameters
    ----------
    data : path, optional
        The data folder; see `parfocal.catalog.open_catalog`.
    analyses : iterable of Analysis classes
        Looked on with, live.
    RE : RunEngine, optional
        One of your own; made where none is given.
    md : dict, optional
        Put into every start document, such as `{"operator": "..."}`.

    Raises
    ------
    CatalogError
        The catalog cannot be opened; the message says why.
    """
    catalog = open_catalog(data)
    engine = RE if RE is not None else RunEngine({}, loop=asyncio.new_event_loop())
    engine.md.update(md or {})
    # scan_id goes on where the catalog ends, so that it is a number people can use.
    engine.md.setdefault("scan_id", _last_scan_id(catalog))
    writer = CatalogWriter(catalog)
    engine.subscribe(writer)
    session = Session(engine, catalog, writer)
    for cls in analyses:
        session.add(cls(emit=writer))
    return session


def _last_scan_id(catalog: Catalog) -> int:
    newest = catalog.runs(limit=1)
    return int(newest["scan_id"].iloc[0] or 0) if len(newest) else 0
