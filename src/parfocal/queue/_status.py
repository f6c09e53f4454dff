"""How a queue is, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.catalog import DataFolder, find_server
from parfocal.errors import ParfocalError
from parfocal.queue._connect import ask, connect
from parfocal.queue._info import QueueInfo, find_queue
from parfocal.queue._processes import is_alive
from parfocal.queue._redis import redis_answers


@dataclass(frozen=True)
class QueueStatus:
    """How the queue of a data folder is.

    Attributes
    ----------
    running : bool
        Whether the RE Manager's process lives.
    manager : str
        Its state, such as `idle`, `executing_queue`, `paused`; `silent` where it does not answer.
    environment : str
        `closed`, else the worker's state.
    n_waiting, n_done : int
        Items in the queue and in its history.
    running_item : dict or None
        The item that runs now.
    stops_after_this : bool
        Nothing runs after the plan that runs.
    catalog : str
        `answers` or `away`: of the server.
    waiting_logs : int
        Write-ahead logs of runs that the catalog does not yet hold whole.
    redis, documents, supervisor : str
        `answers`, or what is wrong.
    info : QueueInfo or None
        How to reach it.
    """

    running: bool
    manager: str = "stopped"
    environment: str = "closed"
    n_waiting: int = 0
    n_done: int = 0
    running_item: dict[str, Any] | None = None
    stops_after_this: bool = False
    catalog: str = "away"
    waiting_logs: int = 0
    redis: str = "stopped"
    documents: str = "stopped"
    supervisor: str = "none"
    info: QueueInfo | None = None


def queue_status(data: DataFolder | Path | str | None = None) -> QueueStatus:
    """Return how the queue of a data folder is; nothing is started for it."""
    folder = data if isinstance(data, DataFolder) else DataFolder() if data is None else DataFolder(Path(data))
    info = find_queue(folder)
    catalog = "answers" if find_server(folder) is not None else "away"
    logs = len(list(folder.wal.glob("*.jsonl"))) if folder.wal.is_dir() else 0
    if info is None:
        return QueueStatus(False, catalog=catalog, waiting_logs=logs)
    status: dict[str, Any] = {}
    item: dict[str, Any] | None = None
    with connect(info) as client:
        try:
            status = ask(lambda: client.status(reload=True))
            item = ask(client.queue_get)["running_item"] or None
        except ParfocalError:
            pass
    opened = bool(status.get("worker_environment_exists"))
    return QueueStatus(
        running=True,
        manager=status.get("manager_state", "silent"),
        environment=str(status.get("worker_environment_state")) if opened else "closed",
        n_waiting=status.get("items_in_queue", 0),
        n_done=status.get("items_in_history", 0),
        running_item=item,
        stops_after_this=bool(status.get("queue_stop_pending")),
        catalog=catalog,
        waiting_logs=logs,
        redis=redis_answers(info.redis) or "answers",
        documents="answers" if is_alive(info.proxy_pid) else "its process ended",
        supervisor="none" if not info.supervisor_pid else "watches" if is_alive(info.supervisor_pid) else "ended",
        info=info,
    )


def client_settings(info: QueueInfo) -> dict[str, str]:
    """Return the variables by which `qserver` and other clients of the RE Manager find this one."""
    return {
        "QSERVER_ZMQ_CONTROL_ADDRESS": info.control_address,
        "QSERVER_ZMQ_INFO_ADDRESS": info.info_address,
        "QSERVER_ZMQ_PUBLIC_KEY": info.public_key,
    }
