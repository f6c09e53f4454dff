"""Documents in, documents out: what every analysis shares.

An `Analysis` is a callable for `RE.subscribe` (and for `replay`). Documents go into a bounded queue; a worker
thread turns them into frames, hands these to the science of one raw run (`RunAnalysis`), and emits its rows as
a derived run. Nothing that happens here can stop or slow a plan::

    raw documents --> queue --> worker --> RunAnalysis.frame(Frame) -> row
                                  |                 .finish()       -> summary rows, verdict
                                  +--> emit(start, descriptor, event ..., stop) of the derived run
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from parfocal.callbacks._derived_run import DerivedRun, TableRows, WrittenVolume
from parfocal.callbacks._run_view import RunView
from parfocal.catalog import DataFolder
from parfocal.frames import Frame, Frames, give_way

_LOG = logging.getLogger(__name__)
_REST_S = 0.01
Emit = Callable[[str, dict[str, Any]], Any]
EmitRows = Callable[[str, str, Any], Any]
"""`(uid of the derived run, name of its table, Arrow rows)`, such as `CatalogWriter.append_rows`."""
Row = Mapping[str, Any] | WrittenVolume | TableRows
Overflow = Literal["skip", "wait"]
Mode = Literal["live", "replay"]


@dataclass(frozen=True)
class NoParameters:
    """For analyses that have none."""


@dataclass(frozen=True)
class RunOutcome:
    """What an analysis made of one raw run; `derived_uid` is empty where it found no frame, and wrote nothing."""

    raw_uid: str
    derived_uid: str = ""
    exit_status: str = ""
    verdict: str = ""
    reason: str = ""


class RunAnalysis(Protocol):
    """The science of one raw run. Holds what it needs between frames; knows no documents.

    Rows that `frame` yields belong to that frame, and say so; but for those of streams that it names in a
    frozenset `of_no_frame`, where it has one: rows of such a stream may also come from `finish`.
    """

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Data keys by stream, then key: `{"scores": {"tenengrad": {"dtype": "number", ...}}}`."""
        ...

    def frame(self, frame: Frame) -> Iterable[tuple[str, Row]]:
        """Look at one frame; yield (stream, row), (stream, written volume) or (table, its rows)."""
        ...

    def finish(self) -> Iterable[tuple[str, Row]]:
        """Yield what is to be said when the raw run has ended: see `frame`. Volumes have a stream each."""
        ...

    @property
    def verdict(self) -> str:
        """One word for the whole run, kept in the derived run's stop document; empty for none."""
        ...


class Analysis(ABC):
    """Base of all analyses.

    Parameters
    ----------
    parameters : frozen dataclass
        What the result depends on; hashed into the derived run, so that the same analysis of the same run is
        known to exist.
    frames : Frames
        Where pixels come from.
    emit : callable
        `(name, doc)`, such as a `CatalogWriter`. Without it, derived documents go nowhere.
    emit_rows : callable, optional
        Takes the rows of large tables. Default: `emit.append_rows`, which a `CatalogWriter` has.
    queue_size : int
        Events that may wait (references, not pixels).
    overflow : {"skip", "wait"}
        What happens to an event when the queue is full. `skip` leaves it out, and the derived run says how
        many and ends as `fail`, to be replayed; `wait` holds the sender up, which is right for replay only.
    frames_root : path, optional
        Where an analysis that makes volumes writes them; that of the default data folder where nobody says.
        `session.add` and `replay` set it to their catalog's, which serves nothing from elsewhere.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    stream: ClassVar[str] = "primary"

    def __init__(
        self,
        parameters: Any = None,
        *,
        frames: Frames | None = None,
        emit: Emit | None = None,
        mode: Mode = "live",
        queue_size: int = 10_000,
        overflow: Overflow = "skip",
        calibration: str = "",
        supersedes: str = "",
        frames_root: Path | str | None = None,
        emit_rows: EmitRows | None = None,
    ) -> None:
        self.parameters = parameters if parameters is not None else NoParameters()
        self.frames = frames if frames is not None else Frames()
        self.mode: Mode = mode
        self.calibration = calibration
        self.supersedes = supersedes
        self.batch = ""  # of a replay of many runs, kept in each derived run
        self.frames_root: Path = DataFolder().frames if frames_root is None else Path(frames_root)
        self._emit = emit
        self._emit_rows: EmitRows | None = emit_rows or getattr(emit, "append_rows", None)
        self._listeners: list[Emit] = []
        self._when_closed: list[Callable[[RunOutcome], Any]] = []
        self._queue_size = queue_size
        self._overflow: Overflow = overflow
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        self._changed = threading.Condition()
        self._busy = True  # until it is prepared
        self._closed = False
        self._runs: dict[str, _Run] = {}
        self._run_of_descriptor: dict[str, str] = {}
        self._run_of_resource: dict[str, str] = {}
        self._skipped: dict[str, Counter[str]] = {}
        self._thread = threading.Thread(target=self._work, name=f"analysis-{self.name}", daemon=True)
        self._thread.start()

    @abstractmethod
    def open(self, run: RunView) -> RunAnalysis:
        """Return the science of one raw run; its first frame is about to come."""

    def prepare(self) -> None:  # noqa: B027  (most have nothing to prepare)
        """Do, in the worker and before the first document, what else would hold up the first run; nothing here."""

    # -- for whoever sends documents ---------------------------------------------------------------

    def __call__(self, name: str, doc: Any) -> None:
        """Take a document and return at once (see `overflow`)."""
        with self._changed:
            if name in ("event", "event_page", "stream_datum") and len(self._queue) >= self._queue_size:
                if self._overflow == "skip":
                    self._skip(name, doc)
                    return
                self._changed.wait_for(lambda: len(self._queue) < self._queue_size or self._closed)
            if name == "descriptor":
                self._run_of_descriptor[doc["uid"]] = doc["run_start"]
            self._queue.append((name, doc))
            self._changed.notify_all()

    def subscribe(self, listener: Emit) -> None:
        """Send the derived documents to a listener too, such as a progress display."""
        self._listeners.append(listener)

    def on_closed(self, listener: Callable[[RunOutcome], Any]) -> None:
        """Tell a listener, in the worker, of each raw run that has ended or was abandoned: all is emitted then."""
        self._when_closed.append(listener)

    def abandon(self, run_uid: str, why: str) -> None:
        """End what was begun of a raw run as `abort`, with the reason: its documents did not all come."""
        with self._changed:
            self._queue.append(("abandon", {"run_start": run_uid, "reason": why}))
            self._changed.notify_all()

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until everything taken so far is done; False if that took longer than `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, timeout_s)

    def close(self, timeout_s: float = 30.0) -> bool:
        """Finish what is queued and end the worker."""
        done = self.drain(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(5)
        return done

    def hash_for(self, run_uid: str, stream: str, data_key: str) -> str:
        """Return the hash by which the result of this analysis on a run is known."""
        content = {
            "analysis": self.name,
            "version": self.version,
            "parameters": asdict(self.parameters),
            "raw": [run_uid, stream, data_key],
            "calibration": self.calibration,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def _skip(self, name: str, doc: Mapping[str, Any]) -> None:
        run = self._run_of_descriptor.get(doc["descriptor"], "")
        skipped = self._skipped.setdefault(run, Counter())
        if name == "stream_datum":  # beside an event it says nothing of its own: see `skipped`
            skipped[doc["stream_resource"]] += doc["indices"]["stop"] - doc["indices"]["start"]
        else:
            skipped["events"] += len(doc["seq_num"]) if name == "event_page" else 1

    # -- in the worker -------------------------------------------------------------------------------

    def _work(self) -> None:
        give_way()  # a replay too: it goes on beside whoever acquires, and waits for a server that gives way
        try:
            self.prepare()
        except Exception:  # what cannot be had is said again, and recorded, when a run comes
            _LOG.exception("analysis %s could not prepare itself", self.name)
        with self._changed:
            self._busy = False
            self._changed.notify_all()
        resting = threading.Event()
        while True:
            with self._changed:
                is_new = not self._queue
                self._changed.wait_for(lambda: bool(self._queue) or self._closed)
                if not self._queue:
                    return
            if is_new and self.mode == "live":
                # Just now the plan moves and triggers; what comes meanwhile is looked at in one go.
                resting.wait(_REST_S)
            with self._changed:
                name, doc = self._queue.popleft()
                self._busy = True
                self._changed.notify_all()
            try:
                self._handle(name, doc)
            except Exception:  # a document of a form we do not know must not end the worker
                _LOG.exception("analysis %s could not take a %s document", self.name, name)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _handle(self, name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            # A derived run is nobody's raw run.
            if "raw" not in doc.get("parfocal", {}):
                self._runs[doc["uid"]] = _Run(self, RunView(doc, self.stream))
            return
        run = self._runs.get(self._run_uid(name, doc))
        if run is None:
            return
        if name == "abandon":
            run.abandon(doc["reason"])
        else:
            run.take(name, doc)
        if name in ("stop", "abandon"):
            del self._runs[doc["run_start"]]
            for table in (self._run_of_descriptor, self._run_of_resource):
                for key in [k for k, v in table.items() if v == doc["run_start"]]:
                    del table[key]
            for listener in self._when_closed:
                try:
                    listener(run.outcome)
                except Exception:  # who looks on must not end the analysis
                    _LOG.exception("a listener of analysis %s could not take an outcome", self.name)

    def _run_uid(self, name: str, doc: dict[str, Any]) -> str:
        if name == "descriptor":
            self._run_of_descriptor[doc["uid"]] = doc["run_start"]
            return doc["run_start"]
        if name == "stream_resource":
            self._run_of_resource[doc["uid"]] = doc["run_start"]
            return doc["run_start"]
        if name in ("stop", "abandon"):
            return doc["run_start"]
        return self._run_of_descriptor.get(doc.get("descriptor", ""), "")

    def send(self, name: str, doc: dict[str, Any]) -> None:
        """Emit a derived document."""
        if self._emit is not None:
            self._emit(name, doc)
        for listener in self._listeners:
            try:
                listener(name, doc)
            except Exception:  # who looks on must not end the analysis
                _LOG.exception("a listener of analysis %s could not take a %s document", self.name, name)

    def send_rows(self, run_uid: str, key: str, rows: Any) -> None:
        """Hand on rows of a large table."""
        if self._emit_rows is not None:
            self._emit_rows(run_uid, key, rows)

    def skipped(self, run_uid: str, burst_resource: str) -> str:
        """Return how many events, or frames of a burst, found the queue full, in words; empty for none."""
        skipped = self._skipped.pop(run_uid, Counter[str]())
        for what, number in (("frames", skipped[burst_resource]), ("events", skipped["events"])):
            if number:
                return f"{number} {what} found the queue full; replay the run to have them"
        return ""


class _Run:
    """One raw run in work: feeds its frames to the science, and its rows to the derived run."""

    def __init__(self, analysis: Analysis, view: RunView) -> None:
        self._analysis = analysis
        self._view = view
        self._science: RunAnalysis | None = None
        self._derived: DerivedRun | None = None
        self._failed = ""
        self.outcome = RunOutcome(view.uid)

    def abandon(self, why: str) -> None:
        """Close the derived run, where there is one, as one that did not come to its end."""
        self._analysis.skipped(self._view.uid, self._view.burst_resource)
        if self._derived is not None:
            self._end(self._derived, "abort", why, "")

    def take(self, name: str, doc: dict[str, Any]) -> None:
        """Handle one document; an exception of the science ends the derived run, and nothing else."""
        try:
            self._take(name, doc)
        except Exception as error:  # whatever the science raises is a result, and is recorded as one
            self._failed = self._failed or _in_a_line(error)
            if self._derived is None and self._view.data_key:
                self._derived = self._open_derived({})
        if name == "stop":
            self._close()

    def _take(self, name: str, doc: dict[str, Any]) -> None:
        view = self._view
        if name == "event":
            view.count(doc)
            view.note_verdict(doc)
        if name == "descriptor":
            view.add_descriptor(doc)
        elif name == "stream_resource":
            view.add_resource(doc)
        elif self._failed:
            return
        elif name == "stream_datum" and view.is_ours(doc) and view.is_burst:
            for frame in view.frames_of_datum(doc, self._analysis.frames):
                self._look_at(frame)
        elif name == "event" and view.is_ours(doc):
            frame = view.frame_of_event(doc, self._analysis.frames)
            if frame is not None:
                self._look_at(frame)
        elif name == "stop" and self._science is not None:
            for stream, row in self._science.finish():
                self._write(stream, row)

    def _look_at(self, frame: Frame) -> None:
        if self._science is None:
            self._science = self._analysis.open(self._view)
            self._derived = self._open_derived(self._science.columns)
        written: Counter[str] = Counter()
        of_no_frame: frozenset[str] = getattr(self._science, "of_no_frame", frozenset[str]())
        for stream, row in self._science.frame(frame):
            self._write(stream, row, None if stream in of_no_frame else frame, written[stream])
            written[stream] += 1

    def _write(self, stream: str, row: Row, frame: Frame | None = None, nth: int = 0) -> None:
        if self._derived is None:
            return
        if isinstance(row, WrittenVolume):
            self._derived.volume(stream, row)
        elif isinstance(row, TableRows):
            self._derived.count_rows(stream, row)
            self._analysis.send_rows(self._derived.uid, stream, row.rows)
        else:
            self._derived.row(stream, row, frame, nth)

    def _open_derived(self, columns: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> DerivedRun:
        analysis, view = self._analysis, self._view
        raw = {"uid": view.uid, "stream": view.stream, "data_key": view.data_key}
        about = {
            "analysis": analysis.name,
            "version": analysis.version,
            "parameters": asdict(analysis.parameters),
            "parameters_hash": analysis.hash_for(view.uid, view.stream, view.data_key),
            "raw": raw,
            "calibration": analysis.calibration,
            "mode": analysis.mode,
        }
        if analysis.supersedes:
            about["supersedes"] = analysis.supersedes
        if analysis.batch:
            about["batch"] = analysis.batch
        return DerivedRun(analysis.send, view.start, about, columns)

    def _close(self) -> None:
        skipped = self._analysis.skipped(self._view.uid, self._view.burst_resource)
        if self._derived is None and skipped and self._view.data_key:
            self._derived = self._open_derived({})
        if self._derived is None:
            return
        reason, verdict = self._failed or skipped, ""
        try:
            verdict = self._science.verdict if self._science is not None and not reason else ""
        except Exception as error:
            reason = _in_a_line(error)
        self._end(self._derived, "fail" if reason else "success", reason, verdict)

    def _end(self, derived: DerivedRun, exit_status: str, reason: str, verdict: str) -> None:
        derived.close(exit_status, reason, verdict)
        self.outcome = RunOutcome(self._view.uid, derived.uid, exit_status, verdict, reason)


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
