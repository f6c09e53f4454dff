"""The writer beside the RunEngine: documents to the log at once, to the catalog within a second.

::

    RunEngine thread            writer thread                        watch thread
    append to the run's log --> read the log from where it was,      fsync at start, stop, each second;
    and go on (about 0.1 ms)    write, flush; twice a second         health
                                failed: back off, then delete the incomplete run (never its frames)
                                and write it whole from its log
                                stopped and read back: remove the log
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import httpx
import pyarrow as pa
from ophyd import Kind, Signal
from tiled.client.container import Container

from parfocal.catalog._log import LoggedDocument, LogPosition, RunLog, log_path
from parfocal.catalog._open import Catalog
from parfocal.catalog._run_sink import RunSink
from parfocal.catalog._shelves import shelf_of
from parfocal.catalog._table_spool import TableSpool
from parfocal.errors import CatalogError
from parfocal.frames import give_way

_STILL_THERE_S = 0.5  # a server that has answered so lately is not asked whether it is there
_SUSPICIOUS_S = 1.5  # a document that waits for longer makes us ask whether the server is there


class CatalogHealth(IntEnum):
    """How the catalog keeps up; what `CatalogWriter.health` holds."""

    OK = 0
    BEHIND = 1
    DOWN = 2


@dataclass
class _Run:
    start: Mapping[str, Any]
    log: RunLog
    at: LogPosition = field(default_factory=LogPosition)
    sink: RunSink | None = None
    n_seen: int = 0  # documents that reached the catalog
    is_stopped: bool = False
    is_held_back: bool = False
    is_ours: bool = False  # what the catalog holds of it was written by us
    is_refused: bool = False
    n_failures: int = 0
    retry_at_s: float = 0.0
    oldest_unseen_s: float | None = None
    must_sync: bool = True

    @property
    def uid(self) -> str:
        return self.start["uid"]

    @property
    def backlog(self) -> int:
        return max(0, self.log.n_documents - self.n_seen)


class CatalogWriter:
    """Writes runs into a catalog; subscribe it to a RunEngine or give it documents: `writer(name, doc)`.

    It never blocks its caller for the catalog and never raises into it. Several runs may be open at once,
    from several threads; runs derived from others (`start["parfocal"]["raw"]`) go to `analysis`, all else to
    `raw`.

    Parameters
    ----------
    catalog
        Where to; its folder holds the write-ahead logs.
    flush_s
        Time between flushes, s.
    behind_s
        A document that has not reached the catalog for so long makes the health BEHIND, s.
    name
        Name of the health signal.

    Attributes
    ----------
    health
        An ophyd Signal, a `CatalogHealth`: 0 OK, 1 BEHIND, 2 DOWN. For a suspender:
        `SuspendCeil(writer.health, 1)` (push its value once after install: bluesky#1970).
    """

    def __init__(
        self, catalog: Catalog, *, flush_s: float = 0.5, behind_s: float = 5.0, name: str = "catalog_health"
    ) -> None:
        self.health = Signal(name=name, value=int(CatalogHealth.OK), kind=Kind.hinted)
        self._catalog = catalog
        self._flush_s = flush_s
        self._behind_s = behind_s
        self._lock = threading.RLock()
        self._spool = TableSpool(catalog.folder.spooled_tables)
        self._tables_retry_at_s = 0.0
        self._n_table_failures = 0
        self._runs: dict[str, _Run] = {}
        self._run_of: dict[str, str] = {}  # descriptor, resource or datum_page resource uid -> run uid
        self._last_error = ""
        self._is_down = False
        self._reached_s = float("-inf")
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._sync_now = threading.Event()
        self._progress = threading.Condition()
        self._threads = [
            threading.Thread(target=self._write_loop, name="catalog-writer", daemon=True),
            threading.Thread(target=self._watch_loop, name="catalog-watch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def backlog(self) -> int:
        """Documents that have not reached the catalog."""
        with self._lock:
            return sum(run.backlog for run in self._runs.values())

    @property
    def last_error(self) -> str:
        """What went wrong last, in one line; "" for nothing yet."""
        return self._last_error

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document."""
        try:
            with self._lock:
                run = self._run_for(name, doc)
                run.log.append(name, doc)
                if run.oldest_unseen_s is None:
                    run.oldest_unseen_s = time.monotonic()
                if name in ("start", "stop"):
                    run.must_sync = True
                    run.is_stopped = name == "stop"
                    self._sync_now.set()
        except Exception as error:
            self._note(f"A {name} document was not taken: {error!r}")
        self._wake.set()

    def append_rows(self, run_uid: str, key: str, rows: pa.Table) -> None:
        """Take rows of a run's result table; they wait on disk until the catalog has them. Never raises."""
        try:
            self._spool.put(run_uid, key, rows)
        except Exception as error:
            self._note(f"{rows.num_rows} rows of table {key} of run {run_uid} were not taken: {error!r}")
        self._wake.set()

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until all documents and rows given so far are in the catalog; return whether they are."""
        deadline_s = time.monotonic() + timeout_s
        with self._progress:
            while not self._is_drained():
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0 or not self._threads[0].is_alive():
                    return False
                self._hurry.set()
                self._wake.set()
                self._progress.wait(min(remaining_s, 0.1))
        with self._lock:
            return not any(run.is_refused for run in self._runs.values())

    def fate_of(self, run_uid: str) -> Literal["written", "waiting", "refused"]:
        """Return whether a run and its rows are in the catalog (or never were ours), on their way, or given up."""
        with self._lock:
            run = self._runs.get(run_uid)
            if run is not None:
                return "refused" if run.is_refused else "waiting"
        return "waiting" if any(rows.run_uid == run_uid for rows in self._spool.waiting) else "written"

    def close(self, timeout_s: float = 30.0) -> bool:
        """Drain and end; return whether all is in the catalog. What is not stays in its log: `recover`."""
        drained = self.drain(timeout_s)
        self._closing.set()
        for event in (self._hurry, self._wake, self._sync_now):
            event.set()
        for thread in self._threads:
            thread.join(timeout=5.0)
        with self._lock:
            for run in self._runs.values():
                run.log.release()
            self._runs.clear()
        self._spool.close()
        return drained

    # -- the caller's thread -------------------------------------------------------------------------

    def _run_for(self, name: str, doc: Mapping[str, Any]) -> _Run:
        if name == "start":
            uid = str(doc["uid"])
            run = _Run(dict(doc), RunLog(log_path(self._catalog.folder.wal, uid)))
            self._runs[uid] = run
            return run
        run = self._runs[self._run_uid(name, doc)]
        if name in ("descriptor", "resource", "stream_resource"):
            self._run_of[doc["uid"]] = run.uid
        return run

    def _run_uid(self, name: str, doc: Mapping[str, Any]) -> str:
        if "run_start" in doc:
            return doc["run_start"]
        for reference in ("descriptor", "resource", "stream_resource"):
            if reference in doc:
                return self._run_of[doc[reference]]
        still_open = [uid for uid, run in self._runs.items() if not run.is_stopped]
        if len(still_open) == 1:  # a resource need not name its run
            return still_open[0]
        raise KeyError(f"{name} names no open run")

    # -- the writer's thread -------------------------------------------------------------------------

    def _write_loop(self) -> None:
        give_way()
        while not self._closing.is_set():
            self._wake.wait(None if self._is_drained() else self._flush_s)
            self._wake.clear()
            self._write_all()
            self._write_tables()
            with self._progress:
                self._progress.notify_all()
            # Documents that come meanwhile go together, in one request.
            self._hurry.wait(self._flush_s)
            self._hurry.clear()

    def _write_all(self) -> None:
        with self._lock:
            runs = [run for run in self._runs.values() if not run.is_refused]
        for run in runs:
            if self._closing.is_set() or time.monotonic() < run.retry_at_s:
                continue
            if run.backlog == 0 and not run.is_stopped:
                continue
            try:
                self._advance(run)
                self._is_down = False
            except Exception as error:
                self._failed(run, error)

    def _write_tables(self) -> None:
        if not self._spool.waiting or self._closing.is_set() or time.monotonic() < self._tables_retry_at_s:
            return
        try:
            self._reach()
            self._spool.send(self._catalog)
            self._reached_s = time.monotonic()
            self._n_table_failures = 0
        except Exception as error:  # the rows stay on disk, and are tried again
            self._n_table_failures += 1
            self._tables_retry_at_s = time.monotonic() + min(0.25 * 2**self._n_table_failures, 5.0)
            self._is_down = self._is_down or is_connection_lost(error)
            self._note(f"Result tables wait on disk: {error}")

    def _advance(self, run: _Run) -> None:
        started_s = time.monotonic()
        self._reach()
        if run.sink is None:
            run.sink = self._open_sink(run)
        documents = self._hold_back(run, run.log.read(run.at))
        if not documents:
            return
        run.sink.write((logged.name, logged.doc) for logged in documents)
        run.sink.flush()
        run.at = documents[-1].end
        run.n_seen += len(documents)
        run.n_failures = 0
        self._is_down = False
        self._reached_s = time.monotonic()
        with self._lock:
            run.oldest_unseen_s = started_s if run.backlog else None
        if run.sink.stop_uid:
            self._finish(run, run.sink)

    def _reach(self) -> None:
        """Raise at once where the server is not there; not asked of one that has just answered."""
        if self._is_down:
            self._catalog.reconnect()
        if self._is_down or time.monotonic() - self._reached_s > _STILL_THERE_S:
            self._reached_s = float("-inf")
            self._catalog.ping()

    def _hold_back(self, run: _Run, documents: list[LoggedDocument]) -> list[LoggedDocument]:
        # StreamDatums come just before their event: written without it, the stream's columns would differ in
        # length until the next flush. Those of a burst have no event, so they wait one flush, no more.
        n_whole = len(documents)
        while n_whole and documents[n_whole - 1].name == "stream_datum":
            n_whole -= 1
        run.is_held_back = n_whole < len(documents) and not run.is_held_back
        return documents[:n_whole] if run.is_held_back else documents

    def _open_sink(self, run: _Run) -> RunSink:
        shelf = self._catalog.shelf(shelf_of(run.start))
        if run.n_failures:
            existing = run_or_none(shelf, run.uid)
            if existing is not None:
                if existing.metadata.get("stop") and not run.is_ours:
                    raise _RefusedError(f"it is in the catalog {self._catalog.root.uri} already")
                delete_run(shelf, run.uid)
        run.at = LogPosition()
        run.n_seen = 0
        return RunSink(shelf)

    def _finish(self, run: _Run, sink: RunSink) -> None:
        missing = sink.verify()
        if missing:
            raise _IncompleteError(f"it was written, but {missing}")
        with self._lock:
            run.log.remove()
            del self._runs[run.uid]
            self._run_of = {key: uid for key, uid in self._run_of.items() if uid != run.uid}

    def _failed(self, run: _Run, error: Exception) -> None:
        run.is_ours = run.is_ours or (run.sink is not None and bool(run.sink.run_uid))
        run.sink = None
        self._reached_s = float("-inf")
        run.n_failures += 1
        run.retry_at_s = time.monotonic() + min(0.25 * 2**run.n_failures, 5.0)
        lost = is_connection_lost(error)
        self._is_down = self._is_down or lost
        if isinstance(error, _RefusedError) or (not lost and run.n_failures >= 4):
            run.is_refused = True
            self._note(f"Run {run.uid} stays in its log, {run.log.path}: {error}")
        else:
            self._note(f"Run {run.uid}: {error}")

    # -- the watch's thread --------------------------------------------------------------------------

    def _watch_loop(self) -> None:
        synced_s = 0.0
        while not self._closing.is_set():
            asked = self._sync_now.wait(0.25)
            self._sync_now.clear()
            now_s = time.monotonic()
            with self._lock:
                runs = list(self._runs.values())
            due = now_s - synced_s >= 1.0
            synced_s = now_s if due else synced_s
            for run in runs:
                if due or (asked and run.must_sync):
                    run.must_sync = False
                    self._sync(run)
            if not self._is_down and self._longest_wait_s(runs, now_s) > _SUSPICIOUS_S:
                self._look_for_server()
            self._set_health(runs, now_s)

    def _sync(self, run: _Run) -> None:
        try:
            run.log.sync(is_last=run.is_stopped)
        except OSError as error:
            self._note(f"Write-ahead log {run.log.path} cannot be kept on disk: {error}")

    def _longest_wait_s(self, runs: list[_Run], now_s: float) -> float:
        return max((now_s - at_s for run in runs if (at_s := run.oldest_unseen_s) is not None), default=0.0)

    def _look_for_server(self) -> None:
        # A server that goes in the midst of a request keeps the writer's thread in Tiled's retries for 45 s.
        try:
            self._catalog.ping()
        except CatalogError as error:
            self._is_down = True
            self._note(str(error))

    def _set_health(self, runs: list[_Run], now_s: float) -> None:
        for run in runs:
            if run.log.error:
                self._note(run.log.error)
        if self._is_down or any(run.is_refused or run.log.error for run in runs):
            health = CatalogHealth.DOWN
        elif self._longest_wait_s(runs, now_s) > self._behind_s:
            health = CatalogHealth.BEHIND
        else:
            health = CatalogHealth.OK
        if self.health.get() != health:
            self.health.put(int(health))

    def _is_drained(self) -> bool:
        with self._lock:
            waiting = (run for run in self._runs.values() if not run.is_refused)
            return all(run.backlog == 0 and not run.is_stopped for run in waiting) and not self._spool.waiting

    def _note(self, message: str) -> None:
        self._last_error = " ".join(message.split())


class _RefusedError(RuntimeError):
    """Trying again will not help."""


class _IncompleteError(RuntimeError):
    """The catalog does not hold what was written."""


def is_connection_lost(error: Exception) -> bool:
    """Say whether the server was not there or not well, rather than that it refused what it was given."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 502, 503, 504)
    return isinstance(error, httpx.TransportError | OSError | CatalogError)


def run_or_none(shelf: Container, uid: str) -> Any:
    """Return the node of a run, None where there is none."""
    try:
        # Not `shelf[uid]`, which goes on to look for uids that begin so.
        return Container.__getitem__(shelf, uid)
    except KeyError:
        return None


def delete_run(shelf: Container, uid: str) -> None:
    """Delete a run's nodes. Its frames are external to Tiled and stay."""
    shelf.delete_contents([uid], recursive=True, external_only=False)
