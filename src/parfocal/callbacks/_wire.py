"""Documents from one process to another, over 0MQ, through bluesky's own proxy and classes.

Bluesky's publisher pickles unless it is told otherwise, and whoever unpickles runs what a stranger sends: here
documents are lines of JSON, as in the write-ahead logs. Nothing is kept for who comes late, and a slow listener
loses documents; what must not be lost is read from the catalog.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from parfocal.catalog import decode_line, encode_line
from parfocal.errors import BadInputError

_POLL_MS = 100


def publisher(address: str) -> Any:
    """Return a callback that publishes documents to a proxy, such as `tcp://127.0.0.1:5577` or `ipc:///run/x`.

    It never waits: where nobody listens, documents are dropped. `close()` lets go of the socket. Threads may share
    it, as a RunEngine and its analyses do: a socket of 0MQ that two threads enter ends the process.

    Raises
    ------
    BadInputError
        The extra `queue`, which brings 0MQ, is not installed.
    """
    try:
        from bluesky.callbacks.zmq import Publisher
    except ImportError as error:
        raise BadInputError("0MQ is not installed here: pip install 'parfocal[queue]'") from error
    one_at_a_time = threading.Lock()

    class SharedPublisher(Publisher):
        def __call__(self, name: str, doc: dict[str, Any]) -> None:
            with one_at_a_time:
                super().__call__(name, doc)

        def close(self) -> None:
            with one_at_a_time:
                super().close()

    return SharedPublisher(address, serializer=document_to_wire)


def document_to_wire(doc: Mapping[str, Any]) -> bytes:
    """Return a document as JSON: `serializer` of bluesky's `Publisher`."""
    return encode_line("", doc)


def document_from_wire(message: bytes) -> dict[str, Any]:
    """Return the document of a message: `deserializer` of bluesky's `RemoteDispatcher`.

    Raises
    ------
    ValueError
        It was not written by `document_to_wire`, but pickled, say.
    """
    try:
        return decode_line(message)[1]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            "not a document as JSON: publish with serializer=parfocal.callbacks.document_to_wire"
        ) from error


def listen(
    address: str,
    receive: Callable[[str, dict[str, Any]], object],
    until: threading.Event,
    *,
    on_ready: Callable[[], object] = lambda: None,
    on_unreadable: Callable[[str], object] = lambda why: None,
) -> None:
    """Hand every document of a proxy to `receive`, in this thread, until the event is set.

    Parameters
    ----------
    address : str
        Where the proxy sends.
    receive : callable
        Gets name and document.
    until : threading.Event
        Ends it, within a tenth of a second.
    on_ready : callable
        Called once, when the socket is connected.
    on_unreadable : callable
        Called with the reason, in one line, for each message that is no document of ours.

    Raises
    ------
    BadInputError
        0MQ is not installed, or the address is none.
    """
    try:
        import zmq
    except ImportError as error:
        raise BadInputError("0MQ is not installed here: pip install 'parfocal[queue]'") from error
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            raise BadInputError(
                f"{address}: is no address of a 0MQ proxy, such as tcp://127.0.0.1:5578"
            ) from error
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.LINGER, 0)
        on_ready()
        while not until.is_set():
            if not socket.poll(_POLL_MS):
                continue
            _, name, message = (*socket.recv().split(b" ", 2), b"", b"")[:3]
            try:
                doc = document_from_wire(message)
            except ValueError as error:
                on_unreadable(str(error))
            else:
                receive(name.decode(errors="replace"), doc)
