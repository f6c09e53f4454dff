"""Draw docs/images/live.png: the live window while it holds a simulated bead, after a kick.

QT_QPA_PLATFORM=offscreen python docs/live_picture.py
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.gui._live_window import LiveWindow
from parfocal.session import start_session


def wait(is_over, longest_s=90.0):
    loop, look = QEventLoop(), QTimer()
    look.timeout.connect(lambda: loop.quit() if is_over() else None)
    look.start(50)
    QTimer.singleShot(int(1000 * longest_s), loop.quit)
    loop.exec()
    look.stop()


def pause(seconds):
    wait(lambda: False, seconds)


def main(path):
    application = QApplication([])
    with tempfile.TemporaryDirectory() as folder:
        session = start_session(Path(folder) / "microscope-data", in_thread=True)
        microscope = session.use(simulated_microscope("microscope"))
        microscope.focus_camera.exposure_s.put(0.01)
        window = LiveWindow(session, microscope)
        window.show()
        buttons = window.controls
        wait(lambda: window.image.image.n_painted > 5)
        buttons.find_bead.click()
        buttons.calibrate.click()
        wait(lambda: window.calibration.accept.isEnabled() and not window.live.doing)
        window.grab().save(str(path.with_name("live-calibration.png")))
        window.calibration.accept.click()
        buttons.start.click()
        wait(lambda: microscope.lock.state.get() == "LOCKED")
        for _ in range(3):
            pause(3)
            buttons.kick.click()
        pause(3)
        window.grab().save(str(path))
        window.close()
        microscope.destroy()
        session.close()
        stop_server(session.catalog.folder)
    application.processEvents()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "live.png")
