"""How many frames a second the live window paints: idle, while a sweep is taken and fitted, and while locked.

::

    $ QT_QPA_PLATFORM=offscreen python -m parfocal.gui._display_rate

The world is the simulated microscope in real time, in the same process; without a screen Qt paints into memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.gui._live_window import LiveWindow
from parfocal.session import start_session

BEAD_PX = (29, 19, 17, 17)


def display_rates(exposure_s: float = 0.01, seconds: float = 5.0) -> dict[str, tuple[float, float]]:
    """Return frames per second that came and that were painted, by what was going on.

    Parameters
    ----------
    exposure_s : float
        Of the bead camera.
    seconds : float
        How long the idle and the locked window are watched.
    """
    application = QApplication.instance() or QApplication([])
    rates: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        session = start_session(Path(folder), in_thread=True)
        microscope = session.use(simulated_microscope("microscope"))
        microscope.focus_camera.exposure_s.put(exposure_s)
        window = LiveWindow(session, microscope, BEAD_PX)
        window.show()
        try:
            _turn(lambda: window.image.image.n_painted > 20, 30)
            rates["idle"] = _rates(window, lambda: False, seconds)
            window.live.calibrate(BEAD_PX, window.settings.of_sweep())
            rates["while calibrating"] = _rates(window, lambda: not window.live.doing, 120)
            if window.live.review is not None and window.live.review.calibration.is_armable:
                window.live.accept(BEAD_PX)
                window.live.start_lock(BEAD_PX, window.settings.of_lock())
                _turn(lambda: microscope.lock.state.get() == "LOCKED", 20)
                rates["locked"] = _rates(window, lambda: False, seconds)
        finally:
            window.close()
            microscope.destroy()
            session.close()
            stop_server(session.catalog.folder)
            application.processEvents()
    return rates


def _rates(window: LiveWindow, is_over: Callable[[], bool], longest_s: float) -> tuple[float, float]:
    came, painted, begun_s = window.pump.n_frames, window.image.image.n_painted, time.monotonic()
    _turn(is_over, longest_s)
    took_s = time.monotonic() - begun_s
    return (window.pump.n_frames - came) / took_s, (window.image.image.n_painted - painted) / took_s


def _turn(is_over: Callable[[], bool], longest_s: float) -> None:
    """Let Qt run until a condition holds, or for so long."""
    loop = QEventLoop()
    until_s = time.monotonic() + longest_s
    look = QTimer()
    look.timeout.connect(lambda: loop.quit() if is_over() or time.monotonic() > until_s else None)
    look.start(20)
    loop.exec()
    look.stop()


if __name__ == "__main__":
    for what, (came_hz, painted_hz) in display_rates().items():
        print(f"{what:<20} {came_hz:6.1f} frames/s came, {painted_hz:6.1f} painted")
