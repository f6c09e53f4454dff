"""Where a microscope rested before a plan: a private file, so that it outlives the process that moved it.

A plan's own clean-up puts z back and the light out. What kills the process (SIGKILL, a driver's crash, a power
cut) kills the clean-up too; whoever comes next reads here where z was, and that nobody put it back.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from parfocal.catalog._server_process import write_private


@dataclass(frozen=True)
class Resting:
    """How a microscope stood when a plan began.

    Attributes
    ----------
    z_um : float or None
        Where z had been sent; None where the stage could not be asked.
    light_on : bool
        Whether light reached the sample.
    pid, host
        The process that ran the plan.
    written_s : float
        When, seconds since the Unix epoch.
    """

    z_um: float | None
    light_on: bool
    pid: int
    host: str
    written_s: float

    @classmethod
    def of_this_process(cls, z_um: float | None, light_on: bool) -> Resting:
        """Return what this process writes."""
        return cls(z_um, light_on, os.getpid(), socket.gethostname(), time.time())


class RestingFile:
    """The record of one microscope; it is there while a plan runs, and after one that did not end safely.

    Parameters
    ----------
    path : Path
        Of the file, in a folder that is there or can be made.

    Attributes
    ----------
    left_behind : Resting or None
        What was found by `begin`: an earlier plan never came to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_behind: Resting | None = None

    def begin(self, resting: Resting) -> None:
        """Write where the microscope rests now; what was still there is kept in `left_behind`."""
        self.left_behind = self.read()
        self.write(resting)

    def write(self, resting: Resting) -> None:
        """Replace the file, whole or not at all, for this user alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.path, asdict(resting))

    def read(self) -> Resting | None:
        """Return what the file says; None where there is none, or none that can be read."""
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
            return Resting(**{field.name: content[field.name] for field in fields(Resting)})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def settle(self) -> None:
        """Say that the microscope is safe: nothing is left to put back."""
        self.left_behind = None
        self.path.unlink(missing_ok=True)
