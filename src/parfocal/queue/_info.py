"""Where the queue of a data folder is: one private file that everybody reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from parfocal.catalog import DataFolder, write_private
from parfocal.queue._processes import is_alive


@dataclass(frozen=True)
class QueueInfo:
    """How to reach the running queue of a data folder.

    Attributes
    ----------
    manager_pid, redis_pid, proxy_pid, supervisor_pid : int
        Processes; 0 where it is not ours (a site's own Redis) or does not run.
    control_address, info_address : str
        Of the RE Manager: commands, and its console.
    public_key : str
        Of the RE Manager; clients that know it may command.
    redis : str
        URI of the Redis, with its password where it has one.
    documents_in, documents_out : str
        Of the proxy: where a worker publishes, and where one listens (`callbacks.listen`).
    profile : str
        Folder of the startup file.
    queue_id : str
        Stands in the command line of each of its processes: a number may pass to another process.
    """

    manager_pid: int
    control_address: str
    info_address: str
    public_key: str
    redis: str
    documents_in: str
    documents_out: str
    profile: str
    redis_pid: int = 0
    proxy_pid: int = 0
    supervisor_pid: int = 0
    queue_id: str = ""


def queue_file(folder: DataFolder) -> Path:
    """Return where the file of a folder's queue lies (mode 0600)."""
    return folder.root / "queue.json"


def write_queue_file(folder: DataFolder, info: QueueInfo) -> None:
    """Say where the queue is, to this user alone."""
    write_private(queue_file(folder), asdict(info))


def read_queue_file(folder: DataFolder) -> QueueInfo | None:
    """Return what the folder's queue file says, None where there is none; it may be out of date."""
    try:
        content = json.loads(queue_file(folder).read_text())
        return QueueInfo(**{field.name: content[field.name] for field in fields(QueueInfo)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_queue(folder: DataFolder) -> QueueInfo | None:
    """Return the folder's queue if its manager's process lives, else None."""
    info = read_queue_file(folder)
    return info if info is not None and is_alive(info.manager_pid, info.queue_id) else None
