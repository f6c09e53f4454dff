"""Where word of runs comes from: a 0MQ proxy, or the stream of the catalog's own server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from parfocal.callbacks._wire import listen
from parfocal.catalog import Catalog
from parfocal.errors import CatalogError

_UNREADABLE_SAID = 3


class Source(Protocol):
    """Where word of runs comes from; called in a thread of its own, it returns when `until` is set.

    It hands documents to `receive`, or, where it only knows that something happened to a run, its uid to
    `notice`. It calls `on_ready` when nothing that comes will be missed, and `say` for what a person should know.
    Whatever it raises ends it, is said, and leaves the catalog, which is asked every few seconds.
    """

    def __call__(
        self,
        receive: Callable[[str, dict[str, Any]], object],
        notice: Callable[[str], object],
        until: threading.Event,
        on_ready: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        """Listen until told to end."""
        ...


def first_few(say: Callable[[str], object], whose: str) -> Callable[[object], None]:
    """Return what says what is wrong with messages of somebody, in a line each, and after three nothing more."""
    left = _UNREADABLE_SAID

    def complain(why: object) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            say(f"{whose}: {' '.join(str(why).split())}")

    return complain


def zmq_source(address: str) -> Source:
    """Return the documents of a 0MQ proxy, such as bluesky's own; `address` is where it sends.

    Who publishes does so as JSON: a session with `publish=`, or any RunEngine that subscribes
    `Publisher(address, serializer=parfocal.callbacks.document_to_wire)`.
    """

    def source(
        receive: Callable[[str, dict[str, Any]], object],
        notice: Callable[[str], object],
        until: threading.Event,
        on_ready: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        listen(address, receive, until, on_ready=on_ready, on_unreadable=first_few(say, address))

    return source


def tiled_source(catalog: Catalog) -> Source:
    """Return word of runs from the stream of the catalog's server: a run was begun, or has ended.

    Tiled streams where its server has a cache for it (`streaming_cache` in its configuration). Rows of different
    streams come without an order between them, so documents are read from the catalog when a run has ended.
    """

    def source(
        receive: Callable[[str, dict[str, Any]], object],
        notice: Callable[[str], object],
        until: threading.Event,
        on_ready: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        from websockets.exceptions import InvalidHandshake

        subscription: Any = catalog.shelf("raw").subscribe()

        def told(update: Any) -> None:
            notice(str(update.key))

        subscription.child_created.add_callback(told)  # keeps a weak reference: `told` lives as long as this call
        subscription.child_metadata_updated.add_callback(told)
        ended = threading.Event()
        failed: list[Exception] = []

        def receive_until_closed() -> None:
            try:
                subscription.start()
            except Exception as error:
                failed.append(error)
            ended.set()

        threading.Thread(target=receive_until_closed, name="follow-tiled", daemon=True).start()
        connected: threading.Event = subscription._connected_event  # noqa: SLF001  (it tells nobody else)
        while not until.is_set() and not ended.wait(0.1):
            if connected.is_set():
                on_ready()
                break
        while not until.is_set() and not ended.wait(0.1):
            pass
        subscription.disconnect()
        if failed and isinstance(failed[0], InvalidHandshake):
            raise CatalogError(f"{catalog.root.uri} has no stream")
        if not until.is_set():
            why = f": {failed[0]}" if failed else ""
            raise CatalogError(f"the stream of {catalog.root.uri} has ended{why}")

    return source
