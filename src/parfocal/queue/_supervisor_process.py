"""The supervisor's own process: `python -m parfocal.queue._supervisor_process FOLDER QUEUE_ID POLICY`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from parfocal.catalog import DataFolder
from parfocal.queue._supervisor import supervise
from parfocal.queue._supervisor_policy import SupervisorPolicy


def main() -> int:
    """Supervise until told to end."""
    root, _queue_id, told = sys.argv[1:4]
    content: dict[str, Any] = json.loads(told)
    microscope = str(content.pop("microscope"))
    since_s = float(content.pop("since_s"))
    until = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())

    def say(line: str) -> None:
        print(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {line}", flush=True)

    supervise(
        DataFolder(Path(root)),
        SupervisorPolicy(**content),
        microscopes=(microscope,),
        since_s=since_s,
        until=until,
        say=say,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
