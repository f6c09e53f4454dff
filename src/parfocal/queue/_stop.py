"""Stop a queue: after the plan that runs, or at once but safely."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError, HardwareError
from parfocal.queue._connect import ask, connect, wait_until
from parfocal.queue._info import QueueInfo, find_queue, queue_file, read_queue_file
from parfocal.queue._place import read_place, sockets_folder
from parfocal.queue._processes import end_processes, processes_of, workers_ended

_ABORT_TIMEOUT_S = 60.0  # a plan puts z back and the light out before it ends
_CLOSE_TIMEOUT_S = 120.0  # analyses finish, documents reach the catalog
_FOREVER_S = 1e9


def stop_queue(
    data: DataFolder | Path | str | None = None,
    *,
    now: bool = False,
    say: Callable[[str], object] = lambda what: None,
    timeout_s: float | None = None,
) -> bool:
    """Stop the queue of a data folder; items that wait stay in it. Return whether there was one.

    The plan that runs is waited for, or with `now` aborted: it puts z back and the light out, its run is closed as
    `abort`, and it goes back to the front of the queue. Then the environment closes: analyses finish, and every
    document is in the catalog. The catalog's server stays.

    Parameters
    ----------
    data : path, optional
        The data folder.
    now : bool
        Abort the plan that runs.
    say : callable
        Told what is being waited for, in a few words.
    timeout_s : float, optional
        How long the running plan may take; as long as it does by default.

    Raises
    ------
    HardwareError
        The plan did not end in time and runs on, or the worker had to be killed: look after light and z.
    """
    folder = data if isinstance(data, DataFolder) else DataFolder() if data is None else DataFolder(Path(data))
    info = find_queue(folder)
    if info is None:
        stale = read_queue_file(folder)
        if stale is not None and stale.queue_id:
            _leave_nothing(folder, stale)  # Redis and proxy outlive a manager that was killed
        return False
    _end_supervisor(info)
    problem = _close(info, now, say, timeout_s)
    say("processes")
    _leave_nothing(folder, info)
    if problem:
        raise HardwareError(problem)
    return True


def _leave_nothing(folder: DataFolder, info: QueueInfo) -> None:
    end_processes(list(processes_of(info.queue_id)))
    queue_file(folder).unlink(missing_ok=True)
    place = read_place(folder)
    if place is not None and place.queue_id == info.queue_id:  # the next start makes it again, under the same name
        shutil.rmtree(sockets_folder(place), ignore_errors=True)


def _close(info: QueueInfo, now: bool, say: Callable[[str], object], timeout_s: float | None) -> str:
    """Close environment and manager in order; return what could not be done."""
    with connect(info) as client:
        try:
            status = ask(lambda: client.status(reload=True))
        except HardwareError:
            who = f"the RE Manager (process {info.manager_pid})"
            return f"{who} did not answer and was killed: look after light and z"
        problem = ""
        if status["worker_environment_exists"]:
            if status["manager_state"] not in ("idle",):
                problem = end_running_plan(client, now=now, say=say, timeout_s=timeout_s)
            if not problem:
                say("analyses and documents")
                problem = _close_environment(client, info)
        _quietly(lambda: client.send_request(method="manager_stop", params={"option": "safe_off"}))
        return problem


def end_running_plan(
    client: Any,
    *,
    now: bool = True,
    say: Callable[[str], object] = lambda what: None,
    timeout_s: float | None = None,
) -> str:
    """End the plan that runs, and run nothing after it; return what could not be done, in one line.

    Parameters
    ----------
    client
        From `connect`.
    now : bool
        Abort it: it puts z back and the light out, and is in the queue again, as its first item. Otherwise it is
        waited for.
    say : callable
        Told what is being waited for.
    timeout_s : float, optional
        How long it is waited for; as long as it takes by default.

    Raises
    ------
    BadInputError
        No plan runs, or it is paused and shall not be aborted.
    HardwareError
        It has not ended in time, and runs on.
    """
    status = ask(lambda: client.status(reload=True))
    if status["manager_state"] not in ("executing_queue", "paused", "starting_queue"):
        raise BadInputError("no plan runs")
    name = (ask(client.queue_get).get("running_item") or {}).get("name", "the plan")
    if now:
        say(f"{name} to put things back")
        _quietly(client.queue_stop)
        if status["manager_state"] != "paused":
            _quietly(lambda: client.re_pause(option="immediate"))
            wait_until(client, lambda now: now["manager_state"] in ("paused", "idle"), _ABORT_TIMEOUT_S)
        _quietly(client.re_abort)
        if wait_until(client, lambda now: now["manager_state"] == "idle", _ABORT_TIMEOUT_S) is None:
            return f"{name} did not end within {_ABORT_TIMEOUT_S:g} s: look after light and z"
        return ""
    if status["manager_state"] == "paused":
        raise BadInputError(
            f"{name} is paused: `parfocal queue resume` lets it go on, `queue stop --now` aborts it"
        )
    say(f"{name} to end")
    _quietly(client.queue_stop)
    ended = wait_until(client, lambda now: now["manager_state"] == "idle", timeout_s or _FOREVER_S)
    if ended is None:
        raise HardwareError(f"{name} has not ended within {timeout_s:g} s and runs on; nothing runs after it")
    return ""


def _close_environment(client: Any, info: QueueInfo) -> str:
    _quietly(client.environment_close)
    closed = wait_until(client, lambda now: not now["worker_environment_exists"], _CLOSE_TIMEOUT_S)
    # The manager counts a worker as gone that still has documents to write.
    closed = closed if workers_ended(info.manager_pid, _CLOSE_TIMEOUT_S) else None
    return "" if closed is not None else "the environment did not close and was killed: look after light and z"


def _end_supervisor(info: QueueInfo) -> None:
    """End it first: it would open again what is closed."""
    if info.supervisor_pid:
        try:
            end_processes([psutil.Process(info.supervisor_pid)])
        except psutil.NoSuchProcess:
            pass


def _quietly(call: Callable[[], object]) -> None:
    """Ask for what may be so already."""
    try:
        ask(call)
    except (BadInputError, HardwareError):
        pass
