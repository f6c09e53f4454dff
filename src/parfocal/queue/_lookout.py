"""What a supervisor sees: the RE Manager's status and history, and which processes live."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, cast

import psutil

from parfocal.catalog import DataFolder, Resting, RestingFile
from parfocal.queue._info import QueueInfo
from parfocal.queue._processes import is_alive
from parfocal.queue._supervisor_policy import FailedItem, Seen

_SILENT_S = 30.0  # the queue server's own watchdog starts a manager again after 5 s
_STUCK_S = 15.0
_FAILED = ("failed", "unknown")  # not those that somebody stopped or aborted
_ERROR = re.compile(r"(?P<kind>[A-Za-z_][\w.]*(?:Error|FailedStatus|Exception)): (?P<message>.+)")
_SETTLED = ("idle", "executing_queue", "paused", "starting_queue")


class Lookout:
    """Looks at one queue again and again, and remembers what it has told already.

    Parameters
    ----------
    folder : DataFolder
        Whose queue it is.
    since_s : float
        What ended before, in seconds since the Unix epoch, is not ours to mend.
    clock : callable
        Seconds that never step back.

    Attributes
    ----------
    ours : set of str
        Items that the supervisor itself had executed: their failure is nobody else's.
    is_listening : bool
        Whether somebody calls `heard` for each document; else nobody can say whether a worker hangs.
    """

    def __init__(
        self, folder: DataFolder, since_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._since_s = since_s
        self._clock = clock
        self._history_uid = ""
        self._told: set[str] | None = None
        self._n_without_worker = 0
        self._answered_s = clock()
        self._idle_since_s: float | None = None
        self._plan_had_ended = False
        self._heard_s = clock()
        self._running_uid = ""
        self.is_listening = False
        self.ours: set[str] = set()

    def look(self, info: QueueInfo, client: Any) -> Seen:
        """Return what is to be seen now; a manager that does not answer has an empty state."""
        # Before the status: a plan that has begun since then has made its manager busy first.
        left = self._left_behind()
        redis_died = bool(info.redis_pid) and not is_alive(info.redis_pid)
        proxy_died = bool(info.proxy_pid) and not is_alive(info.proxy_pid, info.queue_id)
        if not is_alive(info.manager_pid, info.queue_id):
            self._answered_s = self._clock()
            return Seen(redis_died=redis_died, proxy_died=proxy_died, manager_died=True)
        try:
            status: dict[str, Any] = client.status(reload=True)
            failures = () if redis_died else self._new_failures(client, status)
        except Exception:  # the classes of its errors are made inside each client
            is_silent = self._clock() - self._answered_s > _SILENT_S
            return Seen(redis_died=redis_died, proxy_died=proxy_died, is_stuck=is_silent and not redis_died)
        self._answered_s = self._clock()
        state, is_open = str(status["manager_state"]), bool(status["worker_environment_exists"])
        worker_died = self._has_no_worker(info, is_open and state in _SETTLED)
        return Seen(
            manager_state=state,
            environment_open=is_open,
            redis_died=redis_died,
            proxy_died=proxy_died,
            worker_died=worker_died,
            is_stuck=self._is_stuck(status) and not (worker_died or redis_died),
            silent_s=self._silent_s(status),
            n_in_queue=int(status["items_in_queue"]),
            unsafe=self._unsafe(info, left) if state == "idle" and is_open and not worker_died else (),
            failures=failures,
        )

    def heard(self) -> None:
        """Note that a document came just now, from the worker: it does not hang."""
        self._heard_s = self._clock()

    def _silent_s(self, status: dict[str, Any]) -> float:
        """Return for how long the plan that runs has sent nothing; it begins anew with each item."""
        running = str(status.get("running_item_uid") or "")
        if running != self._running_uid or status["manager_state"] != "executing_queue":
            self._running_uid = running
            self.heard()
        return self._clock() - self._heard_s if self.is_listening else 0.0

    def result_of(self, client: Any, item_uid: str) -> dict[str, Any]:
        """Return how an item ended, as the history says: `exit_status`, `msg`, `run_uids`; empty for not yet."""
        for item in reversed(client.history_get(reload=True)["items"]):
            if item.get("item_uid") == item_uid:
                return dict(item["result"])
        return {}

    def forget_time(self) -> None:
        """Begin to count anew how long nothing answers: something was started again just now."""
        self._answered_s, self._idle_since_s, self._n_without_worker = self._clock(), None, 0

    def _new_failures(self, client: Any, status: dict[str, Any]) -> tuple[FailedItem, ...]:
        if status["plan_history_uid"] == self._history_uid:
            return ()
        items: list[dict[str, Any]] = client.history_get(reload=True)["items"]
        if self._told is None:
            old = [item for item in items if item.get("result", {}).get("time_stop", 0.0) < self._since_s]
            self._told = {str(item.get("item_uid")) for item in old}
        new = [item for item in items if item.get("item_uid") not in self._told]
        failed = [item for item in new if self._is_failure(item)]
        first: dict[str, Any] = {}
        if failed:
            waiting: list[dict[str, Any]] = client.queue_get(reload=True)["items"]
            first = waiting[0] if waiting else {}
        found = [failed_item(item, is_same(item, first), self._plan_had_ended) for item in failed]
        # What failed and was not put back was executed beside the queue, by somebody who looks on; what was lost
        # with its manager is never put back.
        lost = {str(item.get("item_uid")) for item in failed if item["result"]["exit_status"] == "unknown"}
        told = tuple(item for item in found if item.is_back or item.item_uid in lost)
        # Only now: where Redis did not answer in between, they are new again at the next look.
        self._told |= {str(item.get("item_uid")) for item in new}
        self._history_uid = str(status["plan_history_uid"])
        self._plan_had_ended = self._plan_had_ended and not new
        return told

    def _is_failure(self, item: dict[str, Any]) -> bool:
        return (
            item.get("item_type", "plan") == "plan"
            and item.get("result", {}).get("exit_status") in _FAILED
            and item.get("item_uid") not in self.ours
        )

    def _has_no_worker(self, info: QueueInfo, should_have: bool) -> bool:
        """Say whether the worker's process is gone: a manager has two children, itself and its worker.

        It has to be so twice: the queue server's watchdog may be starting its manager again.
        """
        gone = should_have and n_children(info.manager_pid) < 2
        self._n_without_worker = self._n_without_worker + 1 if gone else 0
        return self._n_without_worker >= 2

    def _is_stuck(self, status: dict[str, Any]) -> bool:
        """Say whether the manager waits for a plan that its worker has ended: Redis was away at that moment."""
        waits = status["manager_state"] == "executing_queue" and status["re_state"] == "idle"
        if not waits:
            self._idle_since_s = None
            return False
        if self._idle_since_s is None:
            self._idle_since_s = self._clock()
        self._plan_had_ended = self._clock() - self._idle_since_s > _STUCK_S
        return self._plan_had_ended

    def _left_behind(self) -> dict[str, Resting]:
        """Return what the folder says of each microscope whose plan runs, or did not end safely."""
        read = ((path.stem, RestingFile(path).read()) for path in sorted(self._folder.resting.glob("*.json")))
        return {name: left for name, left in read if left is not None}

    def _unsafe(self, info: QueueInfo, before: dict[str, Resting]) -> tuple[str, ...]:
        """Return the microscopes whose last plan is over, and left them as they were."""
        now = self._left_behind()
        own = _children(info.manager_pid)
        return tuple(
            name
            for name, left in before.items()
            if now.get(name) == left and (left.pid in own or not psutil.pid_exists(left.pid))
        )


def failed_item(item: dict[str, Any], is_back: bool, had_ended: bool = False) -> FailedItem:
    """Return what a supervisor has to know of an item of the history that failed."""
    told = told_about(item)
    attempt: Any = told.get("attempt", 1)
    result: dict[str, Any] = item.get("result", {})
    return FailedItem(
        item_uid=str(item.get("item_uid", "")),
        name=str(item.get("name", "")),
        on_failure=str(told.get("on_failure", "")),
        attempt=attempt if isinstance(attempt, int) else 1,
        reason=cause_in(str(result.get("traceback", ""))) or last_of(str(result.get("msg", ""))),
        is_back=is_back,
        run_uids=tuple(str(uid) for uid in result.get("run_uids", ())),
        began_s=float(result.get("time_start", 0.0)),
        had_ended=had_ended and result.get("exit_status") == "unknown",
    )


def told_about(item: dict[str, Any]) -> dict[str, Any]:
    """Return what an item's metadata say to us: `meta: {parfocal: {...}}`; empty for nothing."""
    meta: Any = item.get("meta")
    told: Any = cast("dict[str, Any]", meta).get("parfocal") if isinstance(meta, dict) else None
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def is_same(item: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether two items ask for the same: one of them may have been put back under another uid."""
    return bool(item) and all(item.get(key) == other.get(key) for key in ("name", "args", "kwargs"))


def last_of(message: str) -> str:
    """Return the reason of a failure in one line: the queue server begins it with words of its own."""
    text = " ".join(message.split())
    return text.removeprefix("Plan failed: ") or "it does not say why"


def cause_in(traceback: str) -> str:
    """Return the message of the error that a failure goes back to; its own may be the repr of a status."""
    told = [found for line in traceback.splitlines() if (found := _ERROR.match(line)) is not None]
    causes = [one["message"] for one in told if not one["kind"].endswith("FailedStatus")]
    return causes[-1] if causes else ""


def n_children(pid: int) -> int:
    """Return how many processes a manager has started that live."""
    return len(_children(pid))


def worker_of(manager_pid: int) -> psutil.Process | None:
    """Return the process in which plans run: of a manager's two children the one that came last."""
    own = [psutil.Process(pid) for pid in _children(manager_pid)]
    return max(own, key=lambda process: process.create_time()) if len(own) > 1 else None


def _children(pid: int) -> set[int]:
    try:
        found = psutil.Process(pid).children()
        return {one.pid for one in found if one.status() != psutil.STATUS_ZOMBIE and not _is_tracker(one)}
    except psutil.Error:
        return set()


def _is_tracker(process: psutil.Process) -> bool:
    """Say whether it is Python's own helper, which it starts where processes are not forked."""
    return any("resource_tracker" in word for word in process.cmdline())
