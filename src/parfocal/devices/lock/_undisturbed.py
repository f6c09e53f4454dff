"""While a lock holds in real time: garbage is looked for only among what is new, and a step is not broken into."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

_STEP_S = 0.001  # longer than a step's own work

_guard = threading.Lock()
_holding = 0
_is_ours = False
_switch_interval_s = 0.0


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


@contextmanager
def uninterrupted() -> Generator[None]:
    """Let no other thread ask for the interpreter for a millisecond, within `undisturbed`.

    A session's threads take turns of a tenth of that. A step of a lock had to give way several times, and to wait
    for all others each time.
    """
    sys.setswitchinterval(max(_STEP_S, _switch_interval_s))
    try:
        yield
    finally:
        sys.setswitchinterval(_switch_interval_s)


def _come() -> None:
    global _holding, _is_ours, _switch_interval_s
    with _guard:
        _holding += 1
        if _holding > 1:
            return
        _switch_interval_s = sys.getswitchinterval() + 5e-7  # Python cuts it to whole microseconds
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
