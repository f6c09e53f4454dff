"""Results that one process makes: claimed from before they are begun until the catalog has them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator

from parfocal.catalog import CatalogWriter, DataFolder, claim
from parfocal.errors import CatalogError

_ASK_AGAIN_S = 0.05
_DRAIN_S = 120.0
_MOST_HELD = 32


class Claims:
    """What a process claims, by the hash of the result, and lets go of as soon as its writer has written it.

    Another process that waits for a claim finds the result in the catalog. Claims that are held while one waits
    for another are let go of all the same: two processes that want the same results in another order do not
    wait for each other.

    Parameters
    ----------
    folder
        The data folder.
    writer
        Writes the results.
    """

    def __init__(self, folder: DataFolder, writer: CatalogWriter) -> None:
        self._folder = folder
        self._writer = writer
        self._lock = threading.Lock()
        self._held: dict[str, contextlib.ExitStack] = {}
        self._made: dict[str, str] = {}  # what is in hand, and the run that holds the result; "" for none yet
        self._is_open: set[str] = set()
        self._n_refused = 0

    @contextlib.contextmanager
    def held(self, what: str, is_over: Callable[[], bool] = lambda: False) -> Generator[None]:
        """Hold a claim while a result is made, and after that until it is written; wait for it.

        Raises
        ------
        CatalogError
            `is_over` said so while another process held it; or results do not reach the catalog.
        """
        if self._n_held() >= _MOST_HELD:
            self.settle()
        waiting = threading.Event()
        while not self.try_to_hold(what):
            if is_over():
                raise CatalogError(f"another process makes result {what[:8]}, and was not waited for")
            waiting.wait(_ASK_AGAIN_S)
            self.let_go()
        try:
            yield
        finally:
            self.done(what)

    def try_to_hold(self, what: str) -> bool:
        """Hold a claim until `done`, and after that until its result is written; say whether it was free."""
        stack = contextlib.ExitStack()
        with self._lock:
            if what in self._is_open:
                return False
        try:
            stack.enter_context(claim(self._folder, what, timeout_s=0.0))
        except CatalogError:
            return False
        with self._lock:
            self._held[what], self._made[what] = stack, ""
            self._is_open.add(what)
        return True

    def made(self, what: str, run_uid: str) -> None:
        """Note which run holds the result, when its start document has been given to the writer."""
        with self._lock:
            if what in self._held:
                self._made[what] = run_uid

    def done(self, what: str) -> None:
        """Note that nothing more is written of a result."""
        with self._lock:
            self._is_open.discard(what)
        self.let_go()

    def let_go(self) -> None:
        """Let go of what is done and written, or cannot be."""
        with self._lock:
            for what, run_uid in list(self._made.items()):
                if what in self._is_open:
                    continue
                fate = self._writer.fate_of(run_uid) if run_uid else "written"
                if fate == "waiting":
                    continue
                self._n_refused += fate == "refused"
                del self._made[what]
                self._held.pop(what).close()

    def settle(self) -> None:
        """Wait until all that is done is written, and let go of it.

        Raises
        ------
        CatalogError
            It was not written within two minutes, or cannot be; it is in the write-ahead log.
        """
        end_s = time.monotonic() + _DRAIN_S
        while self._n_held() and time.monotonic() < end_s:
            self._writer.drain(_ASK_AGAIN_S * 4)
        if self._n_refused or self._n_held():
            raise CatalogError(
                f"results are not all in the catalog ({self._writer.last_error}); parfocal recover mends it"
            )

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            for stack in self._held.values():
                stack.close()
            self._held.clear()
            self._made.clear()
            self._is_open.clear()

    def _n_held(self) -> int:
        self.let_go()
        with self._lock:
            return len(self._held) - len(self._is_open)
