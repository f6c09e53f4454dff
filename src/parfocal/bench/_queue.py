"""`queue`: what a queued plan costs beside the same plan in a RunEngine, and how soon plans can run."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.catalog import DataFolder, stop_server
from parfocal.devices import simulated_microscope
from parfocal.plans import time_lapse
from parfocal.queue import QueueInfo, ask, connect, open_environment, start_queue, stop_queue, wait_until
from parfocal.session import Session, start_session

_N_PLANS = 8
_ENVIRONMENT_LIMIT_S = 10.0


def queue(rounds: int = 5) -> list[Row]:
    """Measure s per queued plan of one event, against the same plan in a RunEngine, and s to open the environment.

    Real Redis, RE Manager, worker and Tiled server; the simulated microscope, catalog and live analyses in both.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        queued, plain = Path(folder) / "queued", Path(folder) / "plain"
        try:
            info = start_queue(queued, policy=None)  # a supervisor would open again what is closed here
            with connect(info) as client, _session(plain) as (session, microscope):
                ours, theirs = interleaved(
                    lambda: _queued(client) / _N_PLANS,
                    lambda: _plain(session, microscope) / _N_PLANS,
                    rounds=rounds,
                )
                opened = sorted(_reopened(client, info, queued) for _ in range(3))[1]
        finally:
            stop_queue(queued, now=True)
            stop_server(queued)
            stop_server(plain)
    return [
        Row.compared(
            "queue/seconds-per-plan",
            ours,
            theirs,
            peer_name="RE(time_lapse(microscope, 1, 0))",
            unit="s",
            goal=0.1,
        ),
        Row.limited("queue/environment-open", opened, _ENVIRONMENT_LIMIT_S, unit="s"),
    ]


def _queued(client: Any) -> float:
    """Return the seconds from the start of a queue of plans until it is idle."""
    item = {"item_type": "plan", "name": "time_lapse", "args": ["microscope", 1, 0.0]}
    ask(lambda: client.item_add_batch([item] * _N_PLANS))
    done = ask(lambda: client.status(reload=True))["items_in_history"]
    began = time.perf_counter()
    ask(client.queue_start)
    ended = wait_until(
        client, lambda s: s["manager_state"] == "idle" and s["items_in_history"] == done + _N_PLANS, 300.0
    )
    if ended is None:
        raise TimeoutError("the queue did not run its plans")
    return time.perf_counter() - began


def _plain(session: Session, microscope: Any) -> float:
    began = time.perf_counter()
    for _ in range(_N_PLANS):
        session.RE(time_lapse(microscope, 1, 0.0))
    return time.perf_counter() - began


def _reopened(client: Any, info: QueueInfo, folder: Path) -> float:
    """Return the seconds until the environment is open again."""
    ask(client.environment_close)
    if (
        wait_until(client, lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"], 60)
        is None
    ):
        raise TimeoutError("the environment did not close")
    began = time.perf_counter()
    open_environment(info, DataFolder(folder))
    return time.perf_counter() - began


@contextlib.contextmanager
def _session(folder: Path) -> Generator[tuple[Session, Any]]:
    from parfocal.callbacks import FocusCalibration, FocusScores

    microscope = simulated_microscope("microscope", sample="nuclei", seed=0, height_px=256, width_px=256)
    session = start_session(folder, analyses=[FocusScores, FocusCalibration])
    try:
        session.use(microscope)
        yield session, microscope
    finally:
        session.close()
        microscope.destroy()
