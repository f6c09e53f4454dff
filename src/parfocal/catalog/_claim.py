"""One at a time, over processes and machines that share a data folder."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path

from parfocal.catalog._folder import DataFolder
from parfocal.errors import CatalogError

_ASK_AGAIN_S = 0.05


@contextlib.contextmanager
def claim(folder: DataFolder, what: str, timeout_s: float | None = None) -> Generator[None]:
    """Hold the only claim to something in a data folder, such as the result of an analysis; wait for it.

    The system lets go of it when the process ends, however it ends: what a killed one held is free. Threads of
    one process exclude each other too. Machines do where their shared disk has locks (NFS 4, local disks).

    Parameters
    ----------
    folder
        The data folder; claims are empty files in `catalog/claims`, gone when nobody holds them.
    what
        A name that makes a file name, such as a hash.
    timeout_s
        How long to wait; None for as long as it takes.

    Raises
    ------
    CatalogError
        Somebody else held it for `timeout_s` seconds.
    """
    path = folder.catalog / "claims" / f"{what}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    waited_s, waiting = 0.0, threading.Event()
    while (handle := _try_to_hold(path)) is None:
        if timeout_s is not None and waited_s >= timeout_s:
            raise CatalogError(f"{path} is held by another process for {timeout_s:g} s: wait until it is done")
        waiting.wait(_ASK_AGAIN_S)
        waited_s += _ASK_AGAIN_S
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that somebody else has open
            path.unlink()
        os.close(handle)


def _try_to_hold(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(handle)
        # Who held it before has deleted the file: a claim on that one would be on another than the next one's.
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
