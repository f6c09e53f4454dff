"""One thread owns each camera: every call to its driver is made there, one after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from parfocal.errors import HardwareError

T = TypeVar("T")


class Owner:
    """A daemon thread that runs submitted calls in order and hands their results back as futures.

    A daemon, so that a driver that hangs for ever cannot keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._closed = False
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"{name}-owner", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call; the future holds its result or its exception; `HardwareError` once it was closed."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:  # nobody would run it, and whoever waits for it would wait for ever
                future.set_exception(HardwareError(f"{self._name}: it was closed"))
            else:
                self._jobs.put((future, call))
        return future

    def call(self, call: Callable[[], T], timeout_s: float | None = None) -> T:
        """Run a call in the owner's thread and wait for it."""
        if threading.current_thread() is self._thread:
            return call()
        return self.submit(call).result(timeout_s)

    def close(self) -> None:
        """Let the thread end once what is queued has been done; closing again does nothing."""
        with self._lock:
            if not self._closed:
                self._jobs.put(None)
            self._closed = True

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more calls."""
        return self._closed

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # the future carries it to whoever asked
                future.set_exception(error)
