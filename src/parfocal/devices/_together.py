"""Several Readables read as one: one message of the RunEngine instead of one each."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any


class Together:
    """The readings of several devices under one name; their keys stay their own.

    A message costs the RunEngine a tenth of a millisecond or two, and an event reads the same stage and light
    every time.
    """

    def __init__(self, name: str, parts: Sequence[Any]) -> None:
        self.name = name
        self.parent = None
        self.parts = tuple(parts)

    @staticmethod
    def can_join(part: Any) -> bool:
        """Whether a device can be read in one go with others: asynchronous ones cannot."""
        return not inspect.iscoroutinefunction(part.read) and not hasattr(part, "collect_asset_docs")

    @property
    def hints(self) -> dict[str, Any]:
        """The hinted fields of all parts."""
        return {"fields": [field for part in self.parts for field in _hints(part).get("fields", [])]}

    def read(self) -> OrderedDict[str, Any]:
        """Return the readings of all parts."""
        return self._merged("read")

    def describe(self) -> OrderedDict[str, Any]:
        """Describe the readings of all parts."""
        return self._merged("describe")

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Return the configuration of all parts."""
        return self._merged("read_configuration")

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe the configuration of all parts."""
        return self._merged("describe_configuration")

    def _merged(self, what: str) -> OrderedDict[str, Any]:
        merged: OrderedDict[str, Any] = OrderedDict()
        for part in self.parts:
            merged.update(getattr(part, what)())
        return merged


def _hints(part: Any) -> dict[str, Any]:
    return getattr(part, "hints", None) or {}
