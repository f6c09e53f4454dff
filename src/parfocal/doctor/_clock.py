"""The clock: frames, documents and the stage's moves are put in order by it."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from parfocal.doctor._check import Check

_LOOK_S = 0.3
_JUMP_S = 0.005
_OLDEST = 1_704_067_200.0  # 2024: nothing of this program is older
_FUTURE_S = 60.0
_UNSYNCHRONIZED = 5  # what Linux says of a clock that nobody sets


def check_clock(
    utc_s: Callable[[], float] = time.time,
    steady_s: Callable[[], float] = time.monotonic,
    is_set_by: Callable[[], bool | None] | None = None,
) -> Iterator[Check]:
    """Look at whether the clock is right, steady, and set by a server of time.

    Parameters
    ----------
    utc_s, steady_s : callable
        The clock that may be set, and the one that may not.
    is_set_by : callable
        Whether a server sets it; None where that cannot be known.
    """
    now_s = utc_s()
    zone = datetime.now().astimezone().tzname()
    if now_s < _OLDEST:
        yield Check(
            "clock: date",
            "fail",
            f"it says {datetime.fromtimestamp(now_s):%Y-%m-%d}",
            "set the clock: runs bear its date",
        )
        return
    before_s = utc_s() - steady_s()
    threading.Event().wait(_LOOK_S)
    jump_s = (utc_s() - steady_s()) - before_s
    if abs(jump_s) > _JUMP_S:
        found = f"it went {1e3 * jump_s:+.1f} ms beside a steady one within {_LOOK_S:g} s"
        yield Check("clock: steady", "warn", found, "let one program set it, slowly: chrony, or systemd-timesyncd")
    else:
        yield Check("clock: steady", "ok", f"steady within {1e3 * abs(jump_s):.2f} ms; zone {zone}")
    synchronized = (is_set_by or is_synchronized)()
    if synchronized is None:
        yield Check("clock: set", "ok", "whether a server sets it cannot be known here")
    elif synchronized:
        yield Check("clock: set", "ok", "a server of time sets it")
    else:
        yield Check(
            "clock: set",
            "warn",
            "no server of time sets it",
            "switch NTP on (`timedatectl set-ntp true`), or other machines' times will differ from these",
        )


def check_future(root: Path, now_s: float | None = None) -> Iterator[Check]:
    """Look for files from the future: the clock was set back since they were written."""
    now = now_s if now_s is not None else time.time()
    newest_s, newest = 0.0, root
    for pattern in ("*", "catalog/*", "wal/*", "frames/*/*"):
        for path in root.glob(pattern):
            written_s = path.stat().st_mtime
            if written_s > newest_s:
                newest_s, newest = written_s, path
    if newest_s > now + _FUTURE_S:
        found = f"{newest} was written {newest_s - now:.0f} s from now: the clock was set back"
        yield Check(
            "clock: files", "warn", found, "set the clock right before you take anything: runs sort by time"
        )


def is_synchronized() -> bool | None:
    """Say whether the kernel takes the clock for set by a server; None where it cannot be asked."""
    if sys.platform != "linux":
        return None
    try:
        # `struct timex`, asked for nothing to change: its first field, `modes`, is 0.
        return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _UNSYNCHRONIZED
    except (OSError, AttributeError):
        return None
