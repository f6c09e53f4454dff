"""Uncompressed chunks as files, each written by the quicker of two ways: past the system's cache or into it.

Into the cache a frame is copied to memory that the system has to find first: on a virtual machine, whose host
takes unused memory back, that took several times as long as the disk itself. On a slow disk it is the other way
round. So both are timed, now and again, and the quicker one is used.
"""

from __future__ import annotations

import errno
import mmap
import os
import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIRECT = getattr(os, "O_DIRECT", 0)  # Linux alone has it
_BLOCK_BYTES = 4096  # what every disk can write past the cache
_WORTHWHILE_BYTES = 2**16
_TRIALS = 3
_REMEMBERED = 9
_TRY_OTHER_EVERY = 64
_UNABLE = (errno.EINVAL, errno.EOPNOTSUPP)


@dataclass
class _Ways:
    """How long writing took of late on one disk with one size of chunk, by way."""

    can_direct: bool
    seconds: dict[bool, deque[float]] = field(
        default_factory=lambda: {way: deque(maxlen=_REMEMBERED) for way in (False, True)}
    )
    written: int = 0

    def next_is_direct(self) -> bool:
        """Say how to write the next chunk: the quicker way, but for trials of the other."""
        if not self.can_direct:
            return False
        self.written += 1
        cached_s, direct_s = self.seconds[False], self.seconds[True]
        if min(len(cached_s), len(direct_s)) < _TRIALS:
            return len(direct_s) < len(cached_s)
        direct_is_quicker = statistics.median(direct_s) < statistics.median(cached_s)
        return direct_is_quicker ^ (self.written % _TRY_OTHER_EVERY == 0)


_ways: dict[tuple[int, int], _Ways] = {}
_aligned = threading.local()


class ChunkFiles:
    """Writes chunks of one size into a folder; each is there whole or not at all, whatever ends the process.

    Parameters
    ----------
    folder : Path
        Folder of the array; it must exist.
    chunk_bytes : int
        Size of every chunk.
    """

    def __init__(self, folder: Path, chunk_bytes: int) -> None:
        self._folder = os.fspath(folder)
        can_direct = bool(_DIRECT) and chunk_bytes >= _WORTHWHILE_BYTES and chunk_bytes % _BLOCK_BYTES == 0
        key = (os.stat(folder).st_dev, chunk_bytes)
        self._ways = _ways.setdefault(key, _Ways(can_direct))

    def write(self, name: str, chunk: NDArray[np.generic]) -> None:
        """Write a chunk (little-endian, in C order or copied into it) under `name`, replacing what was there.

        Raises
        ------
        OSError
            The disk refused it; what was under that name is as before.
        """
        path = os.path.join(self._folder, name)
        part = path + ".__lock"  # as tensorstore calls what is not yet a chunk
        direct = self._ways.next_is_direct()
        began_s = time.perf_counter()
        try:
            self._write_part(part, chunk, direct)
            os.replace(part, path)
        except OSError as error:
            Path(part).unlink(missing_ok=True)
            if not direct or error.errno not in _UNABLE:
                raise
            self._ways.can_direct = False
            self.write(name, chunk)
            return
        self._ways.seconds[direct].append(time.perf_counter() - began_s)

    @staticmethod
    def _write_part(part: str, chunk: NDArray[np.generic], direct: bool) -> None:
        data = _in_aligned_memory(chunk) if direct else np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | (_DIRECT if direct else 0)
        descriptor = os.open(part, flags, 0o666)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
        finally:
            os.close(descriptor)


def _in_aligned_memory(chunk: NDArray[Any]) -> memoryview:
    """Copy a chunk to where a disk can take it from: memory of this thread that begins at a page."""
    held: mmap.mmap | None = getattr(_aligned, "memory", None)
    if held is None or len(held) < chunk.nbytes:
        held = _aligned.memory = mmap.mmap(-1, chunk.nbytes)
    np.frombuffer(held, chunk.dtype, chunk.size).reshape(chunk.shape)[:] = chunk
    return memoryview(held)[: chunk.nbytes]
