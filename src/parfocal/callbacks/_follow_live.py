"""Runs whose documents come as they go on: which analysis gets them, and which of them cannot be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parfocal.callbacks._analysis import Analysis
from parfocal.callbacks._follow_heard import Heard


@dataclass
class _LiveRun:
    start: Mapping[str, Any]
    wanted: set[int]  # analyses that have not closed it
    heard: Heard = field(default_factory=Heard)
    heard_at_s: float = field(default_factory=time.monotonic)
    stopped_s: float | None = None


class LiveRuns:
    """Hands documents to analyses, from the start of each run on, until something of it was not heard.

    Parameters
    ----------
    analyses
        That look on, live.
    admit
        Asked at each start document: which of the analyses are to have the run.
    on_lost
        Told of a run whose documents did not all come, why, and which analyses had it: they end it as `abort`.
    """

    def __init__(
        self,
        analyses: list[Analysis],
        admit: Callable[[Mapping[str, Any]], set[int]],
        on_lost: Callable[[str, str, set[int]], object],
    ) -> None:
        self._analyses = analyses
        self._admit = admit
        self._on_lost = on_lost
        self._runs: dict[str, _LiveRun] = {}
        self._run_of: dict[str, str] = {}  # descriptor or resource uid -> run uid

    @property
    def uids(self) -> list[str]:
        """Runs that are under way, or that an analysis has not finished."""
        return list(self._runs)

    def start_of(self, uid: str) -> Mapping[str, Any]:
        """Return a run's start document."""
        return self._runs[uid].start

    def stopped_s(self, uid: str) -> float | None:
        """Return when a run stopped, by its own clock; None for not yet."""
        return self._runs[uid].stopped_s

    def quiet(self, since_s: float) -> list[str]:
        """Return runs that have not stopped and were not heard of for so long: their end may have been lost."""
        now_s = time.monotonic()
        return [
            uid for uid, run in self._runs.items() if run.stopped_s is None and now_s - run.heard_at_s > since_s
        ]

    def heard_of(self, uid: str) -> None:
        """Count a run's silence anew."""
        self._runs[uid].heard_at_s = time.monotonic()

    def take(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document of whichever run."""
        if name == "start":
            if doc["uid"] not in self._runs and "raw" not in (doc.get("parfocal") or {}):
                wanted = self._admit(doc)
                if wanted:
                    self._runs[doc["uid"]] = _LiveRun(doc, wanted)
                    self._send(doc["uid"], name, doc)
            return
        uid = self._uid(name, doc)
        run = self._runs.get(uid)
        if run is None or run.stopped_s is not None:  # began before we listened, or is taken from the catalog
            return
        run.heard_at_s = time.monotonic()
        if run.heard.has(doc):
            return
        if why := run.heard.missing(name, doc):
            self.lose(uid, why)
            return
        if name in ("descriptor", "stream_resource"):
            self._run_of[doc["uid"]] = uid
        if name == "stop":
            run.stopped_s = float(doc["time"])
        self._send(uid, name, doc)

    def lose(self, uid: str, why: str) -> None:
        """End what was begun of a run: it is not to be had this way."""
        run = self._forget(uid)
        self._on_lost(uid, why, set(run.wanted))
        for k in run.wanted:
            self._analyses[k].abandon(uid, why)

    def closed(self, uid: str, k: int) -> bool:
        """Note that an analysis has finished a run; say whether all have. False for a run that was lost."""
        run = self._runs.get(uid)
        if run is None:
            return False
        run.wanted.discard(k)
        if run.wanted:
            return False
        self._forget(uid)
        return True

    def _send(self, uid: str, name: str, doc: dict[str, Any]) -> None:
        for k in self._runs[uid].wanted:
            self._analyses[k](name, doc)

    def _uid(self, name: str, doc: Mapping[str, Any]) -> str:
        if "run_start" in doc:
            return str(doc["run_start"])
        return self._run_of.get(doc.get("descriptor", ""), "")

    def _forget(self, uid: str) -> _LiveRun:
        for key in [key for key, run in self._run_of.items() if run == uid]:
            del self._run_of[key]
        return self._runs.pop(uid)
