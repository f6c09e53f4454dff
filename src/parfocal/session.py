"""One working session: RunEngine, catalog, writer, analyses, put together once for every face.

`start_session()` is what a startup file, the demo and a queue's worker all call, so that there is one place
where they are wired::

    session = start_session("~/microscope-data")
    session.RE(z_stack(microscope))
    session.catalog.runs()
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, cast

from bluesky import RunEngine
from bluesky.utils import DuringTask, MsgGenerator, RunEngineInterrupted

from parfocal.callbacks import Analysis, publisher
from parfocal.catalog import Catalog, CatalogHealth, CatalogWriter, RestingFile, open_catalog, table_html
from parfocal.devices import Microscope
from parfocal.plans import keep_resting
from parfocal.prompt import LiveView, as_live_view, live_view, set_up_prompt

_SWITCH_INTERVAL_S = 0.0001


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
    publisher
        Sends every document, raw and derived, to a 0MQ proxy (see `start_session`); None where there is none.
    """

    RE: RunEngine
    catalog: Catalog
    writer: CatalogWriter
    analyses: list[Analysis] = field(default_factory=list[Analysis])
    publisher: Any = None
    _live: tuple[LiveView, int | None] = ("", None)
    _resting: list[Microscope] = field(default_factory=list[Microscope])
    _closed: bool = False
    _own_loop: asyncio.AbstractEventLoop | None = None

    def run(self, plan: MsgGenerator[Any]) -> None:
        """Run a plan as a command does: Ctrl-C ends it, safely, where at a prompt it would pause.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, when the run has been closed as `abort`, z put back and the light put out.
        """
        try:
            self.RE(plan)
        except RunEngineInterrupted:
            if self.RE.state == "paused":
                self.RE.abort("interrupted by the user")
            raise KeyboardInterrupt from None

    def add(self, analysis: Analysis) -> Analysis:
        """Let an analysis look at every run, live; volumes that it makes go into this session's data folder."""
        if self.publisher is not None:
            analysis.subscribe(self.publisher)
        analysis.frames_root = self.catalog.folder.frames
        self.RE.subscribe(analysis)
        self.analyses.append(analysis)
        return analysis

    def use(self, microscope: Microscope) -> Microscope:
        """Write a microscope's frames into this session's data folder, and where it rests before each plan.

        It goes by what was measured of it there (`parfocal characterize`).
        """
        for camera in (microscope.camera, microscope.focus_camera):
            camera.frames_root = self.catalog.folder.frames
        microscope.lock.calibrations = self.catalog.folder.calibrations
        microscope.resting = RestingFile(self.catalog.folder.resting / f"{microscope.name}.json")
        if not any(one is microscope for one in self._resting):  # a profile may be run again
            self._resting.append(microscope)
            self.RE.preprocessors.append(lambda plan: keep_resting(plan, microscope))
        microscope.use_characterizations(self.catalog.folder.characterizations)
        return microscope

    def show_live(self, what: LiveView) -> None:
        """Show runs while they are taken: a `table`, or the table and `plots`; an empty text ends it.

        It is bluesky's BestEffortCallback. In a queue's worker plots are left out.
        """
        view, token = live_view(what), self._live[1]
        if token is not None:
            self.RE.unsubscribe(token)
        self._live = (what, self.RE.subscribe(view) if view is not None else None)

    def drain(self, timeout_s: float = 60.0) -> bool:
        """Wait until analyses are done and everything is in the catalog."""
        states = [analysis.drain(timeout_s) for analysis in self.analyses]
        return self.writer.drain(timeout_s) and all(states)

    def close(self, timeout_s: float = 60.0) -> bool:
        """Finish and let go; what the catalog does not hold yet stays in the write-ahead log.

        Closing again does nothing.
        """
        if self._closed:
            return True
        self._closed = True
        for analysis in self.analyses:
            analysis.close(timeout_s)
        complete = self.writer.close(timeout_s)
        if self.publisher is not None:
            self.publisher.close()
        self.catalog.close()
        if self._own_loop is not None and not self._own_loop.is_closed():
            _end(self._own_loop)
        return complete

    def facts(self) -> dict[str, str]:
        """Return how the session stands, in words."""
        health = CatalogHealth(int(self.writer.health.get()))  # pyright: ignore[reportArgumentType]  (a Signal of int)
        facts = {
            "RunEngine": str(self.RE.state),
            "data": str(self.catalog.folder.root),
            "catalog": health.name.lower(),
            "analyses": ", ".join(analysis.name for analysis in self.analyses),
            "live": self._live[0],
            "published": "to 0MQ" if self.publisher is not None else "",
        }
        return {key: words for key, words in facts.items() if words}

    def __repr__(self) -> str:
        state = "closed" if self._closed else str(self.RE.state)
        return f"Session({str(self.catalog.folder.root)!r}, {state})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        lines = [repr(self), *(f"  {key:<9}  {words}" for key, words in self.facts().items())]
        printer.text(repr(self) if cycle else "\n".join(lines))

    def _repr_html_(self) -> str:
        return f"<b>Session</b>{table_html((), self.facts().items())}"


def start_session(
    data: Path | str | None = None,
    *,
    analyses: Iterable[type[Analysis]] = (),
    RE: RunEngine | None = None,  # noqa: N803  (the ecosystem's name for it)
    md: dict[str, Any] | None = None,
    in_thread: bool = False,
    publish: str | None = None,
    live: LiveView | None = None,
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
    in_thread : bool
        Make a RunEngine for a thread beside a window: it takes no signals, and runs no loop of Qt.
    publish : str, optional
        Address of a 0MQ proxy that gets every document, such as `tcp://127.0.0.1:5577`. Default:
        `$PARFOCAL_PUBLISH`, which `parfocal queue start` sets; none where that is not set.

    live : {"", "table", "plots"}, optional
        What to show of runs while they are taken; see `Session.show_live`. Default: `$PARFOCAL_LIVE`, or nothing.

    In IPython, runs and catalogs show themselves, TAB knows plans, devices and runs, and bluesky's magics are
    there: see `parfocal.prompt`.

    Raises
    ------
    CatalogError
        The catalog cannot be opened; the message says why.
    BadInputError
        There is no such live view.
    """
    told = os.environ.get("PARFOCAL_LIVE", "") if live is None else live
    what = as_live_view(told)  # before anything is opened
    # Analyses and the catalog's writer are Python too: they hand over to the plan ten times sooner so.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    catalog = open_catalog(data)
    loop = asyncio.new_event_loop() if RE is None else None
    beside: dict[str, Any] = {"context_managers": [], "during_task": DuringTask()} if in_thread else {}
    engine = RE if RE is not None else RunEngine({}, loop=loop, **beside)
    engine.md.update(md or {})
    root = catalog.folder.root

    async def tell_data_folder(msg: Any) -> str:
        return str(root)

    engine.register_command("data_folder", tell_data_folder)  # for plans that use what lies in it
    engine.md_normalizer = _with_all_of_ours(engine.md_normalizer)
    # scan_id goes on where the catalog ends, so that it is a number people can use.
    engine.md.setdefault("scan_id", _last_scan_id(catalog))
    writer = CatalogWriter(catalog)
    engine.subscribe(writer)
    address = publish or os.environ.get("PARFOCAL_PUBLISH")
    sender = publisher(address) if address else None
    if sender is not None:
        engine.subscribe(sender)
    session = Session(engine, catalog, writer, publisher=sender, _own_loop=loop)
    for cls in analyses:
        session.add(cls(emit=writer))
    if what:
        session.show_live(what)
    set_up_prompt(engine)
    return session


def _with_all_of_ours(normalize: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a normalizer of start documents that joins what a plan and who asked for it say under `parfocal`.

    A queue hands an item's `meta` to the RunEngine, which puts it in the place of what the plan says.
    """

    def joined(md: Any) -> Any:
        ours: dict[str, Any] = {}
        layers: list[Any] = list(getattr(md, "maps", ()))
        for layer in reversed(layers):
            if isinstance(said := layer.get("parfocal"), Mapping):
                ours |= cast("Mapping[str, Any]", said)
        return normalize({**md, "parfocal": ours} if ours else md)

    return joined


def at_end(act: Callable[[], object]) -> None:
    """Do something when this process ends, before what was asked for earlier; in a queue's worker too.

    A worker is forked, and no `atexit` runs in it.
    """
    if multiprocessing.parent_process() is None:
        atexit.register(act)
    else:
        Finalize(None, act, exitpriority=0)


def _end(loop: asyncio.AbstractEventLoop, timeout_s: float = 5.0) -> None:
    """Stop the loop that our RunEngine ran in, or its sockets stay open for as long as the process lives."""
    loop.call_soon_threadsafe(loop.stop)
    tick, waited_s = threading.Event(), 0.0
    while loop.is_running() and waited_s < timeout_s:
        waited_s += 0.01
        tick.wait(0.01)
    if not loop.is_running():
        loop.close()


def _last_scan_id(catalog: Catalog) -> int:
    newest = catalog.runs(limit=1)
    return int(newest["scan_id"].iloc[0] or 0) if len(newest) else 0
