"""Where an analysis gets its pixels: memory, else the local Zarr, else whoever serves them."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.frames._mirror import FramesMirror, kvstore_of
from parfocal.frames._ring import FrameRing, shared_ring

_N_AHEAD = 4
S3_TIMEOUT_S = 20.0
"""How long a bucket may take to answer; tensorstore alone would try for many minutes."""
Remote = Callable[[str, int], NDArray[np.generic]]


@dataclass(frozen=True)
class Frame:
    """One frame as a science function's caller sees it, live and in replay alike.

    `index` counts frames in the array at `uri` (the only key to pixels); `seq_num` counts events, from 1.
    `columns` holds the event's other readings (`z`, channel, position, exposure ...).
    """

    pixels: NDArray[np.generic]
    uri: str
    index: int
    seq_num: int
    time_s: float
    columns: dict[str, Any] = field(default_factory=dict[str, Any])


class Frames:
    """Pixels by (uri, index): from the memory ring (1 ms at 2048x2048), the local Zarr (7 ms), or `remote`.

    Parameters
    ----------
    ring : FrameRing, optional
        Default: the ring shared by this process.
    remote : callable, optional
        `(uri, index) -> [y, x]`, asked when the frames are not on this machine, such as a Tiled client
        (about 200 ms a frame at 2048x2048: the last resort).
    mirror : FramesMirror, optional
        Where else arrays are that are not on this machine's disk, asked before `remote`.
    """

    def __init__(
        self,
        ring: FrameRing | None = None,
        remote: Remote | None = None,
        max_open: int = 32,
        mirror: FramesMirror | None = None,
    ) -> None:
        self.ring = ring if ring is not None else shared_ring()
        self._remote = remote
        self._max_open = max_open
        self._mirror = mirror
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._expected: deque[tuple[str, int]] = deque()
        self._coming: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def get(self, uri: str, index: int) -> NDArray[np.generic]:
        """Return one frame `[y, x]` (or one number of a companion array); do not write into it.

        Raises
        ------
        BadInputError
            Nobody has it: the message names the address.
        """
        pixels = self.ring.get(uri, index)
        if pixels is not None:
            return pixels
        coming = self._coming.pop((uri, index), None)
        self._read_ahead()
        return self.read(uri, index) if coming is None else self._pixels(coming, uri, f"frame {index}")

    def expect(self, uri: str, indices: Iterable[int]) -> None:
        """Say which frames of an array will be asked for, in this order; from S3, they are read a few ahead.

        For whoever knows, as a replay does: a request is then not waited for each time. From
        this machine's disk they are not: a frame that is read where the last one lay in memory takes 0.8 ms at
        2048x2048, and 2.6 ms in memory that is new. One thread asks for expected frames.
        """
        self._expected.extend((uri, index) for index in indices)
        self._read_ahead()

    def _read_ahead(self) -> None:
        while self._expected and len(self._coming) < _N_AHEAD:
            uri, index = self._expected.popleft()
            try:
                store = self._store(uri, index)
            except (BadInputError, ValueError, OSError):  # not here: whoever asks for it is told
                self._expected.clear()
                return
            if store.kvstore.spec().to_json()["driver"] == "file":
                self._expected.clear()
                return
            if 0 <= index < store.shape[0]:
                self._coming[uri, index] = store[index].read()

    def read(self, uri: str, index: int) -> NDArray[np.generic]:
        """Return one frame from disk (or `remote`), passing the memory ring by.

        Raises
        ------
        BadInputError
            Nobody has it; or it is in a bucket that did not answer for 20 s.
        """
        try:
            store = self._store(uri, index)
        except (BadInputError, ValueError, OSError) as error:
            if self._remote is not None:
                return self._remote(uri, index)
            raise BadInputError(f"frame {index} at {uri} cannot be read: {_first_line(error)}") from error
        if not 0 <= index < store.shape[0]:
            raise BadInputError(f"frame {index} at {uri} does not exist: it holds {store.shape[0]} frames")
        return self._pixels(store[index].read(), uri, f"frame {index}")

    def read_range(self, uri: str, start: int, stop: int) -> NDArray[np.generic]:
        """Return consecutive items `[n, ...]` of a local array in one read, such as a burst's `z_um`."""
        try:
            store = self._store(uri, stop - 1)
        except (BadInputError, ValueError, OSError) as error:
            if self._remote is not None:
                return np.stack([self._remote(uri, index) for index in range(start, stop)])
            raise BadInputError(
                f"items {start} to {stop} at {uri} cannot be read: {_first_line(error)}"
            ) from error
        if not 0 <= start <= stop <= store.shape[0]:
            raise BadInputError(f"items {start} to {stop} at {uri} do not exist: it holds {store.shape[0]}")
        return self._pixels(store[start:stop].read(), uri, f"items {start} to {stop}")

    def _pixels(self, future: Any, uri: str, what: str) -> NDArray[np.generic]:
        try:  # a disk is waited for, however long it takes to wake up
            return _answer(future, uri, is_far=self._mirror is not None or _is_in_bucket(uri))
        except TimeoutError as error:
            raise BadInputError(f"{what} at {uri} cannot be read: {error}") from error

    def _opened(self, uri: str) -> Any:
        try:
            return _open(uri)
        except (BadInputError, ValueError, OSError):
            there = self._mirror.address_of(uri) if self._mirror is not None else ""
            if not there:
                raise
        try:
            return _open(there)
        except TimeoutError:
            self._mirror = None  # once is enough to wait: the next frame is not tried there
            raise

    def _store(self, uri: str, index: int) -> Any:
        """Return the opened array, opened again when it has grown beyond what was seen."""
        with self._lock:
            store = self._open.get(uri)
            if store is not None and index < store.shape[0]:
                self._open.move_to_end(uri)
                return store
        store = self._opened(uri)
        with self._lock:
            self._open[uri] = store
            while len(self._open) > self._max_open:
                self._open.popitem(last=False)
        return store


def _open(uri: str) -> Any:
    future: Any = ts.open({"driver": "zarr3", "kvstore": kvstore_of(uri)}, read=True, write=False)
    return _answer(future, uri, is_far=_is_in_bucket(uri))


def _is_in_bucket(uri: str) -> bool:
    return uri.startswith("s3:")


def _answer(future: Any, uri: str, *, is_far: bool) -> Any:
    try:
        return future.result(timeout=S3_TIMEOUT_S if is_far else None)
    except TimeoutError:
        raise TimeoutError(
            f"{uri} did not answer within {S3_TIMEOUT_S:g} s: check the address, the network, AWS_ENDPOINT_URL"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
