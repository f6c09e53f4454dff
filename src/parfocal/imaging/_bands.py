"""Rows shared out over threads, with a result that does not depend on how many there are.

A pool of our own rather than numba's `prange`: numba's fallback threading layer ends the process when two
Python threads enter it at once, and an analysis worker beside a lock thread is just that.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

_limit: list[int] = []


def limit_cores(n_cores: int | None) -> None:
    """Let the kernels of this process use so many cores, where many processes share a machine; None for all."""
    _limit[:] = [] if n_cores is None else [max(1, n_cores)]


def usable_cores() -> int:
    """Return the number of cores this process may run on, or was told to use."""
    return min([*_limit, _cores()])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, _cores() - 1), thread_name_prefix="parfocal-bands")


if hasattr(os, "register_at_fork"):  # a forked child has the pool's object but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def for_each_band(work: Callable[[int], None], n_bands: int, n_threads: int | None = None) -> None:
    """Call `work(band)` for every band, the caller's thread taking part; `work` must release the GIL.

    Bands are handed out one at a time, so a busy core costs one band and not half of the image.
    """
    n_threads = min(n_bands, usable_cores() if n_threads is None else n_threads)
    bands = itertools.count()

    def take_bands() -> None:
        while (band := next(bands)) < n_bands:
            work(band)

    helpers = [_pool().submit(take_bands) for _ in range(n_threads - 1)]
    take_bands()
    for helper in helpers:
        helper.result()
