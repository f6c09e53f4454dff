"""A lock's samples as documents: pages of the stream `lock`, collected by a plan twice a second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from parfocal.devices.lock._ring import NUMBERS, WORDS, LockRing


class LockSampleStream:
    """What a plan collects from a lock: `bps.collect(lock.samples, name="lock")`.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    ring : LockRing
        Where the samples are.
    """

    def __init__(self, name: str, ring: LockRing) -> None:
        self.name = f"{name}_samples"
        self.parent = None
        self._prefix = name
        self._ring = ring
        self._cursor = 0
        self.n_lost = 0

    def rewind(self) -> None:
        """Begin with what comes from now on."""
        self._cursor, self.n_lost = self._ring.cursor, 0

    def describe_collect(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the columns."""
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key, unit in NUMBERS.items():
            is_count = key == "frame"
            described[f"{self._prefix}_{key}"] = {
                "source": f"parfocal:{self._prefix}",
                "dtype": "integer" if is_count else "number",
                "dtype_numpy": "<i8" if is_count else "<f8",
                "shape": [],
            } | ({"units": unit} if unit else {})
        for key in WORDS:
            described[f"{self._prefix}_{key}"] = {
                "source": f"parfocal:{self._prefix}",
                "dtype": "string",
                "shape": [],
            }
        return described

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Yield the samples since the last call, as one page; none where there are none."""
        taken = self._ring.since(self._cursor)
        self._cursor = taken.cursor
        self.n_lost += taken.n_lost
        if taken.n:
            times = taken.columns["t_s"]
            yield {
                "time": times,
                "data": {f"{self._prefix}_{key}": values for key, values in taken.columns.items()},
                "timestamps": {f"{self._prefix}_{key}": times for key in taken.columns},
            }

    def read_configuration(self) -> dict[str, Any]:
        """Return nothing: the lock itself tells its configuration."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe nothing."""
        return {}
