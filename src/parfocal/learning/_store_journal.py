"""What was done with the models: one JSON object a line, only ever appended to, by one process at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from parfocal.errors import BadInputError

Happening = Literal["added", "kept", "promoted", "rolled back"]


@dataclass(frozen=True)
class ModelEvent:
    """One line of the journal.

    Attributes
    ----------
    time : str
        UTC, ISO 8601.
    event : {"added", "kept", "promoted", "rolled back"}
        `kept`: shipped weights that an adapter stands on were copied, since a later release may ship others.
        `rolled back`: to this version.
    name, version, weights_sha256 : str
        Of which model.
    reason : str
        What was said of it.
    """

    time: str
    event: Happening
    name: str
    version: str
    weights_sha256: str
    reason: str = ""


class Journal:
    """A file of events.

    A line counts once its newline is on the disk: of a process that was killed while it wrote, half a line
    may be left, which is passed over; the next line begins on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: ModelEvent) -> None:
        """Write a line, and bring it to the disk."""
        line = (json.dumps(asdict(event), ensure_ascii=False) + "\n").encode()
        with self.path.open("a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> tuple[tuple[ModelEvent, ...], int]:
        """Return the events, oldest first, and how many lines were no events."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return (), 0
        except OSError as error:
            raise BadInputError(f"{self.path}: cannot be read: {error.strerror}") from error
        found = [_event(line) for line in lines[:-1] if line.strip()]
        events = tuple(event for event in found if event is not None)
        return events, len(found) - len(events) + bool(lines[-1].strip())


def _event(line: bytes) -> ModelEvent | None:
    try:
        content: object = json.loads(line)
        if not isinstance(content, dict):
            return None
        event = ModelEvent(**cast("dict[str, Any]", content))
    except (ValueError, TypeError):
        return None
    return event if all(isinstance(value, str) for value in asdict(event).values()) else None


@contextmanager
def one_at_a_time(lock: Path) -> Generator[None, None, None]:
    """Wait until no other process, nor thread, is in here; the system lets go for a process that is killed."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        else:
            import msvcrt

            cast(Any, msvcrt).locking(handle, cast(Any, msvcrt).LK_LOCK, 1)  # tries for 10 s
        yield
    finally:
        os.close(handle)
