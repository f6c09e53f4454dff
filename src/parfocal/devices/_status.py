"""A status without a thread: what a plan waits for, at a tenth of the cost.

ophyd's own statuses start a thread each, to run call-backs and watch a time-out. A plan makes several of them
for every frame, and our drivers watch their own time-outs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class PlainStatus:
    """Bluesky's `Status` protocol, and the `wait` and `set_...` that ophyd's has.

    Call-backs run in the thread that finishes the status, or at once where it is finished.
    """

    def __init__(self, obj: Any = None) -> None:
        self.obj = obj
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[Any], None]] = []
        self._exception: BaseException | None = None
        self._done = False
        self._event: threading.Event | None = None

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._done

    @property
    def success(self) -> bool:
        """Whether it is over and went well."""
        return self._done and self._exception is None

    def set_finished(self) -> None:
        """Say that it went well; the first word counts."""
        self._finish(None)

    def set_exception(self, error: BaseException) -> None:
        """Say that it failed, and how; the first word counts."""
        self._finish(error)

    def add_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback(status)` when it is over."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is over; raise what it failed with, or `TimeoutError`."""
        error = self.exception(timeout)
        if error is not None:
            raise error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until it is over; return what it failed with, or None."""
        with self._lock:
            if not self._done and self._event is None:
                self._event = threading.Event()
            event = self._event
        if not self._done and event is not None and not event.wait(timeout):
            raise TimeoutError(f"{self!r} is not done after {timeout} s")
        return self._exception

    def _finish(self, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                return
            self._exception = error
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
            if self._event is not None:
                self._event.set()
        for callback in callbacks:
            callback(self)

    def __repr__(self) -> str:
        name = getattr(self.obj, "name", self.obj)
        if self._exception is not None:  # all that a queue's history tells of a plan that failed
            return f"PlainStatus({name}, failed: {' '.join(str(self._exception).split())})"
        return f"PlainStatus({name}, done={self._done}, success={self.success})"


def finished(obj: Any = None) -> PlainStatus:
    """Return a status of something that is already done."""
    status = PlainStatus(obj)
    status.set_finished()
    return status
