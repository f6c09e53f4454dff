"""Start the supervisor of a queue: apart from what it does, which needs what starts a queue."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError
from parfocal.queue._info import QueueInfo, write_queue_file
from parfocal.queue._plan_file import ON_FAILURE
from parfocal.queue._processes import is_alive, start_process
from parfocal.queue._supervisor_policy import DEFAULT_POLICY, SupervisorPolicy


def log_of(folder: DataFolder) -> Path:
    """Return where a supervisor says what it does."""
    return folder.root / "queue" / "supervisor.log"


def start_supervisor(
    data: DataFolder,
    info: QueueInfo,
    policy: SupervisorPolicy = DEFAULT_POLICY,
    microscope: str = "microscope",
) -> QueueInfo:
    """Start the supervisor of a running queue, as a process of its own; nothing where it runs already.

    Parameters
    ----------
    data : DataFolder
        Whose queue it is.
    info : QueueInfo
        Where it is.
    policy : SupervisorPolicy
        What to do when something fails.
    microscope : str
        Name of the device that `make_safe` gets.

    Raises
    ------
    BadInputError
        There is no such thing to do on failure.
    """
    if policy.on_failure not in ON_FAILURE:
        raise BadInputError(f"on_failure is {policy.on_failure!r}, expected one of {', '.join(ON_FAILURE)}")
    if is_alive(info.supervisor_pid, info.queue_id):
        return info
    told = json.dumps({**asdict(policy), "microscope": microscope, "since_s": time.time()})
    command = [sys.executable, "-m", "parfocal.queue._supervisor_process", str(data.root), info.queue_id, told]
    info = replace(info, supervisor_pid=start_process(command, log_of(data)))
    write_queue_file(data, info)
    return info
