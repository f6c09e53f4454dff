"""Where in an acquisition an event was taken: position, time point, channel, plane, attempt."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from ophyd.status import Status

COLUMNS: dict[str, Any] = {
    "position": 0,
    "position_name": "",
    "time_point": 0,
    "plane": 0,
    "channel": "",
    "exposure_s": float("nan"),
    "attempt": 1,
}


class Point:
    """A Readable without hardware: the plan sets it, each event carries it.

    The raw array of frames has one axis, `frame`. What each frame is (which position, time point, channel,
    plane, attempt) stands in these columns, as `point_<column>`.
    """

    def __init__(self, name: str = "point") -> None:
        self.name = name
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self._values = dict(COLUMNS)

    def set(self, values: dict[str, Any]) -> Status:
        """Replace columns; those not named keep their values."""
        unknown = set(values) - set(COLUMNS)
        status = Status(obj=self)
        if unknown:
            status.set_exception(KeyError(f"{self.name}: no column {sorted(unknown)}"))
            return status
        self._values.update(values)
        status.set_finished()
        return status

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the columns."""
        now = time.time()
        return OrderedDict(
            (f"{self.name}_{key}", {"value": value, "timestamp": now}) for key, value in self._values.items()
        )

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the columns."""
        kinds = {str: ("string", None), int: ("integer", "<i8"), float: ("number", "<f8")}
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key, default in COLUMNS.items():
            dtype, dtype_numpy = kinds[type(default)]
            described[f"{self.name}_{key}"] = {"source": "plan", "dtype": dtype, "shape": []}
            if dtype_numpy is not None:
                described[f"{self.name}_{key}"]["dtype_numpy"] = dtype_numpy
            if key == "exposure_s":
                described[f"{self.name}_{key}"]["units"] = "s"
        return described

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Return nothing: there is nothing to configure."""
        return OrderedDict()

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe nothing."""
        return OrderedDict()
