"""The lock's worst delay: from a frame's arrival until the stage was told, alone and while all else works."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
from bluesky import plan_stubs as bps

from parfocal.bench._table import Row
from parfocal.callbacks import FocusCalibration, FocusScores
from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.plans import calibrate_focus, focus_locked, z_stack
from parfocal.session import Session, start_session

_EXPOSURE_S = 0.008
_ALONE_S, _N_STACKS = 10.0, 10
_Milliseconds = np.ndarray[Any, np.dtype[np.float64]]


def worst_delay(alone_s: float = _ALONE_S, n_stacks: int = _N_STACKS) -> Row:
    """Measure a lock in real time on the simulated bench, alone, then under stacks and all that goes with them.

    Busy is: the RunEngine takes stacks with the other camera, the writer writes, the server (a process of its own)
    stores, focus scores are computed live, and somebody asks the catalog for runs all the time.

    What counts is the lock's own part. How late the frames came is told beside it: the simulated camera forms each
    on the cores that it shares with all the rest, and needs longest where a stack has just left the focus. A wait
    of the lock for a frame that lies ready is in that lateness too, and not in the row.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        microscope = simulated_microscope("microscope")
        session = start_session(folder, analyses=[FocusCalibration, FocusScores])
        try:
            session.use(microscope)
            microscope.focus_camera.exposure_s.put(_EXPOSURE_S)
            session.RE(calibrate_focus(cast(Any, microscope), go_to_focus=True))
            session.drain(60)
            alone, _ = _delays_ms(session, microscope, lambda: _wait(alone_s))
            with _Asking(session):
                busy, late = _delays_ms(session, microscope, lambda: _stacks(microscope, n_stacks))
        finally:
            microscope.destroy()
            session.close()
            stop_server(Path(folder))
    name = (
        f"{busy.size} frames, median {np.median(busy):.1f} ms, 99 % {np.percentile(busy, 99):.1f} ms; "
        f"alone: median {np.median(alone):.1f} ms, worst {alone.max():.1f} ms; the simulated camera's frames came "
        f"{np.median(late):.1f} ms after their exposure, 99 % within {np.percentile(late, 99):.0f} ms; goal"
    )
    return Row.limited("lock/worst-delay-ms-busy", float(busy.max()), 20.0, unit="ms", name=name)


def _delays_ms(session: Session, microscope: Any, inside: Any) -> tuple[_Milliseconds, _Milliseconds]:
    """Run a plan under the lock; return how long after it came each frame was answered, and how late it came.

    The first ones, in which the lock engages, are left out.
    """
    cursor = microscope.lock.ring.cursor
    session.RE(focus_locked(inside(), microscope))
    session.drain(60)
    columns = microscope.lock.ring.since(cursor).columns
    arrived_s, answered_s = (np.asarray(columns[name])[10:] for name in ("arrival_s", "answer_s"))
    # A time stamp is the middle of the exposure.
    return (answered_s - arrived_s) * 1e3, (arrived_s - _EXPOSURE_S / 2) * 1e3


def _wait(seconds: float) -> Any:
    yield from bps.open_run({"plan_name": "wait"})
    yield from bps.sleep(seconds)
    yield from bps.close_run()


def _stacks(microscope: Any, n: int) -> Any:
    for _ in range(n):
        yield from z_stack(microscope, 2.0, 0.25)


class _Asking:
    """Asks the catalog for runs, over and over, in a thread of this very process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="bench-asking", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(10)

    def _ask(self) -> None:
        while not self._enough.wait(0.1):
            self._session.catalog.runs(limit=10)
