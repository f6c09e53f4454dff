"""Write-ahead logs: one JSON line a document, one file a run. The log is the queue and the truth.

The RunEngine's thread appends and goes on; whoever writes the catalog reads the same file from where it left
off. So memory stays bounded while the catalog is down, what the catalog gets is what the log says, and a run
that failed half-way, or whose process was killed, is written from its log by the same code as a live one.

A log begins with a header line, the identity of the process that writes it. Its last line may be torn.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil

Document = dict[str, Any]

HEADER = "parfocal-log"
RELEASED = "parfocal-log-released"  # the writer was closed in good order and writes no more
_LARGE_ARRAY = 64
_PLAIN_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


def encode_line(name: str, doc: Mapping[str, Any]) -> bytes:
    """Return one line of a log. What JSON cannot say is turned into the nearest that it can; never raises."""
    try:
        text = json.dumps({"name": name, "doc": doc}, default=_nearest, separators=(",", ":"))
    except (TypeError, ValueError):  # keys that are no strings, or a cycle
        text = json.dumps({"name": name, "doc": _plain(doc, 0)}, separators=(",", ":"))
    return text.encode() + b"\n"


def decode_line(line: bytes) -> tuple[str, Document]:
    """Return name and document of one line. NaN and infinities survive, arrays come back as nested lists."""
    record = json.loads(line, object_hook=_restore)
    return record["name"], record["doc"]


def _nearest(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, np.dtype[Any]]", value)
        if array.size <= _LARGE_ARRAY or array.dtype.kind not in "biuf":
            return array.tolist()
        # Lists of a large array would take the RunEngine's thread 100 times as long.
        content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {"__array__": [array.dtype.str, array.shape, content]}
    if isinstance(value, np.generic):
        item = value.item()
        return item if isinstance(item, bool | int | float | str) else str(item)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, set | frozenset | tuple):
        return list(cast("tuple[Any, ...]", value))
    return str(value)


def _plain(value: Any, depth: int) -> Any:
    if depth > 50:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth + 1) for key, inner in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, depth + 1) for inner in cast("list[Any]", value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return _nearest(value)


def _restore(mapping: dict[str, Any]) -> Any:
    packed = mapping.get("__array__")
    if packed is None or len(mapping) != 1:
        return mapping
    dtype, shape, content = packed
    return np.frombuffer(base64.b64decode(content), dtype=dtype).reshape(shape).tolist()


@dataclass(frozen=True)
class LogHeader:
    """Who writes a log: the process (its pid alone may pass to another) and its machine."""

    pid: int
    process_started_s: float
    host: str
    opened_s: float

    @classmethod
    def of_this_process(cls) -> LogHeader:
        """Return the header that this process writes."""
        return cls(os.getpid(), psutil.Process().create_time(), socket.gethostname(), time.time())

    def is_alive(self) -> bool:
        """Say whether the process still runs; for another machine, which cannot be known, True."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            # A killed process that its parent has not asked after writes no more.
            is_running = process.status() != psutil.STATUS_ZOMBIE
            return is_running and abs(process.create_time() - self.process_started_s) < 1.0
        except psutil.Error:
            return False


def log_path(folder: Path, run_uid: str) -> Path:
    """Return where the log of a run lies."""
    plain = _PLAIN_UID.fullmatch(run_uid) is not None
    return folder / f"{run_uid if plain else hashlib.sha256(run_uid.encode()).hexdigest()}.jsonl"


@dataclass(frozen=True)
class LogPosition:
    """How far a reader has come: bytes of the file, and lines kept in memory after it."""

    offset: int = 0
    n_kept: int = 0


@dataclass(frozen=True)
class LoggedDocument:
    """A document, and the position after it."""

    name: str
    doc: Document
    end: LogPosition


class RunLog:
    """The log of one run, open for appending by one thread at a time.

    When the disk refuses (full, gone), lines are kept in memory instead, so that the run can still reach
    the catalog; `error` then says why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        self.n_documents = 0
        self._kept: list[bytes] = []
        self._handle: int | None = None
        self._is_on_disk = False
        self._is_dirty = False
        # Not held while appending: fsync may take long, and the RunEngine's thread may not wait for it.
        self._closing = threading.Lock()
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            self._is_on_disk = True
            self._write(encode_line(HEADER, asdict(LogHeader.of_this_process())))
        except OSError as error:
            self._refused(error)

    def append(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append one document."""
        line = encode_line(name, doc)
        if self._kept or self._handle is None:
            self._kept.append(line)
        else:
            try:
                self._write(line)
            except OSError as error:
                self._refused(error)
                self._kept.append(line)
        self.n_documents += 1

    def sync(self, *, is_last: bool = False) -> None:
        """Have the disk keep what was appended; call it from a thread that may wait.

        `is_last` says that nothing will follow: the file is closed, and can still be read.
        """
        with self._closing:
            if self._is_dirty and self._handle is not None:
                self._is_dirty = False
                os.fsync(self._handle)
        if is_last and not self._kept:
            self._close()

    def read(self, at: LogPosition) -> list[LoggedDocument]:
        """Return the documents after `at`."""
        documents = read_log(self.path, at.offset) if self._is_on_disk else []
        offset = documents[-1].end.offset if documents else at.offset
        for n_kept, line in enumerate(self._kept[at.n_kept :], start=at.n_kept + 1):
            documents.append(LoggedDocument(*decode_line(line), LogPosition(offset, n_kept)))
        return documents

    def release(self) -> None:
        """Close in good order, leaving the file for whoever recovers."""
        if not self._is_on_disk:
            return
        try:
            if self._handle is None:
                self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            for line in (*self._kept, encode_line(RELEASED, {})):  # there may be room again
                self._write(line)
        except OSError as error:
            self._refused(error)
        self._close()

    def remove(self) -> None:
        """Close and delete: the catalog holds the run whole."""
        self._close()
        if self._is_on_disk:  # else it is another's
            self.path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        assert self._handle is not None  # noqa: S101  (checked by the callers)
        n_written = os.write(self._handle, line)
        if n_written != len(line):
            os.ftruncate(self._handle, os.fstat(self._handle).st_size - n_written)
            raise OSError("no space left for the write-ahead log")
        self._is_dirty = True

    def _refused(self, error: OSError) -> None:
        self.error = f"Write-ahead log {self.path} cannot be written ({error.strerror or error})."

    def _close(self) -> None:
        with self._closing:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None


def read_log(path: Path, offset: int = 0) -> list[LoggedDocument]:
    """Return the whole documents from a byte offset on.

    A torn last line is left; a line that is no JSON, as a disk that failed may leave, ends the reading too.
    The log's own lines are not documents and are passed over.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    documents: list[LoggedDocument] = []
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            name, doc = decode_line(line)
        except (ValueError, KeyError, TypeError):
            break
        offset += len(line)
        if name not in (HEADER, RELEASED):
            documents.append(LoggedDocument(name, doc, LogPosition(offset)))
    return documents


def read_header(path: Path) -> LogHeader | None:
    """Return who writes a log, None where its first line does not say."""
    with path.open("rb") as file:
        first = file.readline()
    try:
        name, doc = decode_line(first)
        return LogHeader(**doc) if name == HEADER else None
    except (ValueError, KeyError, TypeError):
        return None


def is_being_written(path: Path) -> bool:
    """Say whether a living process may still append to a log."""
    header = read_header(path)
    if header is None or not header.is_alive():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        tail = file.read()
    return not tail.endswith(encode_line(RELEASED, {}))
