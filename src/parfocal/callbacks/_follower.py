"""The loop of `follow`: runs as they come, and when the catalog is asked for what else is owed."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from parfocal.callbacks._analysis import RunOutcome
from parfocal.callbacks._claims import Claims
from parfocal.callbacks._follow_catalog import FollowedRun, documents_of, followed, metadata_of, uids_since
from parfocal.callbacks._follow_ledger import RunLedger
from parfocal.callbacks._follow_live import LiveRuns
from parfocal.callbacks._follow_place import WantedAnalysis
from parfocal.callbacks._follow_sources import Source
from parfocal.callbacks._replay import analysis_named
from parfocal.callbacks._replay_run import Replayed, replay_run
from parfocal.callbacks._run_view import image_key
from parfocal.callbacks._standing import MOST_FAILURES, owed_unless_settled, standings
from parfocal.catalog import Catalog, CatalogWriter
from parfocal.errors import CatalogError
from parfocal.frames import FrameRing, Frames

_TICK_S = 0.2
_FULL_SWEEP_S = 600.0
_LATE_S = 600.0


@dataclass(frozen=True)
class FollowState:
    """How things are: runs that come in now, runs that wait or are taken from the catalog, results so far."""

    n_live: int
    n_waiting: int
    n_done: int
    n_failed: int


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
        self._ledger = RunLedger(len(wanted))
        self._claims = Claims(catalog.folder, writer)
        self._claimed_live: dict[tuple[str, int], str] = {}
        self.analyses = [
            analysis_named(
                one.name,
                one.parameters,
                emit=self._emit_live,
                emit_rows=writer.append_rows,
                frames=Frames(FrameRing(1)),
                frames_root=catalog.folder.frames,
                queue_size=100_000,
            )
            for one in wanted
        ]
        for k, analysis in enumerate(self.analyses):
            analysis.on_closed(lambda outcome, k=k: self._inbox.put(lambda: self._closed_live(k, outcome)))
        self._live = LiveRuns(self.analyses, self._admit, self._lost)
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
                        settled_s = max(settled_s, self._settled_until_s(wall_s))
                        note_settled(settled_s)
                if now_s - asked_at_s >= min(self._poll_s, self._patience_s / 2):
                    asked_at_s = now_s
                    self._look_for_ends()
                for uid in self._ledger.due():
                    self._jobs.put(uid)
                self._claims.let_go()
                self._show(self._state())
                if once and full_at_s > float("-inf") and not self._ledger.is_owing:
                    break
        finally:
            self._end(worker, listener, until)
        if self._sweep(max(since_s, settled_s - _LATE_S)):
            note_settled(max(settled_s, self._settled_until_s(time.time() - _LATE_S)))
        return self._state()

    def close(self) -> None:
        """Let go of all claims: what is not in the catalog now is not waited for."""
        self._claims.close()

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
                    lambda name, doc: self._inbox.put(lambda: self._hear(name, doc)),
                    lambda uid: self._inbox.put(lambda: self._ledger.owe(uid, at_once=True)),
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
        return FollowState(len(self._live.uids), self._ledger.n_waiting, self._n_done, self._n_failed)

    def _settled_until_s(self, now_s: float) -> float:
        return self._ledger.settled_until_s(
            [float(self._live.start_of(uid)["time"]) for uid in self._live.uids], now_s
        )

    # -- runs as they come --------------------------------------------------------------------------------

    def _admit(self, start: Mapping[str, Any]) -> set[int]:
        """Say which analyses get a run whose start was just heard: none when the catalog has it whole already."""
        uid = start["uid"]
        if self._ledger.is_settled(uid):
            return set()
        try:
            self._catalog.ping()
            known = metadata_of(self._catalog, uid)
            if known is not None and known.get("stop"):
                return set()
            owing = {
                k
                for k, analysis in enumerate(self.analyses)
                if known is None or not standings(self._catalog, [uid], analysis)[uid].is_settled
            }
        except Exception:  # what cannot be known is left to the catalog, when it is back
            return set()
        return owing if owing and self._ledger.begin_live(uid) else set()

    def _hear(self, name: str, doc: dict[str, Any]) -> None:
        if name == "descriptor" and doc["run_start"] in self._live.uids:
            self._claim_live(doc["run_start"], doc)
        self._live.take(name, doc)

    def _claim_live(self, uid: str, descriptor: Mapping[str, Any]) -> None:
        # Claimed like any result, as soon as it is known what it is of: a replay of a run that has just ended
        # waits for what is made of it here.
        key = image_key(dict(descriptor), dict(self._live.start_of(uid)))
        for k, analysis in enumerate(self.analyses):
            if key and descriptor["name"] == analysis.stream and (uid, k) not in self._claimed_live:
                known_as = analysis.hash_for(uid, analysis.stream, key)
                if self._claims.try_to_hold(known_as):
                    self._claimed_live[uid, k] = known_as

    def _emit_live(self, name: str, doc: dict[str, Any]) -> None:
        self._writer(name, doc)
        if name == "start":
            self._claims.made(doc["parfocal"]["parameters_hash"], doc["uid"])

    def _lost(self, uid: str, why: str, wanted: set[int]) -> None:
        self._say(f"run {uid[:8]}: {why}; taken from the catalog when it has ended")
        self._ledger.lose(uid, wanted)

    def _closed_live(self, k: int, outcome: RunOutcome) -> None:
        uid = outcome.raw_uid
        if (uid, k) in self._claimed_live:
            self._claims.done(self._claimed_live.pop((uid, k)))
        if outcome.derived_uid and outcome.exit_status != "success":
            self._ledger.note_begun(uid, k, outcome.derived_uid)
        if self._ledger.closes_lost(uid, k) or uid not in self._live.uids:
            return
        start, stopped_s = self._live.start_of(uid), self._live.stopped_s(uid)
        self._result(k, followed(outcome, self._wanted[k].name, start, stopped_s))
        if outcome.exit_status != "fail":
            self._ledger.settle_one(uid, k)
        if self._live.closed(uid, k):
            self._ledger.end_live(uid)

    def _look_for_ends(self) -> None:
        for uid in self._live.quiet(self._patience_s):
            self._live.heard_of(uid)
            with contextlib.suppress(Exception):  # asked again later
                self._catalog.ping()
                known = metadata_of(self._catalog, uid)
                if known is not None and known.get("stop"):
                    self._live.lose(uid, "its end was not heard")

    # -- runs from the catalog ----------------------------------------------------------------------------

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
            self._ledger.owe(uid)
        return True

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
            self._inbox.put(partial(self._ledger.put_off, uid, began_s, self._poll_s))
            return
        if not self._ledger.own(uid, "catalog"):
            self._inbox.put(partial(self._ledger.drop, uid))
            return
        self._inbox.put(partial(self._ledger.note_stopped, uid, float(known["start"]["time"])))
        is_settled = True
        for k in range(len(self._wanted)):
            if self._ending.is_set():
                return
            if self._ledger.is_one_settled(uid, k):
                continue
            before = standings(self._catalog, [uid], self.analyses[k])[uid]
            if before.is_settled:
                continue
            if self._take_one(uid, k, known).status == "failed" and before.n_failed + 1 < MOST_FAILURES:
                is_settled = False  # once more, later: it may have been the disk, or the network
            else:
                self._ledger.settle_one(uid, k)
        self._inbox.put(partial(self._ledger.taken, uid, is_settled, self._poll_s))

    def _take_one(self, uid: str, k: int, known: Mapping[str, Any]) -> Replayed:
        wanted = self._wanted[k]
        done = replay_run(
            uid,
            documents_of(self._catalog, uid),
            partial(analysis_named, wanted.name, wanted.parameters, queue_size=100),
            self._catalog,
            self._writer,
            self._claims,
            owed_unless_settled,
            begun=self._ledger.begun(uid, k),
            is_over=self._ending.is_set,
        )
        if done.status != "skipped":  # by whoever was first: its result, not ours
            line = followed(done, wanted.name, known["start"], float(known["stop"]["time"]))
            self._inbox.put(partial(self._result, k, line))
        return done

    def _unread(self, uid: str, why: str, is_away: bool) -> None:
        if self._ledger.unread(uid, is_away, self._poll_s):
            self._say(f"run {uid[:8]} cannot be read, and is left: {why}")
            self._n_failed += 1
