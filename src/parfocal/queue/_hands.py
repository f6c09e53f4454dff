"""What a supervisor does: each of its actions, on the real processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parfocal.catalog import DataFolder, open_shared_catalog, recover
from parfocal.errors import HardwareError
from parfocal.queue._connect import ask, connect, wait_until
from parfocal.queue._info import QueueInfo, write_queue_file
from parfocal.queue._lookout import Lookout, is_same, last_of, n_children, told_about, worker_of
from parfocal.queue._place import queue_folder, read_place, write_place
from parfocal.queue._processes import end_processes, processes_of
from parfocal.queue._redis import redis_uri, start_redis
from parfocal.queue._start import open_environment, start_manager, start_proxy
from parfocal.queue._supervisor_policy import Action, FailedItem

_DESTROY_S = 60.0
_MAKE_SAFE_S = 120.0
_START_S = 30.0


@dataclass(frozen=True)
class Done:
    """What came of an action.

    Attributes
    ----------
    info : QueueInfo
        Of the queue: a process that was started again has another number.
    succeeded : bool
        Whether it did what it should.
    said : str
        What was done, in a few words.
    run_uids : tuple of str
        Runs that were cut off, and brought into the catalog.
    """

    info: QueueInfo
    succeeded: bool
    said: str
    run_uids: tuple[str, ...] = ()


def perform(action: Action, folder: DataFolder, info: QueueInfo, lookout: Lookout) -> Done:
    """Do it; what cannot be done is told, not raised.

    Parameters
    ----------
    action : Action
        What to do.
    folder : DataFolder
        Whose queue it is.
    info : QueueInfo
        How to reach it.
    lookout : Lookout
        Is told of items that are not to count as failures.
    """
    try:
        if action.kind.startswith("restart"):
            done = _restart(action.kind, folder, info)
            lookout.forget_time()
            return done
        if action.kind == "recover":
            return _recover(folder, info)
        if action.kind == "hold":
            return _hold(action.item, info, action.why)
        if action.kind == "open_environment":
            open_environment(info, folder)
            return Done(info, True, "environment opened again")
        if action.kind == "end_worker":
            return _end_worker(info, action.why)
        with connect(info) as client:
            if action.kind == "destroy_environment":
                return _destroy(client, info)
            if action.kind == "make_safe":
                return _make_safe(client, info, lookout, action.microscope)
            if action.kind == "start_queue":
                return _start_queue(client, info)
            assert action.item is not None  # noqa: S101  (what is left is about an item)
            return (_retry if action.kind == "retry" else _skip)(client, info, action.item, lookout)
    except Exception as error:
        return Done(info, False, f"{_WORDS.get(action.kind, action.kind)} failed: {' '.join(str(error).split())}")


_WORDS = {
    "restart_redis": "starting Redis again",
    "restart_proxy": "starting the proxy of documents again",
    "restart_manager": "starting the RE Manager again",
    "end_worker": "ending the worker that hangs",
    "destroy_environment": "clearing the dead environment away",
    "recover": "recovering runs",
    "open_environment": "opening the environment",
    "make_safe": "making safe",
    "retry": "queueing it again",
    "skip": "taking it out of the queue",
    "hold": "holding the queue",
    "start_queue": "starting the queue",
}


def _restart(kind: str, folder: DataFolder, info: QueueInfo) -> Done:
    place = read_place(folder)
    if place is None:
        raise HardwareError(f"{queue_folder(folder)} does not say any more how the queue is reached")
    if kind == "restart_redis":
        place, pid = start_redis(folder, place)
        write_place(folder, place)
        info = replace(info, redis_pid=pid, redis=redis_uri(place))
        said = "Redis started again"
    elif kind == "restart_proxy":
        info = replace(info, proxy_pid=start_proxy(folder, info.documents_in, info.documents_out))
        said = "proxy of documents started again"
    else:
        left = [one for one in processes_of(info.queue_id) if "_manager_process" in " ".join(one.cmdline())]
        end_processes(left, timeout_s=2.0)  # a worker without its manager would hold the camera
        fresh, place = start_manager(folder, place, Path(info.profile), info.documents_in, info.documents_out)
        write_place(folder, place)
        kept = {"redis_pid": info.redis_pid, "proxy_pid": info.proxy_pid, "supervisor_pid": info.supervisor_pid}
        info = replace(fresh, **kept)
        said = "RE Manager started again"
    write_queue_file(folder, info)
    return Done(info, True, said)


def _recover(folder: DataFolder, info: QueueInfo) -> Done:
    results = recover(folder, opens=open_shared_catalog)
    brought = [one for one in results if one.outcome == "written" and not one.table]
    failed = [one for one in results if one.outcome == "failed"]
    if failed:
        raise HardwareError(f"{len(failed)} of {len(results)} logs: {failed[0].problem}")
    uids = tuple(one.uid for one in brought)
    said = f"{len(uids)} runs recovered" if len(uids) != 1 else "1 run recovered"
    return Done(info, True, said, uids)


def _hold(item: FailedItem | None, info: QueueInfo, why: str) -> Done:
    said = "queue held"
    if item is not None and not item.is_back:
        with connect(info) as client:
            said = _put_first(client, item, item.attempt)
    return Done(info, True, said)


def _end_worker(info: QueueInfo, why: str) -> Done:
    """End the worker at once: one that hangs hears nobody. Its plan is dealt with as after any death."""
    worker = worker_of(info.manager_pid)
    if worker is None:
        raise HardwareError("it is not there any more")
    worker.kill()
    return Done(info, True, f"worker ended: {why}")


def _destroy(client: Any, info: QueueInfo) -> Done:
    ask(client.environment_destroy)
    gone = wait_until(
        client, lambda now: not now["worker_environment_exists"] and now["manager_state"] == "idle", _DESTROY_S
    )
    if gone is None:
        raise HardwareError(f"it is still there after {_DESTROY_S:g} s")
    return Done(info, True, "dead environment cleared away")


def _make_safe(client: Any, info: QueueInfo, lookout: Lookout, microscope: str) -> Done:
    if "make_safe" not in ask(client.plans_allowed)["plans_allowed"]:
        return Done(info, True, "not made safe: the profile has no plan make_safe")
    item = {"item_type": "plan", "name": "make_safe", "args": [microscope]}
    uid = str(ask(lambda: client.item_execute(item))["item"]["item_uid"])
    lookout.ours.add(uid)
    ended = wait_until(
        client,
        lambda now: now["manager_state"] == "idle" and now["running_item_uid"] is None,
        _MAKE_SAFE_S,
        going=lambda: not lookout.result_of(client, uid) and n_children(info.manager_pid) > 1,
    )
    result = lookout.result_of(client, uid)
    if result.get("exit_status") == "completed":
        wait_until(client, lambda now: now["manager_state"] == "idle", _START_S)
        return Done(info, True, f"{microscope} made safe")
    if ended is None and not result:
        raise HardwareError(f"the worker died, or it has not ended after {_MAKE_SAFE_S:g} s")
    raise HardwareError(last_of(str(result.get("msg", ""))))


def _start_queue(client: Any, info: QueueInfo) -> Done:
    ask(client.queue_start)
    wait_until(client, lambda now: now["manager_state"] != "starting_queue", _START_S)
    return Done(info, True, "queue started")


def _retry(client: Any, info: QueueInfo, item: FailedItem, lookout: Lookout) -> Done:
    if not item.is_back:
        return Done(info, True, _put_first(client, item, item.attempt + 1))
    first = _first(client, item)
    if first is None:
        return Done(info, True, f"{item.name} is not in the queue any more")
    ask(lambda: client.item_update({**first, "meta": _meta(first, item.attempt + 1)}))
    return Done(info, True, f"{item.name} queued again, attempt {item.attempt + 1}")


def _skip(client: Any, info: QueueInfo, item: FailedItem, lookout: Lookout) -> Done:
    first = _first(client, item) if item.is_back else None
    if first is not None:
        ask(lambda: client.item_remove(uid=first["item_uid"]))
    return Done(info, True, f"{item.name} skipped")


def _first(client: Any, item: FailedItem) -> dict[str, Any] | None:
    """Return the queue's first item, if it is the one that failed."""
    items: list[dict[str, Any]] = ask(lambda: client.queue_get(reload=True))["items"]
    failed = _in_history(client, item)
    return items[0] if items and is_same(failed, items[0]) else None


def _put_first(client: Any, item: FailedItem, attempt: int) -> str:
    """Put an item that the queue server has lost back at the front, from what its history says of it."""
    failed = _in_history(client, item)
    if not failed:
        raise HardwareError(f"the history does not know {item.name} any more")
    kept = {key: failed[key] for key in ("item_type", "name", "args", "kwargs") if key in failed}
    ask(lambda: client.item_add({**kept, "meta": _meta(failed, attempt)}, pos="front"))
    return f"{item.name} queued again, attempt {attempt}"


def _in_history(client: Any, item: FailedItem) -> dict[str, Any]:
    items: list[dict[str, Any]] = ask(lambda: client.history_get(reload=True))["items"]
    return next((one for one in reversed(items) if one.get("item_uid") == item.item_uid), {})


def _meta(item: dict[str, Any], attempt: int) -> dict[str, Any]:
    meta: Any = item.get("meta")
    return {**(meta if isinstance(meta, dict) else {}), "parfocal": {**told_about(item), "attempt": attempt}}
