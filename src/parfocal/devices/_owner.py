"""One thread owns each camera: every call to its driver is made there, one after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Owner:
    """A daemon thread that runs submitted calls in order and hands their results back as futures.

    A daemon, so that a driver that hangs for ever cannot keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"{name}-owner", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call; the future holds its result or its exception."""
        future: Future[T] = Future()
        self._jobs.put((future, call))
        return future

    def call(self, call: Callable[[], T], timeout_s: float | None = None) -> T:
        """Run a call in the owner's thread and wait for it."""
        if threading.current_thread() is self._thread:
            return call()
        return self.submit(call).result(timeout_s)

    def close(self) -> None:
        """Let the thread end once what is queued has been done."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # the future carries it to whoever asked
                future.set_exception(error)
