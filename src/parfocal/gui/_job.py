"""Long work beside a window: one job at a time in a thread, heard of in Qt's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal

from parfocal.gui._happenings import in_one_line

Tell = Callable[[object], None]
"""What a job reports with; once the job is cancelled it raises, and so ends the job."""


class _CancelledError(Exception):
    pass


class Job(QObject):
    """Runs one thing after another.

    ::

        window --start(work)--> thread: work(tell) --tell(anything)--> told
                                            |--> done(what it returned) | failed(one line)
        window --cancel()-----> the next tell() raises in the thread --> failed("cancelled")

    Signals arrive in the thread that made the job.
    """

    told = Signal(object)
    done = Signal(object)
    failed = Signal(str)
    _ended = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._thread: threading.Thread | None = None
        self._cancelled = threading.Event()
        self._ended.connect(self._settle)

    @property
    def is_running(self) -> bool:
        """Whether something is under way."""
        return self._thread is not None

    def start(self, work: Callable[[Tell], Any], name: str = "job") -> None:
        """Begin; what is started while something runs is ignored."""
        if self.is_running:
            return
        self._cancelled.clear()
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End it where it next reports."""
        self._cancelled.set()

    def join(self, timeout_s: float = 20.0) -> None:
        """Cancel, and wait for its end; what came of it is dropped."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self.cancel()
            thread.join(timeout_s)

    def _run(self, work: Callable[[Tell], Any]) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = work(self._tell)
        except Exception as raised:  # whatever it was, the window goes on and says it
            error = raised
        self._ended.emit(result, error)

    def _tell(self, what: object) -> None:
        if self._cancelled.is_set():
            raise _CancelledError
        self.told.emit(what)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self._thread is None:  # the window was closed meanwhile
            return
        self._thread = None
        if isinstance(error, _CancelledError):
            self.failed.emit("cancelled")
        elif error is not None:
            self.failed.emit(in_one_line(error))
        else:
            self.done.emit(result)
