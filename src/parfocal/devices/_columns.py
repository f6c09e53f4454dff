"""What a plan knows and no instrument measures, as a Readable: columns of an event."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from parfocal.devices._status import PlainStatus

_KINDS = {str: ("string", None), int: ("integer", "<i8"), float: ("number", "<f8")}

POINT: dict[str, Any] = {
    "position": 0,
    "position_name": "",
    "time_point": 0,
    "plane": 0,
    "tile": 0,
    "channel": "",
    "exposure_s": float("nan"),
    "attempt": 1,
}
"""Which position, time point, plane ... a frame is: the raw array has one axis, `frame`, and no other."""

FAILURE: dict[str, Any] = {
    "position": 0,
    "position_name": "",
    "time_point": 0,
    "attempt": 1,
    "action": "",
    "reason": "",
}
"""What went wrong at a position, and what was done about it."""


class Columns:
    """A Readable without hardware: the plan sets it, each event carries it as `<name>_<column>`.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    columns : dict
        Default values (str, int or float); their types are those of the columns.
    """

    def __init__(self, name: str, columns: dict[str, Any]) -> None:
        self.name = name
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self._columns = columns
        self._values = dict(columns)

    def note(self, **values: Any) -> None:
        """Replace columns at once: for a plan that has no reason to wait, since nothing moves."""
        unknown = set(values) - set(self._columns)
        if unknown:
            raise KeyError(f"{self.name}: no column {sorted(unknown)}")
        self._values.update(values)

    def set(self, values: dict[str, Any]) -> PlainStatus:
        """Replace columns; those not named keep their values."""
        status = PlainStatus(self)
        try:
            self.note(**values)
        except KeyError as error:
            status.set_exception(error)
        else:
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
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key, default in self._columns.items():
            dtype, dtype_numpy = _KINDS[type(default)]
            described[f"{self.name}_{key}"] = {"source": "plan", "dtype": dtype, "shape": []}
            if dtype_numpy is not None:
                described[f"{self.name}_{key}"]["dtype_numpy"] = dtype_numpy
            unit = key.rpartition("_")[2]
            if unit in ("s", "um"):
                described[f"{self.name}_{key}"]["units"] = unit
        return described

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Return nothing: there is nothing to configure."""
        return OrderedDict()

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe nothing."""
        return OrderedDict()
