"""The lock's worst delay: from the end of an exposure until the stage was told, while all else works."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import plan_stubs as bps

from parfocal.bench._table import Row
from parfocal.callbacks import FocusCalibration, FocusScores
from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.optics import SimulatedScene
from parfocal.plans import calibrate_focus, focus_locked, z_stack
from parfocal.session import Session, start_session

_EXPOSURE_S = 0.008
_ALONE_S, _N_STACKS = 10.0, 10
_STOCK_HALF_UM, _STOCK_STEP_UM, _STOCK_EXPOSURES = 1.5, 0.005, 5
_Milliseconds = np.ndarray[Any, np.dtype[np.float64]]


def worst_delay(alone_s: float = _ALONE_S, n_stacks: int = _N_STACKS) -> Row:
    """Measure a lock in real time on the simulated bench, alone, then under stacks and all that goes with them.

    Busy is: the RunEngine takes stacks with the other camera, the writer writes, the server (a process of its own)
    stores, focus scores are computed live, and somebody asks the catalog for runs all the time.

    What counts is all of it, from the end of the exposure. The lock's camera has its frames in stock, as forming
    them by diffraction would take more of the cores that it shares with the rest than all of parfocal does.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        microscope: Any = simulated_microscope("microscope")
        session = start_session(folder, analyses=[FocusCalibration, FocusScores])
        try:
            session.use(microscope)
            microscope.focus_camera.exposure_s.put(_EXPOSURE_S)
            session.RE(calibrate_focus(microscope, go_to_focus=True))
            session.drain(60)
            source = microscope.backend.focus_camera
            source.scene = _Stock(source.scene, microscope.xyz.z.position)
            microscope.focus_camera.owner.call(lambda: source.snap(60.0))  # fills the stock
            alone = _delays_ms(session, microscope, lambda: _wait(alone_s))
            with _Asking(session):
                busy = _delays_ms(session, microscope, lambda: _stacks(microscope, n_stacks))
        finally:
            microscope.destroy()
            session.close()
            stop_server(Path(folder))
    name = (
        f"{busy.size} frames, median {np.median(busy):.1f} ms, 99 % {np.percentile(busy, 99):.1f} ms; "
        f"alone: median {np.median(alone):.1f} ms, worst {alone.max():.1f} ms; goal"
    )
    return Row.limited("lock/worst-delay-ms-busy", float(busy.max()), 20.0, unit="ms", name=name)


class _Stock:
    """A scene that has its frames ready, five exposures each 5 nm of z; drift stands still."""

    def __init__(self, scene: SimulatedScene, z_um: float) -> None:
        self._scene = scene
        self._frames: dict[tuple[int, int, Any], Any] = {}
        self._around = round(z_um / _STOCK_STEP_UM)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scene, name)

    def frame(
        self, x_um: float, y_um: float, z_um: float, channel: str | None, exposure_s: float, t_s: float = 0.0,
        number: int = 0, roi_px: Any = None, **more: Any,
    ) -> Any:  # fmt: skip
        """Return a frame of the nearest z; the first of a region fills the shelf about where z stood."""
        reach = round(_STOCK_HALF_UM / _STOCK_STEP_UM)
        if (self._around, 0, roi_px) not in self._frames:
            for k in range(self._around - reach, self._around + reach + 1):
                for e in range(_STOCK_EXPOSURES):
                    self._frames[k, e, roi_px] = self._scene.frame(
                        x_um, y_um, k * _STOCK_STEP_UM, channel, exposure_s, t_s, len(self._frames), roi_px, **more
                    )
        nearest = min(max(round(z_um / _STOCK_STEP_UM), self._around - reach), self._around + reach)
        return self._frames[nearest, number % _STOCK_EXPOSURES, roi_px].copy()


def _delays_ms(session: Session, microscope: Any, inside: Any) -> _Milliseconds:
    """Run a plan under the lock; return how long after its exposure each frame was answered.

    The first ones, in which the lock engages, are left out.
    """
    cursor = microscope.lock.ring.cursor
    session.RE(focus_locked(inside(), microscope))
    session.drain(60)
    answered_s = np.asarray(microscope.lock.ring.since(cursor).columns["answer_s"])[10:]
    # A time stamp is the middle of the exposure.
    return (answered_s - _EXPOSURE_S / 2) * 1e3


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
