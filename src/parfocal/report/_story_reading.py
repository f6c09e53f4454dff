"""One stored run under one's hands: its columns without its pixels, and its pixels one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import Catalog
from parfocal.errors import BadInputError, ParfocalError
from parfocal.frames import Frames

Columns = dict[str, NDArray[Any]]
T = TypeVar("T")

_UNREADABLE = (ParfocalError, KeyError, ValueError, IndexError, OSError, httpx.HTTPError)


class Reading:
    """A run of the catalog; whatever is asked for is asked of the server once.

    Parameters
    ----------
    catalog : Catalog
    run : BlueskyRun
    remarks : list of str
        What could not be read is added here.
    """

    def __init__(self, catalog: Catalog, run: Any, remarks: list[str]) -> None:
        self.catalog = catalog
        self.run = run
        self.remarks = remarks
        self.start: Mapping[str, Any] = run.metadata["start"]
        self.stop: Mapping[str, Any] = run.metadata.get("stop") or {}
        self._columns: dict[str, Columns] = {}

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """Return what is read, or None and a remark: one that is unreadable must not cost the whole page."""
        try:
            return read()
        except _UNREADABLE as error:
            said = _in_words(error)
            self.remarks.append(f"run {self.name}: {what} could not be read: {said}")
            return None

    @property
    def name(self) -> str:
        """The beginning of its uid."""
        return str(self.start["uid"])[:8]

    @cached_property
    def streams(self) -> tuple[str, ...]:
        """Names of its streams."""
        return tuple(str(name) for name in self.run)

    @cached_property
    def derived(self) -> list[Any]:
        """Runs of its analyses, oldest first."""
        found: list[Any] = list(self.catalog.analyses_of(self.run))
        return sorted(found, key=lambda run: run.metadata["start"]["time"])

    def columns(self, stream: str) -> Columns:
        """Return what the events of a stream say, and `time` and `seq_num`; empty where it has none.

        Of a `seq_num` that was written twice the last counts.
        """
        if stream not in self._columns:
            self._columns[stream] = columns_of(self.run, stream) if stream in self.streams else {}
        return self._columns[stream]

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """Return the same as a list of rows."""
        columns = self.columns(stream)
        return [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]

    @cached_property
    def camera_stream(self) -> str:
        """The stream that holds the frames; empty where there are none."""
        return next((name for name in ("primary", "sweep") if name in self.streams and self._key_in(name)), "")

    @cached_property
    def data_key(self) -> str:
        """The key of the frames."""
        return self._key_in(self.camera_stream) if self.camera_stream else ""

    @cached_property
    def camera(self) -> Mapping[str, Any]:
        """Configuration of the camera, by fact."""
        if not self.camera_stream:
            return {}
        told: Mapping[str, Any] = self.run[self.camera_stream].metadata.get("configuration") or {}
        prefix = f"{self.data_key}_"
        found: dict[str, Any] = {}
        for device in told.values():
            data: Mapping[str, Any] = device.get("data") or {}
            found |= {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
        return found

    @cached_property
    def frames(self) -> Array:
        """The frames of the run."""
        if not self.camera_stream:
            raise BadInputError("the catalog has no frames of it")
        return Array(stream_of(self.run, self.camera_stream)[self.data_key])

    def _key_in(self, stream: str) -> str:
        named = (self.start.get("parfocal") or {}).get("camera")
        base: Any = self.run[stream].base
        keys = [str(key) for key in base if str(key) != "internal"]
        if named in keys:
            return str(named)
        return next((key for key in keys if len(base[key].shape) >= 3), "")


class Array:
    """A stored array, read along its first axis: from this machine's disk, else through the server."""

    def __init__(self, client: Any) -> None:
        self.shape: tuple[int, ...] = tuple(client.shape)
        sources: list[Any] = client.data_sources() or []
        uris = [str(asset.data_uri) for source in sources for asset in source.assets]
        self._uri = uris[0] if uris else ""
        self._frames = Frames(remote=lambda _, index: np.asarray(client[index]))

    def read(self, index: int) -> NDArray[Any]:
        """Return one element of the first axis."""
        return self._frames.read(self._uri, index)


def stream_of(run: Any, name: str) -> Any:
    """Return what a stream holds: `internal`, its table, and an array a key.

    Raises
    ------
    BadInputError
        The run has no such stream: it was cut off before the stream's first row, or the rest went missing.
    """
    if name not in run:
        raise BadInputError(f"stream {name} of run {str(run.metadata['start']['uid'])[:8]} is not there")
    return run[name].base


def _in_words(error: Exception) -> str:
    said = str(error).partition("\n")[0]
    if isinstance(error, KeyError):  # its text is a bare name, or nothing
        return f"the catalog holds no {said}" if said else "a part of it is not in the catalog"
    return said or type(error).__name__


def columns_of(run: Any, stream: str) -> Columns:
    """Return the table of a stream's events by column; arrays kept outside of it are not read."""
    base = stream_of(run, stream)
    if "internal" not in base:
        return {}
    table: Any = base["internal"].read()
    names = [str(name) for name in table.columns if not str(name).startswith("ts_")]
    columns: Columns = {name: np.asarray(table[name]) for name in names}
    seq_num = columns["seq_num"]
    order = np.lexsort((np.arange(seq_num.size), seq_num))
    is_last = np.append(seq_num[order][1:] != seq_num[order][:-1], True)[: seq_num.size]
    return {name: column[order[is_last]] for name, column in columns.items()}
