"""What a `characterize_...` run says of a camera or a stage, worked out of its frames: live, or from the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from parfocal.callbacks._analysis import Analysis, NoParameters, RunAnalysis
from parfocal.callbacks._run_view import RunView
from parfocal.devices import characterization_row
from parfocal.errors import BadInputError
from parfocal.focus import Characterizing, Probed, Trace, characterizing
from parfocal.frames import Frame

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}

_COLUMNS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "characterization": {
        "kind": _TEXT,
        "sha256": _TEXT,
        "is_usable": _INTEGER,
        "reason": _TEXT,
        "json": _TEXT,
    },
    "numbers": {"name": _TEXT, "value": _NUMBER},
    "issues": {"severity": _TEXT, "message": _TEXT},
    "evidence": {"part": _TEXT, "row": _TEXT},
}


class BenchCharacterization(Analysis):
    """Work out a run of `characterize_camera`, `_stage`, `_latency` or `_pixel_size` once it has ended.

    Streams of the derived run: `characterization`, one row with all of it as sealed JSON, of the same hash as the
    one that the plan kept; `numbers`, a row each; `issues`; and `evidence`, the points of the curves as JSON. The
    verdict is `usable` or `not_usable`. Runs of other plans are left alone.
    """

    name = "characterization"
    version = "1"
    stream = "frames"

    def __init__(self, parameters: NoParameters | None = None, **kwargs: Any) -> None:
        super().__init__(parameters, **kwargs)

    def open(self, run: RunView) -> RunAnalysis:
        """Return what works out one run."""
        told = run.start.get("parfocal", {}).get("characterize")
        if told is None:
            raise BadInputError(f"run {run.uid[:8]} is none of characterize_...")
        return _RunCharacterization(run, characterizing(told["kind"], told["about"], told["settings"]))


@dataclass
class _RunCharacterization:
    run: RunView
    collector: Characterizing
    _verdict: str = ""

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return _COLUMNS

    @property
    def verdict(self) -> str:
        return self._verdict

    def frame(self, frame: Frame) -> Iterable[tuple[str, Mapping[str, Any]]]:
        told = frame.columns
        values: dict[str, Any] = {f.name: told[f"probe_{f.name}"] for f in fields(Probed)}
        for name in ("level", "number", "side"):
            values[name] = int(values[name])
        probed = Probed(**values)
        trace = None
        if "trace_t_s" in told and probed.part == "step":
            trace = Trace(
                np.asarray(told["trace_t_s"], np.float64), np.asarray(told["trace_position_um"], np.float64)
            )
        self.collector.add(frame.pixels, probed, float(told[f"{self.run.data_key}_t_s"]), trace)
        return ()

    def finish(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        found = self.collector.result()
        self._verdict = "usable" if found.is_usable else "not_usable"
        for name, value in found.numbers.items():
            if isinstance(value, int | float):
                yield "numbers", {"name": name, "value": float(value)}
        for severity, message in found.issues:
            yield "issues", {"severity": severity, "message": message}
        for row in found.content()["rows"]:
            yield "evidence", {"part": str(row.get("part", "")), "row": json.dumps(row)}
        yield "characterization", characterization_row(found)
