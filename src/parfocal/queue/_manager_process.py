"""The RE Manager's own process: bluesky-queueserver's `start-re-manager`, with a log that stays small.

    python _manager_process.py CONFIG LOG QUEUE_ID

Run as a script, so that it starts without the rest of this package: its worker is forked from it, and must find
no library half awake. The name of the queue stands in the command line for `parfocal queue stop` to know it by.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from pathlib import Path

_LIMIT_BYTES = 5_000_000
_EVERY_S = 30.0


def keep_small(
    log: Path, until: threading.Event, *, limit_bytes: int = _LIMIT_BYTES, every_s: float = _EVERY_S
) -> None:
    """Copy a log that has grown too long to `.1` and empty it, until the event is set.

    It is not renamed: processes that append to it have it open, and go on at its new end.
    """
    while not until.wait(every_s):
        try:
            if log.stat().st_size > limit_bytes:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)
        except OSError:
            continue  # a full disk, say: what can be said is said there


def main() -> int:
    """Run the manager until it is told to stop."""
    from bluesky_queueserver.manager.start_manager import start_manager

    config, log, _queue_id = sys.argv[1:4]
    # The worker, forked from here, imports some thousand modules: with Python's own threshold a fifth of that time
    # is garbage collection.
    gc.set_threshold(20_000, 20, 20)
    stopped = threading.Event()
    threading.Thread(target=keep_small, args=(Path(log), stopped), name="log", daemon=True).start()
    sys.argv = ["start-re-manager", "--config", config]
    try:
        return start_manager() or 0
    finally:
        stopped.set()


if __name__ == "__main__":
    sys.exit(main())
