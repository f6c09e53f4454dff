"""Look on at a night: documents from the wire, status from the RE Manager, the catalog from outside.

::

    logs of open runs --once--> .
    last runs of catalog -once-> .
    0MQ proxy ----------------> NightView <---- RE Manager, each second
                                    ^---------- catalog's server and logs, each five

Nothing here can touch a plan: whoever looks on may come late, be slow, or be killed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from parfocal.callbacks import listen
from parfocal.catalog import DataFolder, decode_line, find_server, is_being_written
from parfocal.errors import ParfocalError
from parfocal.queue._connect import ask, connect
from parfocal.queue._info import QueueInfo, find_queue
from parfocal.queue._night_recall import last_runs, recalled
from parfocal.queue._night_state import CatalogView, NightView, QueueView
from parfocal.queue._night_view import asked, heard, looked, remembered

_LOG = logging.getLogger(__name__)
_ASK_EVERY_S = 1.0
_LOOK_EVERY_S = 5.0
_BEHIND_S = 5.0
_HEAD_BYTES, _TAIL_BYTES = 1_000_000, 4_000_000
_N_NAMED = 8


class NightWatch:
    """A view of a night that keeps itself up to date from threads of its own; use it in a `with` block.

    Parameters
    ----------
    folder : DataFolder
        Whose queue, logs and catalog.
    documents : str
        Address of a 0MQ proxy to listen to; empty for that of the folder's queue.
    with_queue : bool
        False where there is no queue to be asked: a session at a prompt that publishes.
    """

    def __init__(self, folder: DataFolder, documents: str = "", *, with_queue: bool = True) -> None:
        self.folder = folder
        self.changed = threading.Event()
        self._documents = documents
        self._with_queue = with_queue
        self._guard = threading.Lock()
        self._view = NightView(began_s=time.time())
        self._ended = threading.Event()
        self._address = ""
        self._listener: tuple[threading.Thread, threading.Event] | None = None
        self._threads = [threading.Thread(target=self._look, name="night-catalog", daemon=True)]
        if with_queue:
            self._threads.append(threading.Thread(target=self._ask, name="night-queue", daemon=True))

    @property
    def view(self) -> NightView:
        """What is known now."""
        return self._view

    def __enter__(self) -> NightWatch:
        if self._documents:
            self._listen_to(self._documents)
        elif (info := find_queue(self.folder)) is not None:
            self._listen_to(info.documents_out)
        for name, doc in logged(self.folder):
            self._hear(name, doc)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._stop_listening()
        for thread in self._threads:
            thread.join(5.0)

    def settle(self, timeout_s: float = 5.0) -> NightView:
        """Return the view once queue and catalog have been asked, or time is up."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s and not self._ended.wait(0.02):
            view = self._view
            if view.catalog.state != "unknown" and (view.queue is not None or not self._with_queue):
                break
        return self._view

    def pause(self, seconds: float) -> None:
        """Wait for some time, or until the watch ends."""
        self._ended.wait(seconds)

    # -- documents ----------------------------------------------------------------------------------------

    def _hear(self, name: str, doc: dict[str, Any]) -> None:
        try:
            self._change(lambda view: heard(view, name, doc))
        except (KeyError, TypeError, ValueError):  # of a form we do not know: the next may be
            _LOG.debug("a %s document could not be read", name, exc_info=True)

    def _change(self, change: Callable[[NightView], NightView]) -> None:
        with self._guard:
            before = self._view
            self._view = after = change(before)
        if after != before:
            self.changed.set()

    def _listen_to(self, address: str) -> None:
        if address == self._address:
            return
        self._stop_listening()
        until, ready = threading.Event(), threading.Event()
        thread = threading.Thread(
            target=self._listen, args=(address, until, ready), name="night-documents", daemon=True
        )
        self._address, self._listener = address, (thread, until)
        thread.start()
        ready.wait(2.0)

    def _listen(self, address: str, until: threading.Event, ready: threading.Event) -> None:
        try:
            listen(address, self._hear, until, on_ready=ready.set)
        except ParfocalError as error:
            _LOG.warning("%s", error)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            thread, until = self._listener
            until.set()
            thread.join(5.0)
        self._listener, self._address = None, ""

    # -- queue --------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        asker: _Asker | None = None
        while True:
            info = find_queue(self.folder)
            if info is None:
                away = f"no queue runs for {self.folder.root}: start it with `parfocal queue start`"
                self._change(lambda view: asked(view, QueueView(away=away)))  # noqa: B023  (called at once)
            else:
                if not self._documents:
                    self._listen_to(info.documents_out)
                if asker is None or asker.info != info:
                    if asker is not None:
                        asker.close()
                    asker = _Asker(info)
                self._change(asker.ask())
            if self._ended.wait(_ASK_EVERY_S):
                break
        if asker is not None:
            asker.close()

    # -- catalog ------------------------------------------------------------------------------------------

    def _look(self) -> None:
        n_missed, is_recalled = 0, False
        while True:
            if not is_recalled and (runs := last_runs(self.folder)):
                self._change(lambda view: recalled(view, runs))
                is_recalled = True
            catalog = look_at_catalog(self.folder, self._view.ended)
            n_missed = n_missed + 1 if catalog.state == "away" else 0
            if n_missed == 1 and self._view.catalog.state in ("ok", "behind"):
                catalog = replace(catalog, state=self._view.catalog.state)  # missed once, it may only be busy
            self._change(lambda view: looked(view, catalog))  # noqa: B023  (called at once)
            if self._ended.wait(_LOOK_EVERY_S):
                return
            self._catch_up()

    def _catch_up(self) -> None:
        """Read in its log what a run has told that goes on, and whose beginning was not heard.

        A subscription takes effect a moment after it was made: 0MQ hands nobody what was sent before.
        """
        view = self._view
        for name, doc in logged(self.folder, {*view.runs, *view.ended, *view.lost}, only_open=True):
            self._hear(name, doc)


class _Asker:
    """Asks one RE Manager; what it told before is not asked again until it says that it has changed."""

    def __init__(self, info: QueueInfo) -> None:
        self.info = info
        self._client: Any = connect(info, timeout_s=2.0)
        self._queue_uid = self._history_uid = ""
        self._waiting: tuple[str, ...] = ()
        self._running = ("", "")
        self._history: list[dict[str, Any]] = []

    def ask(self) -> Callable[[NightView], NightView]:
        """Return how the view changes."""
        try:
            status: dict[str, Any] = ask(lambda: self._client.status(reload=True))
            if status["plan_queue_uid"] != self._queue_uid or status["running_item_uid"] != self._running[1]:
                told: dict[str, Any] = ask(lambda: self._client.queue_get(reload=True))
                items, running = told["items"], told.get("running_item") or {}
                self._waiting = tuple(str(item.get("name", "")) for item in items[:_N_NAMED])
                self._running = str(running.get("name", "")), str(running.get("item_uid", ""))
                self._queue_uid = told["plan_queue_uid"]
            if status["plan_history_uid"] != self._history_uid:
                told = ask(lambda: self._client.history_get(reload=True))
                self._history, self._history_uid = told["items"], told["plan_history_uid"]
        except ParfocalError as error:
            away = str(error)
            return lambda view: asked(view, QueueView(away=away))
        queue = QueueView(
            manager=str(status["manager_state"]),
            has_worker=bool(status["worker_environment_exists"]),
            engine=str(status.get("re_state") or ""),
            running=self._running[0] if status["running_item_uid"] else "",
            running_uid=str(status["running_item_uid"] or ""),
            n_waiting=int(status["items_in_queue"]),
            waiting=self._waiting,
            n_done=int(status["items_in_history"]),
        )
        history = list(self._history)
        return lambda view: remembered(asked(view, queue), history)

    def close(self) -> None:
        """Let go of the sockets."""
        self._client.close()


def look_at_catalog(folder: DataFolder, ended: tuple[str, ...], now_s: float | None = None) -> CatalogView:
    """Return how the catalog of a folder does: whether its server answers, and whether runs wait in their logs.

    Parameters
    ----------
    folder : DataFolder
        Whose.
    ended : tuple of str
        Runs that have ended: the writer removes their logs once the catalog holds them whole.
    now_s : float, optional
        Seconds since the Unix epoch.
    """
    now = time.time() if now_s is None else now_s
    n_waiting = 0
    for uid in ended:
        try:
            written_s = (folder.wal / f"{uid}.jsonl").stat().st_mtime
        except OSError:
            continue
        n_waiting += now - written_s > _BEHIND_S
    if find_server(folder) is None:
        return CatalogView("away", n_waiting)
    return CatalogView("behind" if n_waiting else "ok", n_waiting)


def logged(
    folder: DataFolder, known: Collection[str] = (), *, only_open: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents of runs that a living process writes, the oldest run first.

    Those of `known` uids are left out, and if told so those that have been closed.

    What a process that died has left is no run any more, ended or not: it waits for `parfocal recover`. Of a log
    of many megabytes only its begin and its end are read: how many events there were is in the last of them.
    """
    found: list[tuple[float, Path]] = []
    for path in folder.wal.glob("*.jsonl"):
        if path.stem in known:
            continue
        try:
            found.append((path.stat().st_ctime, path))
        except OSError:  # the catalog has it by now
            continue
    runs = [documents for _, path in sorted(found) if (documents := _live_documents(path))]
    runs.sort(key=lambda documents: float(documents[0][1].get("time", 0.0)))
    for documents in runs:
        if not (only_open and documents[-1][0] == "stop"):
            yield from documents


def _live_documents(path: Path) -> list[tuple[str, dict[str, Any]]]:
    documents = list(_documents(path))
    try:
        is_live = bool(documents) and is_being_written(path)
    except OSError:
        is_live = False
    return documents if is_live else []


def _documents(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            lines = file.read(_HEAD_BYTES).splitlines(keepends=True)
            size = path.stat().st_size
            if size > _HEAD_BYTES:
                file.seek(max(_HEAD_BYTES - len(lines[-1]), size - _TAIL_BYTES))
                lines = lines[:-1] + file.read().splitlines(keepends=True)
    except OSError:
        return
    for line in lines:
        try:
            name, doc = decode_line(line)
        except (ValueError, KeyError, TypeError):  # torn, or cut in two here
            continue
        if not name.startswith("parfocal-log"):
            yield name, doc
