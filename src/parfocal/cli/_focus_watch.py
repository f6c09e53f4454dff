"""What one sees while focus is calibrated or locked, and the log of events, written as they happen."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from parfocal.devices import FocusLock
from parfocal.report import EventReader, LockEvent, event_line

_LOOK_S = 0.1


class EventsLog:
    """`autofocus_events.log`: a line an event, on disk as soon as it is known. Lines are added, never replaced."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._guard = threading.Lock()

    def note(self, code: str, words: str) -> None:
        """Write what no frame tells, such as that a plan began."""
        self.write(LockEvent(time.time(), -1, "note", code, math.nan, " ".join(words.split())))

    def write(self, event: LockEvent) -> None:
        """Write an event."""
        with self._guard:
            if not self._file.closed:
                self._file.write(event_line(event) + "\n")

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            self._file.close()


class SweepWatch:
    """Progress of a sweep, from the documents."""

    def __init__(self, console: Console, log: EventsLog) -> None:
        self.uids: list[str] = []
        self._log = log
        self._progress = Progress(
            TextColumn("{task.description:<32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("sweep", total=None)
        self._streams: dict[str, str] = {}

    def __enter__(self) -> SweepWatch:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def hear(self, name: str, doc: dict[str, Any]) -> None:
        """Hear of a document."""
        if name == "start" and doc.get("plan_name") == "calibrate_focus":
            self.uids.append(doc["uid"])
            told = doc["plan_args"]
            n = told["n_steps"] * (2 if told["is_bidirectional"] else 1)
            self._progress.update(self._task, total=n, completed=0)
            self._log.note("SWEEP", f"run {doc['uid'][:8]}, {n} steps, attempt {told['attempt']}")
        elif name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
        elif name == "event" and self._streams.get(doc["descriptor"]) == "sweep":
            z_um = doc["data"].get("stage_z")
            where = f"sweep  z {z_um:+.3f} um" if z_um is not None else "sweep"
            self._progress.update(self._task, advance=1, description=where)
        elif name == "event" and self._streams.get(doc["descriptor"]) == "failures":
            self._progress.update(self._task, advance=1)
            self._log.note("MISSED", f"step {doc['data']['failure_step']}: {doc['data']['failure_reason']}")
        elif name == "event" and self._streams.get(doc["descriptor"]) == "calibration":
            data = doc["data"]
            outcome = "fit to lock with" if data["calibration_is_armable"] else "not fit to lock with"
            self._progress.update(self._task, description=f"fitted: {outcome}")
            self._log.note("CALIBRATED", f"{data['calibration_sha256'][:12]}, {outcome}")


class _LockCount:
    """Numbers of the line that is shown."""

    def __init__(self) -> None:
        self.n_since_locked = 0
        self.n_locked = 0

    def line(self, columns: dict[str, list[Any]]) -> str:
        for state in columns["state"]:
            is_locked = state == "LOCKED"
            if is_locked or self.n_since_locked:
                self.n_since_locked += 1
            self.n_locked += is_locked
        error_nm = 1e3 * columns["error_um"][-1]
        shown = f"{error_nm:+7.1f} nm" if math.isfinite(error_nm) else "      – nm"
        photons = np.asarray(columns["photons"], dtype=float)
        light = f"{np.nanmean(photons):8.0f}" if np.isfinite(photons).any() else "       –"
        share = f"{100 * self.n_locked / self.n_since_locked:5.1f} %" if self.n_since_locked else "    – "
        return f"{columns['state'][-1]:<16} error {shown}   photons {light}   in lock {share}"


@contextmanager
def watching(lock: FocusLock, log: EventsLog, console: Console) -> Generator[None]:
    """Look at a lock's ring from a thread beside it: show a line, write events."""
    ended = threading.Event()
    reader, count = EventReader(), _LockCount()
    progress = Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
    task = progress.add_task("engaging", total=None)
    cursor = lock.ring.cursor

    def look() -> None:
        nonlocal cursor
        taken = lock.ring.since(cursor)
        cursor = taken.cursor
        if taken.n:
            for event in reader.read(taken.columns):
                log.write(event)
            progress.update(task, description=count.line(taken.columns))

    def watch() -> None:
        while not ended.wait(_LOOK_S):
            look()

    thread = threading.Thread(target=watch, name="lock-watch", daemon=True)
    with progress:
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5.0)
            look()
