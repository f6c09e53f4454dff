"""Memory of a night: a RunEngine with its writer and an analysis, in a process of their own, and their server."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from parfocal.bench._table import Row
from parfocal.errors import BadInputError

_N_EVENTS, _N_WARM_UP, _N_PLANES = 10_000, 2_000, 100
_RING_BYTES = 8 * 2**20


def memory_growth(n_events: int = _N_EVENTS, n_warm_up: int = _N_WARM_UP) -> Row:
    """Return by how much the memory of a night's processes grows over 10,000 events, in percent.

    Stacks of 100 planes of 64x64 pixels of a camera that is always ready (what a simulated sample keeps is not
    counted), each event written to the catalog and scored live. RSS after each stack; the last tenth against the
    first after the warm-up, in which the ring of frames (8 MB here) fills.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        asked = [sys.executable, "-m", "parfocal.bench._memory", folder, str(n_events + n_warm_up)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadInputError(f"bench: the night ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    told: dict[str, list[int]] = json.loads(done.stdout.splitlines()[-1])
    session, server = (growth(told[name], n_warm_up // _N_PLANES) for name in ("session", "server"))
    name = (
        f"over {n_events} events after {n_warm_up}; session {session:+.1f} % of {_mib(told['session']):.0f} MiB, "
        f"server {server:+.1f} % of {_mib(told['server']):.0f} MiB; goal"
    )
    return Row.limited("catalog/memory-growth", max(session, server, 0.01), 5.0, unit="%", name=name)


def _mib(rss_bytes: list[int]) -> float:
    return rss_bytes[-1] / 2**20


def growth(rss_bytes: list[int], n_warm_up: int) -> float:
    """Return the growth of the median of the last tenth over that of the first tenth after the warm-up, in %."""
    counted = rss_bytes[n_warm_up:]
    tenth = max(1, len(counted) // 10)
    return 100.0 * (median(counted[-tenth:]) / median(counted[:tenth]) - 1.0)


def night(folder: str, n_events: int) -> dict[str, list[int]]:
    """Take stacks until there were so many events; return RSS of this process and of the server after each."""
    from bluesky import plans as bp
    from ophyd.sim import SynAxis

    from parfocal.bench._replay import ReadyCamera
    from parfocal.callbacks import FocusScores
    from parfocal.catalog import find_server, stop_server
    from parfocal.devices import Camera
    from parfocal.frames import shared_ring
    from parfocal.session import start_session

    shared_ring().max_bytes = _RING_BYTES
    session = start_session(folder, analyses=[FocusScores])
    camera: Any = Camera(name="camera", source=ReadyCamera((64, 64)), frames_root=session.catalog.folder.frames)
    z: Any = SynAxis(name="z")
    info = find_server(Path(folder))
    if info is None:
        raise BadInputError("bench: the catalog has no server")
    ours, server = psutil.Process(), psutil.Process(info.pid)
    rss: dict[str, list[int]] = {"session": [], "server": []}
    try:
        for _ in range(n_events // _N_PLANES):
            session.RE(bp.scan([camera], z, -5.0, 5.0, _N_PLANES))
            session.drain(120)
            rss["session"].append(ours.memory_info().rss)
            rss["server"].append(server.memory_info().rss)
    finally:
        camera.destroy()
        session.close()
        stop_server(Path(folder))
    return rss


if __name__ == "__main__":
    print(json.dumps(night(sys.argv[1], int(sys.argv[2]))))
