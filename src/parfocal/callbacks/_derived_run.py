"""A derived run: the documents of an analysis, which name the raw run they come from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from parfocal.files import open_ome_zarr
from parfocal.frames import Frame, uri_of

_MIMETYPE = "application/x-zarr"
_KEPT = ("sample", "scan_id", "instrument", "purpose", "operator")


@dataclass(frozen=True)
class WrittenVolume:
    """An OME-Zarr volume that an analysis wrote below its `frames_root`, to be referred to by its derived run.

    An analysis yields it with the name of a stream, as it yields rows. The stream is the volume's alone, and its
    one data key is `volume`: documents say where it lies, and the catalog serves it.
    """

    path: Path


@dataclass(frozen=True)
class TableRows:
    """Rows of a large table, which goes beside the derived run rather than through its documents.

    An analysis yields it with the name of the table. The stop document says how many rows each table got.
    """

    rows: pa.Table


class DerivedRun:
    """Compose and emit start, descriptors, events and stop of one derived run.

    Rows that belong to a frame carry `raw_seq_num` and `raw_frame`. When a raw `seq_num` is repeated (a pause
    between save and checkpoint), so is the derived one, and readers let the last win.

    Parameters
    ----------
    emit : callable
        `(name, doc)`.
    raw_start : dict
        Start document of the raw run; what people search by (sample, scan id, instrument) is copied.
    about : dict
        The `parfocal` block: analysis, version, parameters, hash, raw run, calibration, mode.
    columns : mapping
        Data keys by stream.
    """

    def __init__(
        self,
        emit: Callable[[str, dict[str, Any]], Any],
        raw_start: Mapping[str, Any],
        about: Mapping[str, Any],
        columns: Mapping[str, Mapping[str, Mapping[str, Any]]],
    ) -> None:
        self.uid = str(uuid4())
        self._emit = emit
        self._columns = columns
        self._descriptors: dict[str, dict[str, Any]] = {}
        self._counts: dict[str, int] = {}
        self._n_rows: dict[str, int] = {}
        self._seq_of_raw: dict[tuple[str, int, int], int] = {}
        start = {key: raw_start[key] for key in _KEPT if key in raw_start}
        start.update(
            uid=self.uid,
            time=time.time(),
            plan_name="analysis",
            plan_type="analysis",
            parfocal=dict(about),
        )
        emit("start", start)

    def row(self, stream: str, row: Mapping[str, Any], frame: Frame | None = None, nth: int = 0) -> None:
        """Emit one row of a stream as an event; `nth` counts the rows of one frame in that stream."""
        data = dict(row)
        if frame is not None:
            data.update(raw_seq_num=frame.seq_num, raw_frame=frame.index)
        descriptor = self._descriptor(stream, with_frame=frame is not None)
        now = time.time()
        self._emit(
            "event",
            {
                "uid": str(uuid4()),
                "time": now,
                "descriptor": descriptor["uid"],
                "seq_num": self._seq_num(stream, frame, nth),
                "data": data,
                "timestamps": dict.fromkeys(data, now),
                "filled": {},
            },
        )

    def volume(self, stream: str, written: WrittenVolume) -> None:
        """Emit what makes a volume the array of a stream: no events, one datum for all of its planes."""
        found = open_ome_zarr(written.path)
        n_planes, *plane = found.shape
        key = {
            "dtype": "array",
            "dtype_numpy": found.dtype.str,
            "shape": plane,  # of what one index is: the catalog counts planes before it
            "external": "STREAM:",
        }
        descriptor = self._descriptor(stream, with_frame=False, columns={"volume": key})
        resource = {
            "uid": str(uuid4()),
            "data_key": "volume",
            "mimetype": _MIMETYPE,
            "uri": uri_of(written.path / "0"),
            "parameters": {"chunk_shape": list(found.chunk_shape)},
            "run_start": self.uid,
        }
        self._emit("stream_resource", resource)
        datum = {
            "uid": f"{resource['uid']}/0",
            "stream_resource": resource["uid"],
            "descriptor": descriptor["uid"],
            "indices": {"start": 0, "stop": n_planes},
            "seq_nums": {"start": 1, "stop": n_planes + 1},
        }
        self._emit("stream_datum", datum)
        self._counts[stream] = n_planes

    def count_rows(self, key: str, table: TableRows) -> None:
        """Note rows that went into a table."""
        self._n_rows[key] = self._n_rows.get(key, 0) + table.rows.num_rows

    def close(self, exit_status: str, reason: str, verdict: str) -> None:
        """Emit the stop document, with the verdict where there is one."""
        stop: dict[str, Any] = {
            "uid": str(uuid4()),
            "time": time.time(),
            "run_start": self.uid,
            "exit_status": exit_status,
            "reason": reason,
            "num_events": dict(self._counts),
        }
        ours = {"verdict": verdict, "tables": dict(self._n_rows)}
        if any(ours.values()):
            stop["parfocal"] = {key: value for key, value in ours.items() if value}
        self._emit("stop", stop)

    def _seq_num(self, stream: str, frame: Frame | None, nth: int) -> int:
        if frame is None:
            return self._next(stream)
        key = (stream, frame.seq_num, nth)
        if key not in self._seq_of_raw:
            self._seq_of_raw[key] = self._next(stream)
        return self._seq_of_raw[key]

    def _next(self, stream: str) -> int:
        self._counts[stream] = self._counts.get(stream, 0) + 1
        return self._counts[stream]

    def _descriptor(
        self, stream: str, *, with_frame: bool, columns: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        if stream not in self._descriptors:
            told = self._columns[stream] if columns is None else columns
            keys = {key: {"source": "analysis", **value} for key, value in told.items()}
            if with_frame:
                for key in ("raw_seq_num", "raw_frame"):
                    keys[key] = {"source": "analysis", "dtype": "integer", "dtype_numpy": "<i8", "shape": []}
            descriptor = {
                "uid": str(uuid4()),
                "time": time.time(),
                "run_start": self.uid,
                "name": stream,
                "data_keys": keys,
                "object_keys": {"analysis": list(keys)},
                "configuration": {},
                "hints": {},
            }
            self._descriptors[stream] = descriptor
            self._emit("descriptor", descriptor)
        return self._descriptors[stream]
