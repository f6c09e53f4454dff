"""Collects the frames of a characterization beside the plan that takes them; its outcome is a Readable."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError
from parfocal.focus import Characterization, Characterizing, Probed, Trace

_COLUMNS: dict[str, str] = {
    "kind": "string",
    "sha256": "string",
    "is_usable": "integer",
    "reason": "string",
    "json": "string",
}


class Characterizer:
    """Holds what a characterization has seen; `trigger` works it out, `read` tells the result as sealed JSON.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    kind : str
        What is measured.
    collector : Characterizing
        What the frames go to.
    """

    def __init__(self, name: str, kind: str, collector: Characterizing) -> None:
        self.name = name
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self.found: Characterization | None = None
        self._kind = kind
        self._collector = collector

    def add(self, frame: NDArray[np.generic] | None, told: Probed, t_s: float, trace: Trace | None = None) -> None:
        """Take a frame; None, of a simulated RunEngine, is none."""
        if frame is not None:
            self._collector.add(frame, told, t_s, trace)

    def trigger(self) -> PlainStatus:
        """Work it out; the status is done with the result, usable or not, and fails where there is none."""
        status = PlainStatus(self)

        def work() -> None:
            try:
                self.found = self._collector.result()
            except Exception as error:
                status.set_exception(error)
            else:
                status.set_finished()

        threading.Thread(target=work, name=self.name, daemon=True).start()
        return status

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the result."""
        if self.found is None:
            raise BadInputError(f"{self.name}: read before it was triggered")
        now, values = time.time(), characterization_row(self.found)
        return OrderedDict((f"{self.name}_{k}", {"value": v, "timestamp": now}) for k, v in values.items())

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the result."""
        return OrderedDict(
            (f"{self.name}_{key}", {"source": "characterization", "dtype": dtype, "shape": []})
            for key, dtype in _COLUMNS.items()
        )

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Return nothing: the start document tells how it was measured."""
        return OrderedDict()

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe nothing."""
        return OrderedDict()


def characterization_row(found: Characterization) -> dict[str, Any]:
    """Return the columns of a characterization in documents."""
    return {
        "kind": found.kind,
        "sha256": found.sha256,
        "is_usable": int(found.is_usable),
        "reason": found.why_not(),
        "json": found.to_json(),
    }
