"""A cache that forgets what was used longest ago once it holds too many bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


class ArrayCache:
    """Arrays by key, at most `max_bytes` of them (but always the latest), for any number of threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array of a key, made now if it is not there."""
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
                return found
        made = make()  # two threads that want the same at once both make it: none waits for another's
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = made
                self._bytes += made.nbytes
            while self._bytes > self._max_bytes and len(self._arrays) > 1:
                _, old = self._arrays.popitem(last=False)
                self._bytes -= old.nbytes
        return made


@cache
def one_for(*what: Hashable) -> object:
    """Return one object for equal arguments, quicker to look up by than they are themselves."""
    del what
    return object()


@njit(cache=True)
def cubic_weights(fraction: Any) -> Any:
    """Return Lagrange's weights of the nodes -1, 0, 1, 2 at a fraction between 0 and 1."""
    f = fraction
    return np.array(
        [
            -f * (f - 1) * (f - 2) / 6,
            (f + 1) * (f - 1) * (f - 2) / 2,
            -(f + 1) * f * (f - 2) / 2,
            (f + 1) * f * (f - 1) / 6,
        ]
    )
