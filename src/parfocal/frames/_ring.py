"""The last frames, still in memory: pixels for analyses without a read from disk."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray


class FrameRing:
    """A bounded memory of frames by (uri, index); the oldest go first.

    Filled by camera owners, read by analyses and views, from any thread. Arrays are handed out read-only and
    uncopied. A frame put again under the same key replaces the old one: it was overwritten on disk too.

    Until it is full, each frame is memory that is new to the process, which is slow: it keeps no more than live
    analyses need.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self.max_bytes = max_bytes
        self._frames: OrderedDict[tuple[str, int], NDArray[np.generic]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, uri: str, index: int, pixels: NDArray[np.generic]) -> None:
        """Remember a frame `[y, x]`. It must not be changed afterwards."""
        view = pixels.view()
        view.flags.writeable = False
        with self._lock:
            old = self._frames.pop((uri, index), None)
            self._bytes += view.nbytes - (old.nbytes if old is not None else 0)
            self._frames[uri, index] = view
            while self._bytes > self.max_bytes and len(self._frames) > 1:
                self._bytes -= self._frames.popitem(last=False)[1].nbytes

    def get(self, uri: str, index: int) -> NDArray[np.generic] | None:
        """Return a frame, or None if it is no longer (or was never) here."""
        with self._lock:
            return self._frames.get((uri, index))

    def __len__(self) -> int:
        return len(self._frames)


_SHARED = FrameRing()


def shared_ring() -> FrameRing:
    """Return the ring that cameras and analyses of this process share."""
    return _SHARED
