"""The loop of `follow`: who owns which run, and when the catalog is asked."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from parfocal.callbacks._analysis import RunOutcome
from parfocal.callbacks._follow_catalog import (
    MOST_FAILURES,
    FollowedRun,
    followed,
    metadata_of,
    standing,
    take,
    uids_since,
)
from parfocal.callbacks._follow_live import LiveRuns
from parfocal.callbacks._follow_place import WantedAnalysis
from parfocal.callbacks._follow_sources import Source
from parfocal.callbacks._replay import analysis_named
from parfocal.catalog import Catalog, CatalogWriter
from parfocal.errors import CatalogError
from parfocal.frames import FrameRing, Frames

_TICK_S = 0.2
_FULL_SWEEP_S = 600.0
_LATE_S = 600.0
_MOST_READ_FAILURES = 5


@dataclass(frozen=True)
class FollowState:
    """How things are: runs that come in now, runs that wait or are taken from the catalog, results so far."""

    n_live: int
    n_waiting: int
    n_done: int
    n_failed: int


@dataclass
class _Waiting:
    """A run that is owed a result, and not in live hands."""

    not_before_s: float = 0.0
    n_read_failures: int = 0
    is_in_work: bool = False
    began_s: float | None = None
    has_stopped: bool = False


class Follower:
    """Follows until told to end: `run`. What decides happens in its thread; others put word into its inbox."""

    def __init__(
        self,
        catalog: Catalog,
        writer: CatalogWriter,
        wanted: list[WantedAnalysis],
        source: Source | None,
        tell: Callable[[FollowedRun], object],
        say: Callable[[str], object],
        show: Callable[[FollowState], object],
        patience_s: float,
        poll_s: float,
    ) -> None:
        self._catalog, self._writer, self._wanted, self._source = catalog, writer, wanted, source
        self._tell, self._say, self._show = tell, say, show
        self._patience_s, self._poll_s = patience_s, poll_s
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.analyses = [
            analysis_named(
                one.name,
                one.parameters,
                emit=writer,
                frames=Frames(FrameRing(1)),
                frames_root=catalog.folder.frames,
                queue_size=100_000,
            )
            for one in wanted
        ]
        for k, analysis in enumerate(self.analyses):
            analysis.on_closed(lambda outcome, k=k: self._inbox.put(lambda: self._closed_live(k, outcome)))
        self._live = LiveRuns(self.analyses, self._admit, self._lost)
        self._claims: dict[str, Literal["live", "catalog"]] = {}
        self._claiming = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._settled: set[str] = set()
        self._settled_one: set[tuple[str, int]] = set()
        self._abandoned: dict[str, set[int]] = {}  # and not yet closed
        self._begun: dict[tuple[str, int], str] = {}  # derived runs that came to no good end
        self._unreadable: list[float | None] = []
        self._n_done = self._n_failed = 0
        self._is_away = False
        self._ending = threading.Event()

    # -- the loop: everything that decides happens in this thread -----------------------------------------

    def run(
        self, since_s: float, once: bool, until: threading.Event, note_settled: Callable[[float], object]
    ) -> FollowState:
        """Follow; `note_settled` is told until when everything is settled."""
        worker = threading.Thread(target=self._work, name="follow-catalog", daemon=True)
        worker.start()
        hears = threading.Event()  # a source is there: word comes by itself
        listener = self._listen(until, hears) if self._source is not None and not once else None
        full_at_s = swept_at_s = asked_at_s = float("-inf")
        settled_s = since_s
        try:
            while not until.is_set():
                self._handle(_TICK_S)
                now_s = time.monotonic()
                every_s = self._poll_s * (10 if hears.is_set() else 1)
                if now_s - swept_at_s >= every_s:
                    swept_at_s = now_s
                    is_full = now_s - full_at_s >= _FULL_SWEEP_S
                    wall_s = time.time()
                    if self._sweep(since_s if is_full else max(since_s, settled_s - _LATE_S)):
                        full_at_s = now_s if is_full else full_at_s
                        settled_s = max(settled_s, self._settled_until(wall_s))
                        note_settled(settled_s)
                if now_s - asked_at_s >= min(self._poll_s, self._patience_s / 2):
                    asked_at_s = now_s
                    self._look_for_ends()
                self._give_out()
                self._show(self._state())
                if once and full_at_s > float("-inf") and not self._owed():
                    break
        finally:
            self._end(worker, listener, until)
        if self._sweep(max(since_s, settled_s - _LATE_S)):
            note_settled(max(settled_s, self._settled_until(time.time() - _LATE_S)))
        return self._state()

    def _handle(self, wait_s: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=wait_s)()
            for _ in range(1000):  # what came meanwhile, but not for ever
                self._inbox.get_nowait()()

    def _listen(self, until: threading.Event, hears: threading.Event) -> threading.Thread:
        source = self._source
        assert source is not None  # noqa: S101  (the caller asked)
        tried = threading.Event()

        def ready() -> None:
            hears.set()
            tried.set()

        def listen() -> None:
            try:
                source(
                    lambda name, doc: self._inbox.put(lambda: self._live.take(name, doc)),
                    lambda uid: self._inbox.put(lambda: self._noticed(uid)),
                    until,
                    ready,
                    lambda line: self._inbox.put(lambda: self._say(line)),
                )
            except Exception as error:  # the catalog is still there
                why = " ".join(str(error).split()) or type(error).__name__
                self._inbox.put(lambda: self._say(f"{why}; the catalog is asked every {self._poll_s:g} s instead"))
            hears.clear()
            tried.set()

        thread = threading.Thread(target=listen, name="follow-source", daemon=True)
        thread.start()
        tried.wait(10.0)  # so that what begins after the first look at the catalog is heard
        return thread

    def _end(self, worker: threading.Thread, listener: threading.Thread | None, until: threading.Event) -> None:
        until.set()
        if listener is not None:
            listener.join(5.0)
        self._ending.set()
        self._jobs.put(None)
        for uid in self._live.uids:
            if self._live.stopped_s(uid) is None:
                self._live.lose(uid, "the process that analysed it was ended before it was")
        worker.join()
        for analysis in self.analyses:
            analysis.drain()
            analysis.close()
        self._handle(0.01)
        while not self._inbox.empty():
            self._handle(0.01)
        self._show(self._state())

    def _state(self) -> FollowState:
        owed = sum(1 for one in self._waiting.values() if one.has_stopped or one.is_in_work)
        return FollowState(len(self._live.uids), owed, self._n_done, self._n_failed)

    # -- runs as they come --------------------------------------------------------------------------------

    def _admit(self, start: Mapping[str, Any]) -> set[int]:
        """Say which analyses get a run whose start was just heard: none when the catalog has it whole already."""
        uid = start["uid"]
        if uid in self._settled:
            return set()
        try:
            self._catalog.ping()
            known = metadata_of(self._catalog, uid)
            if known is not None and known.get("stop"):
                return set()
            owing = {
                k
                for k, analysis in enumerate(self.analyses)
                if known is None or not standing(self._catalog, uid, analysis).is_settled
            }
        except Exception:  # what cannot be known is left to the catalog, when it is back
            return set()
        if not owing or not self._claim(uid, "live"):
            return set()
        self._waiting.pop(uid, None)
        return owing

    def _lost(self, uid: str, why: str, wanted: set[int]) -> None:
        self._say(f"run {uid[:8]}: {why}; taken from the catalog when it has ended")
        self._abandoned[uid] = wanted

    def _closed_live(self, k: int, outcome: RunOutcome) -> None:
        uid = outcome.raw_uid
        if outcome.derived_uid and outcome.exit_status != "success":
            self._begun[uid, k] = outcome.derived_uid
        if uid in self._abandoned:
            self._abandoned[uid].discard(k)
            if not self._abandoned[uid]:
                del self._abandoned[uid]
                self._release(uid)
                self._waiting[uid] = _Waiting()
            return
        if uid not in self._live.uids:
            return
        start, stopped_s = self._live.start_of(uid), self._live.stopped_s(uid)
        self._result(k, followed(outcome, self._wanted[k].name, "live", start, stopped_s))
        if outcome.exit_status != "fail":
            self._settled_one.add((uid, k))
        if self._live.closed(uid, k):
            self._release(uid)
            if all((uid, k) in self._settled_one for k in range(len(self._wanted))):
                self._settled.add(uid)
            else:
                self._waiting[uid] = _Waiting()

    def _look_for_ends(self) -> None:
        for uid in self._live.quiet(self._patience_s):
            self._live.heard_of(uid)
            with contextlib.suppress(Exception):  # asked again later
                self._catalog.ping()
                known = metadata_of(self._catalog, uid)
                if known is not None and known.get("stop"):
                    self._live.lose(uid, "its end was not heard")

    # -- runs from the catalog ----------------------------------------------------------------------------

    def _noticed(self, uid: str) -> None:
        if uid not in self._settled and self._claims.get(uid) is None:
            self._waiting.setdefault(uid, _Waiting()).not_before_s = 0.0

    def _sweep(self, since_s: float) -> bool:
        """Note what began since then and is not settled; False when the catalog is away."""
        try:
            self._catalog.ping()
            uids = uids_since(self._catalog, since_s)
        except Exception as error:  # it comes back, or a person looks after it
            if not self._is_away:
                self._say(f"the catalog is away ({' '.join(str(error).split())}); what is live goes on")
            self._is_away = True
            with contextlib.suppress(Exception):
                self._catalog.reconnect()
            return False
        if self._is_away:
            self._say("the catalog is back")
        self._is_away = False
        for uid in uids:
            if uid not in self._settled and self._claims.get(uid) is None:
                self._waiting.setdefault(uid, _Waiting())
        return True

    def _owed(self) -> bool:
        return any(one.is_in_work or one.has_stopped or one.began_s is None for one in self._waiting.values())

    def _settled_until(self, now_s: float) -> float:
        began = [one.began_s for one in self._waiting.values()]
        began += self._unreadable  # they are tried again by the next process
        began += [float(self._live.start_of(uid)["time"]) for uid in self._live.uids]
        if any(one is None for one in began):
            return 0.0
        return min((one for one in began if one is not None), default=now_s)

    def _give_out(self) -> None:
        now_s = time.monotonic()
        for uid, one in self._waiting.items():
            if not one.is_in_work and now_s >= one.not_before_s:
                one.is_in_work = True
                self._jobs.put(uid)

    def _claim(self, uid: str, by: Literal["live", "catalog"]) -> bool:
        with self._claiming:
            return self._claims.setdefault(uid, by) == by

    def _release(self, uid: str) -> None:
        with self._claiming:
            self._claims.pop(uid, None)

    def _result(self, k: int, run: FollowedRun) -> None:
        self._n_done += run.status == "done"
        self._n_failed += run.status == "failed"
        if run.status != "no_images":
            self._tell(run)

    # -- in the worker ------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (uid := self._jobs.get()) is not None and not self._ending.is_set():
            try:
                self._catalog.ping()
                self._take(uid)
            except Exception as error:  # a run that cannot be read must not keep the others
                why = " ".join(str(error).split()) or type(error).__name__
                self._inbox.put(partial(self._unread, uid, why, isinstance(error, CatalogError)))

    def _take(self, uid: str) -> None:
        """Do what a run is owed, where it has ended and nobody has it live."""
        known = metadata_of(self._catalog, uid)
        if known is None or not known.get("stop"):
            began_s = time.time() if known is None else float(known["start"]["time"])
            self._inbox.put(partial(self._under_way, uid, began_s))
            return
        if not self._claim(uid, "catalog"):
            self._inbox.put(partial(self._waiting.pop, uid, None))
            return
        self._inbox.put(partial(self._has_stopped, uid, float(known["start"]["time"])))
        is_settled = True
        for k, wanted in enumerate(self._wanted):
            if self._ending.is_set():
                return
            if (uid, k) in self._settled_one:
                continue
            before = standing(self._catalog, uid, self.analyses[k])
            if before.is_settled:
                continue
            begun = self._begun.get((uid, k), before.latest)
            outcome = take(self._catalog, uid, wanted, self._writer, begun)
            line = followed(outcome, wanted.name, "replay", known["start"], float(known["stop"]["time"]))
            self._inbox.put(partial(self._result, k, line))
            n_failed = before.n_failed + 1
            if line.status == "failed" and n_failed < MOST_FAILURES:
                is_settled = False  # once more, later: it may have been the disk, or the network
            else:
                self._settled_one.add((uid, k))
        self._inbox.put(partial(self._taken, uid, is_settled))

    # -- and what the loop does about it ------------------------------------------------------------------

    def _has_stopped(self, uid: str, began_s: float) -> None:
        if uid in self._waiting:
            self._waiting[uid].has_stopped, self._waiting[uid].began_s = True, began_s

    def _under_way(self, uid: str, began_s: float) -> None:
        one = self._waiting.get(uid)
        if one is not None:
            one.is_in_work, one.began_s, one.has_stopped = False, began_s, False
            one.not_before_s = time.monotonic() + self._poll_s

    def _taken(self, uid: str, is_settled: bool) -> None:
        self._release(uid)
        one = self._waiting.pop(uid, None)
        if is_settled:
            self._settled.add(uid)
        elif one is not None:
            self._waiting[uid] = _Waiting(time.monotonic() + self._poll_s, has_stopped=True)

    def _unread(self, uid: str, why: str, is_away: bool) -> None:
        self._release(uid)
        one = self._waiting.get(uid)
        if one is None:
            return
        one.is_in_work = False
        one.not_before_s = time.monotonic() + self._poll_s
        one.n_read_failures += not is_away
        if one.n_read_failures >= _MOST_READ_FAILURES:
            self._say(f"run {uid[:8]} cannot be read, and is left: {why}")
            self._settled.add(uid)
            self._n_failed += 1
            self._unreadable.append(one.began_s)
            del self._waiting[uid]
