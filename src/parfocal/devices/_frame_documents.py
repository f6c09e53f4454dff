"""The documents of a camera: which frame goes with which event, whatever happens in between.

The RunEngine fills in `descriptor` of a stream datum, and `run_start` of a stream resource, in the very
dictionary it was handed, at the moment the event is saved. So the composer keeps the last dictionaries it
handed out and can tell whether they were emitted:

- a pause between trigger and read replays the trigger: the frame was never collected, its index is used
  again and the frame on disk is overwritten;
- a pause (or `drop`) between read and save: collected, never emitted: the same;
- a pause between save and the next checkpoint: emitted, so the repeated trigger gets the next index. The
  event repeats its `seq_num`; readers let the last one win.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from parfocal.frames import ArrayLocation

MIMETYPE = "application/x-zarr"


class ArrayDocuments:
    """Stream resource and stream datums of one array.

    Parameters
    ----------
    data_key : str
        The key in the descriptor.
    location : ArrayLocation
        Where the array is.
    """

    def __init__(self, data_key: str, location: ArrayLocation) -> None:
        self.location = location
        self.resource: dict[str, Any] = {
            "uid": str(uuid4()),
            "data_key": data_key,
            "mimetype": MIMETYPE,
            "uri": location.uri,
            "parameters": {"chunk_shape": list(location.chunk_shape)},
            "run_start": "",
        }
        self._announced: dict[str, Any] | None = None
        self._last_datum: dict[str, Any] | None = None
        self._emitted = 0
        self._descriptors: set[str] = set()
        self._allowed = 1

    @property
    def announced(self) -> bool:
        """Whether the stream resource was emitted into a run."""
        return self._announced is not None and bool(self._announced["run_start"])

    @property
    def emitted(self) -> int:
        """Number of frames whose datum was emitted; the index of the next frame."""
        if self._last_datum is not None and self._last_datum["descriptor"]:
            self._emitted = self._last_datum["indices"]["stop"]
            self._descriptors.add(self._last_datum["descriptor"])
            self._last_datum = None
        return self._emitted

    @property
    def is_mixed(self) -> bool:
        """Whether frames of more streams than one came into this array: their places no longer agree."""
        return self.emitted > 0 and len(self._descriptors) > self._allowed

    def allow_new_descriptor(self) -> None:
        """Expect one descriptor more: the camera was configured within the run."""
        self._allowed += 1

    def collect(self, stop: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents of frames `emitted` to `stop` (not included), the resource first if needed."""
        start = self.emitted
        if stop <= start:
            return
        if not self.announced:
            self._announced = dict(self.resource)
            yield "stream_resource", self._announced
        self._last_datum = {
            "uid": f"{self.resource['uid']}/{start}-{stop}-{uuid4().hex[:8]}",
            "stream_resource": self.resource["uid"],
            "descriptor": "",
            "indices": {"start": start, "stop": stop},
            "seq_nums": {"start": 0, "stop": 0},
        }
        yield "stream_datum", self._last_datum
