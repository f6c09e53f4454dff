"""While a lock holds in real time, Python looks for garbage only among what is new."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager

_guard = threading.Lock()
_holding = 0
_is_ours = False


@contextmanager
def undisturbed() -> Generator[None]:
    """Set aside all objects that are there on coming, and take them back when the last one has gone.

    A search through all that a session has imported and made takes tenths of a second, in which no thread runs, a
    lock's neither; in a night there are many. It is done once on coming, before the lock has anything to hold. A
    program that has set its objects aside itself is left with that.
    """
    _come()
    try:
        yield
    finally:
        _go()


def _come() -> None:
    global _holding, _is_ours
    with _guard:
        _holding += 1
        if _holding > 1:
            return
        gc.collect()
        if not gc.get_freeze_count():
            _is_ours = True
            gc.freeze()
            # Python searches all when a quarter is new: a quarter of what it counted last.
            gc.collect()


def _go() -> None:
    global _holding, _is_ours
    with _guard:
        _holding -= 1
        if not _holding and _is_ours:
            _is_ours = False
            gc.unfreeze()
