"""What the queue of a data folder keeps: its name, its keys, its addresses; the same after a restart."""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from parfocal.catalog import DataFolder, write_private
from parfocal.errors import BadInputError


@dataclass(frozen=True)
class QueuePlace:
    """Keys and addresses of one folder's queue, in `queue/keys.json` (mode 0600).

    Attributes
    ----------
    root : str
        The data folder that they were made for: a copy of the folder gets others.
    queue_id : str
        Stands in the command line of each of the queue's processes, and in the name of its folder of sockets.
    private_key, public_key : str
        Of the RE Manager: CURVE, z85.
    redis_password : str
        Of the queue's own Redis.
    redis : str
        URI of a site's Redis; empty for the queue's own.
    control_port, info_port, redis_port : int
        On 127.0.0.1, of the RE Manager and of the queue's own Redis.
    """

    root: str
    queue_id: str
    private_key: str
    public_key: str
    redis_password: str
    redis: str = ""
    control_port: int = 0
    info_port: int = 0
    redis_port: int = 0

    @property
    def control_address(self) -> str:
        """Where commands go."""
        return f"tcp://127.0.0.1:{self.control_port}"

    @property
    def info_address(self) -> str:
        """Where the console comes from."""
        return f"tcp://127.0.0.1:{self.info_port}"


def queue_folder(folder: DataFolder) -> Path:
    """Return where a queue keeps its keys, its Redis and what its processes said; made (mode 0700) if need be."""
    path = folder.root / "queue"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def read_place(folder: DataFolder) -> QueuePlace | None:
    """Return what the folder's queue keeps, None where it never had one."""
    try:
        content = json.loads((folder.root / "queue" / "keys.json").read_text())
        place = QueuePlace(**{field.name: content[field.name] for field in fields(QueuePlace)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return place if place.root == str(folder.root) else None


def write_place(folder: DataFolder, place: QueuePlace) -> None:
    """Keep it, for this user alone."""
    write_private(queue_folder(folder) / "keys.json", asdict(place))


def new_place(folder: DataFolder) -> QueuePlace:
    """Return fresh keys for a folder.

    Raises
    ------
    BadInputError
        The extra `queue`, which brings 0MQ, is not installed.
    """
    try:
        import zmq
    except ImportError as error:
        raise BadInputError("the queue is not installed here: pip install 'parfocal[queue]'") from error
    public, private = zmq.curve_keypair()
    return QueuePlace(
        str(folder.root), secrets.token_hex(8), private.decode(), public.decode(), secrets.token_urlsafe(24)
    )


def free_ports(*wanted: int) -> tuple[int, ...]:
    """Return ports of 127.0.0.1 that are free now: those wanted where they are, others where they are not."""
    held: list[socket.socket] = []
    try:
        for port in wanted:
            held.append(_bound(port))
        return tuple(one.getsockname()[1] for one in held)
    finally:
        for one in held:
            one.close()


def sockets_folder(place: QueuePlace) -> Path:
    """Return the private folder of the queue's sockets, made if need be.

    It lies in the system's temporary folder: the path of a Unix socket has some hundred bytes at most, and a
    data folder may be on a network's drive, which holds no sockets.

    Raises
    ------
    BadInputError
        There is one that others could write to.
    """
    path = Path(tempfile.gettempdir()) / f"parfocal-{place.queue_id}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or (
        sys.platform != "win32" and (found.st_uid != os.getuid() or found.st_mode & 0o077)
    ):
        raise BadInputError(f"{path}: a folder that only you can read was expected; remove it")
    return path


def document_addresses(place: QueuePlace) -> tuple[str, str]:
    """Return where a worker publishes documents, and where one listens."""
    if sys.platform == "win32":  # knows no ipc://
        into, out = free_ports(0, 0)
        return f"tcp://127.0.0.1:{into}", f"tcp://127.0.0.1:{out}"
    folder = sockets_folder(place)
    return f"ipc://{folder / 'in'}", f"ipc://{folder / 'out'}"


def _bound(port: int) -> socket.socket:
    for one in (port, 0):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", one))
        except OSError:
            listener.close()
            continue
        return listener
    raise BadInputError("127.0.0.1 has no free port left")
