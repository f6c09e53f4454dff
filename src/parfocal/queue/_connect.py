"""A client of the RE Manager, and what goes wrong with it in one line."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError, HardwareError
from parfocal.queue._info import QueueInfo, find_queue
from parfocal.queue._processes import Deadline


def connect(info: QueueInfo, *, timeout_s: float = 5.0) -> Any:
    """Return a client of the running queue: bluesky's own `REManagerAPI`, over 0MQ, encrypted.

    Use it as `with connect(info) as client:`, or `close()` it.

    Raises
    ------
    BadInputError
        The extra `queue` is not installed.
    """
    try:
        from bluesky_queueserver_api.zmq import REManagerAPI
    except ImportError as error:
        raise BadInputError("the queue is not installed here: pip install 'parfocal[queue]'") from error

    class Client(REManagerAPI):  # type: ignore[misc]
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            self.close()

        def close(self) -> None:
            super().close()
            # It closes one socket of three, and leaves all contexts to the garbage collector, which complains.
            own: Any = self
            monitors = (own._console_monitor, own._system_info_monitor)  # noqa: SLF001
            for context in (own._client._ctx, *(one._rco._socket.context for one in monitors)):  # noqa: SLF001
                context.destroy(linger=0)

    client: Any = Client(
        zmq_control_addr=info.control_address,
        zmq_info_addr=info.info_address,
        zmq_public_key=info.public_key,
        timeout_recv=timeout_s,
    )
    client.user = user_name()
    client.user_group = "primary"
    return client


def running_queue(data: DataFolder | Path | str | None = None) -> QueueInfo:
    """Return the queue of a data folder.

    Raises
    ------
    BadInputError
        None runs.
    """
    folder = data if isinstance(data, DataFolder) else DataFolder() if data is None else DataFolder(Path(data))
    info = find_queue(folder)
    if info is None:
        raise BadInputError(f"no queue runs for {folder.root}: start it with `parfocal queue start`")
    return info


def ask(call: Callable[[], Any]) -> Any:
    """Return what a request to the RE Manager answers.

    Raises
    ------
    BadInputError
        It refused; the message says why.
    HardwareError
        It did not answer.
    """
    try:
        return call()
    except Exception as error:
        # Its classes are made inside its client, and cannot be imported.
        kind = {base.__name__ for base in type(error).__mro__}
        if kind & {"RequestTimeoutError", "CommTimeoutError"}:
            raise HardwareError(f"the queue does not answer: {_in_one_line(error)}") from error
        if kind & {"RequestFailedError", "RequestParameterError"}:
            raise BadInputError(f"the queue refused: {_in_one_line(error)}") from error
        raise


def wait_until(
    client: Any,
    is_so: Callable[[dict[str, Any]], bool],
    timeout_s: float,
    *,
    going: Callable[[], bool] = lambda: True,
) -> dict[str, Any] | None:
    """Return the manager's status once `is_so` of it, None when time is up or it is not `going` any more.

    A manager that does not answer is asked again: it may be busy, or about to be started again by its watchdog.
    """
    deadline = Deadline(timeout_s)
    while going():
        try:
            status: dict[str, Any] = ask(lambda: client.status(reload=True))
            if is_so(status):
                return status
        except HardwareError:
            pass
        if not deadline.wait(0.1):
            break
    return None


def user_name() -> str:
    """Return who asks."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "parfocal"


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
