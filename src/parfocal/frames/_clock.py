"""One clock for all frames: monotonic, anchored once to UTC, so that it never steps back."""

from __future__ import annotations

import time

_ANCHOR_S = time.time() - time.monotonic()


def clock_s() -> float:
    """Return seconds since the Unix epoch, from the monotonic clock anchored when the process began."""
    return _ANCHOR_S + time.monotonic()
