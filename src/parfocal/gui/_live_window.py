"""The window of `parfocal live`: panels, put together, and what their buttons ask the session to do.

::

    FramePump --newest frame--> paint timer --> ImagePanel          frames and painting do not wait for each other
    LockRing  --samples-------> look timer  --> DiagnosticsPanel, state, events
    LiveSession --happenings--> signal      --> progress, preview, errors in one line
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QLabel, QMainWindow, QSplitter, QTabWidget

from parfocal.devices import Microscope
from parfocal.errors import BadInputError, ParfocalError
from parfocal.fitting import CalibrationKind, ExpectedSlope, find_beads
from parfocal.focus import MeasureChoice
from parfocal.gui._calibration_panel import CalibrationPanel
from parfocal.gui._controls_panel import ControlsPanel
from parfocal.gui._diagnostics_panel import DiagnosticsPanel
from parfocal.gui._events_panel import EventsPanel
from parfocal.gui._frame_pump import FramePump
from parfocal.gui._happenings import Began, Ended, Fitted, Happening, Noted, Progressed, in_one_line
from parfocal.gui._image_panel import ImagePanel
from parfocal.gui._live_region import kept_roi, middle_roi
from parfocal.gui._live_session import LiveSession, RoiPx
from parfocal.gui._live_settings import LiveSettings, load_settings, save_settings
from parfocal.gui._live_told import Told
from parfocal.session import Session

_PAINT_MS = 16
_LOOK_MS = 100


class _Bridge(QObject):
    """Carries what other threads say into the window's thread."""

    said = Signal(object)


class LiveWindow(QMainWindow):
    """See, calibrate and hold the focus of a bead.

    Parameters
    ----------
    session : Session
        Of `start_session(..., in_thread=True)`. It and the microscope stay open when the window is closed.
    microscope : Microscope
        With a bead camera and a lock.
    roi_px : tuple of int, optional
        y, x, height, width of the bead's region; default: as remembered, else the middle of the frame.
    told : Told, optional
        What the command line says of the fields: over what is remembered. An exposure is set already.
    """

    def __init__(
        self, session: Session, microscope: Microscope, roi_px: RoiPx | None = None, told: Told | None = None
    ) -> None:
        super().__init__()
        self.setWindowTitle("parfocal live")
        self.microscope = microscope
        self.told = told if told is not None else Told()
        self._bridge = _Bridge()
        self._bridge.said.connect(self._hear, Qt.ConnectionType.QueuedConnection)
        self.live = LiveSession(session, microscope, self._bridge.said.emit)
        self.pump = FramePump(microscope.focus_camera)
        self.image = ImagePanel()
        self.controls = ControlsPanel(self.live.is_simulated)
        self.diagnostics = DiagnosticsPanel(microscope.lock.ring, LiveSettings().history_s)
        self.calibration = CalibrationPanel()
        self.events = EventsPanel(self.live.folder)
        self.complaint = QLabel()
        self.complaint.setStyleSheet("color: #d03030")
        self.rate = QLabel()
        self.is_closed = False
        self._state = ""
        self._flags = ""
        self._painted = (time.monotonic(), 0)
        self._lay_out()
        self.settings = self._remembered()
        self._show_settings(roi_px)
        self._connect()
        self._timers = [self._timer(_PAINT_MS, self._paint), self._timer(_LOOK_MS, self._look)]
        self.events.note(f"opened with {microscope.backend.name}, data in {self.live.folder}")
        if self.told.others:
            self.events.note(f"the lock is also told, without a field here: {self.told.remark}")
        self._free()

    # -- making -------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.addTab(self.diagnostics, "Diagnostics")
        self.tabs.addTab(self.calibration, "Calibration")
        left = QSplitter(Qt.Orientation.Vertical)
        left.addWidget(self.image)
        left.addWidget(self.events)
        left.setSizes([560, 160])
        whole = QSplitter(Qt.Orientation.Horizontal)
        for widget in (left, self.tabs, self.controls):
            whole.addWidget(widget)
        whole.setSizes([560, 560, 280])
        self.setCentralWidget(whole)
        self.statusBar().addWidget(self.complaint, 1)
        self.statusBar().addPermanentWidget(self.rate)
        self.resize(1400, 860)

    def _connect(self) -> None:
        c, review = self.controls, self.calibration
        for button, action in (
            (c.find_bead, self._find),
            (c.calibrate, self._calibrate),
            (c.cancel, self.live.cancel),
            (c.start, self._start),
            (c.stop, self.live.stop_lock),
            (c.kick, self.live.kick),
            (c.home, lambda: self.live.move_z(self.live.home_um)),
            (c.center, lambda: self.live.move_z(center_of(self.microscope))),
        ):
            button.clicked.connect(self._guarded(action))
        review.accepted.connect(self._guarded(self._accept))
        review.rejected.connect(self._guarded(self._reject))
        c.exposure_ms.valueChanged.connect(self._guarded(self._expose))
        for form in (c.sweep_form, c.lock_form, c.shown_form):
            form.changed.connect(self._remember)
        self.image.roi_moved.connect(self._remember)
        for signal in (
            self.image.auto_levels.toggled,
            self.image.low_adu.valueChanged,
            self.image.high_adu.valueChanged,
            self.image.colormap.currentTextChanged,
        ):
            signal.connect(self._remember)

    def _timer(self, every_ms: int, what: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.timeout.connect(what)
        timer.start(every_ms)
        return timer

    def _guarded(self, action: Callable[[], None]) -> Callable[..., None]:
        """Return a slot that says in the window what an action refuses."""

        def slot(*_: Any) -> None:
            self.complaint.clear()
            try:
                action()
            except (ParfocalError, OSError) as error:
                self.complain(in_one_line(error))
            self._free()

        return slot

    def complain(self, text: str) -> None:
        """Say what went wrong, in one line, in the window and in the log."""
        line = " ".join(text.split())
        self.complaint.setText(line)
        self.complaint.setToolTip(line)
        self.events.note(f"error: {line}", "ERROR")

    def load_kept(self, which: str) -> None:
        """Arm the lock with a calibration of the data folder: newest, a file's name, or how its hash begins."""
        self.live.load_kept(which, self.image.roi_px)

    def load(self, path: Path) -> None:
        """Arm the lock with a calibration's JSON or a `calibration_sweep.csv`, fitted as the fields say."""
        model = cast(CalibrationKind, self.settings.model)
        self.live.load(path, self.image.roi_px, model, cast(ExpectedSlope, self.settings.expected_slope))

    # -- settings -----------------------------------------------------------------------------------

    def _remembered(self) -> LiveSettings:
        try:
            kept = load_settings(self.live.folder)
        except ParfocalError as error:
            self.complain(str(error))
            kept = LiveSettings()
        if kept.exposure_ms is not None and "exposure_ms" not in self.told.fields:
            try:
                self.microscope.focus_camera.exposure_s.put(kept.exposure_ms / 1e3)
            except (ParfocalError, OSError) as error:
                self.complain(f"exposure of {kept.exposure_ms:g} ms, as remembered: {in_one_line(error)}")
        return replace(kept, **self.told.fields)

    def _show_settings(self, roi_px: RoiPx | None) -> None:
        s, image = self.settings, self.image
        self.controls.sweep_form.show_values(s)
        self.controls.lock_form.show_values(s)
        self.controls.shown_form.show_values(s)
        image.auto_levels.setChecked(s.auto_levels)
        image.low_adu.setValue(s.low_adu)
        image.high_adu.setValue(s.high_adu)
        image.colormap.setCurrentText(s.colormap)
        self.diagnostics.history_s = s.history_s
        facts = self.microscope.focus_camera.facts
        self.controls.exposure_ms.setValue(1e3 * facts.settings.exposure_s)
        image.set_roi(roi_px or kept_roi(s.roi_px, facts.shape) or middle_roi(facts.shape))

    def _remember(self) -> None:
        """Keep what is set now; written when the window is closed, and when a plan begins."""
        image = self.image
        self.settings = replace(
            self.settings,
            **self.controls.sweep_form.values(),
            **self.controls.lock_form.values(),
            **self.controls.shown_form.values(),
            exposure_ms=self._exposure_ms(),
            roi_px=image.roi_px,
            auto_levels=image.auto_levels.isChecked(),
            low_adu=image.low_adu.value(),
            high_adu=image.high_adu.value(),
            colormap=image.colormap.currentText(),
        )

        self.diagnostics.history_s = self.settings.history_s

    def _exposure_ms(self) -> float:
        """Return the exposure as the field says; the camera's own, unrounded, where the field shows that."""
        shown, exact = self.controls.exposure_ms.value(), 1e3 * self._exposure_s()
        return exact if abs(exact - shown) < 10.0 ** -self.controls.exposure_ms.decimals() else shown

    def _exposure_s(self) -> float:
        return float(self.microscope.focus_camera.facts.settings.exposure_s)

    def _save(self) -> None:
        self._remember()
        try:
            save_settings(self.live.folder, self.settings)
        except (ParfocalError, OSError) as error:
            self.complain(f"settings were not saved: {in_one_line(error)}")

    # -- what buttons ask for -----------------------------------------------------------------------

    def _find(self) -> None:
        pixels, side_px = self.image.pixels, self.image.roi_px[2]
        beads = find_beads(pixels[None], roi_px=side_px) if pixels is not None else []
        if not len(beads):
            raise BadInputError("no bead stands alone in the image: focus roughly, move to one, or drag the ROI")
        y, x = (int(v) - side_px // 2 for v in beads[0])
        self.image.set_roi((y, x, side_px, side_px))
        self._remember()

    def _calibrate(self) -> None:
        self._save()
        self.live.calibrate(self.image.roi_px, self.settings.of_sweep())

    def _start(self) -> None:
        self._save()
        self.live.start_lock(
            self.image.roi_px, self.settings.of_lock(), cast(MeasureChoice, self.settings.measure)
        )

    def _accept(self) -> None:
        self.live.accept(self.image.roi_px)
        self.calibration.settle("Accepted")
        self.tabs.setCurrentWidget(self.diagnostics)

    def _reject(self) -> None:
        self.live.reject()
        self.calibration.settle("Rejected")

    def _expose(self) -> None:
        exposure_s = self.controls.exposure_ms.value() / 1e3
        if abs(exposure_s - self._exposure_s()) > 1e-6:
            self.live.set_exposure(exposure_s)

    def _free(self) -> None:
        """Let what can be done now be pressed."""
        doing = self.live.doing
        self.controls.set_free(doing, self.microscope.lock.armed is not None)
        self.image.let_move(doing != "autofocus" and doing != "calibrate")

    # -- what others say ----------------------------------------------------------------------------

    def _hear(self, said: Happening) -> None:
        if self.is_closed:
            return
        match said:
            case Began(what):
                self.events.note(f"{what} began")
            case Progressed(done, total, z_um):
                self.controls.progress.setRange(0, total)
                self.controls.progress.setValue(done)
                self.controls.z.setText(f"z {z_um:.3f} µm")
            case Fitted():
                self.calibration.show_fit(said)
                self.tabs.setCurrentWidget(self.calibration)
                armable = "fit to lock with" if said.calibration.is_armable else "not fit to lock with"
                self.events.note(f"fitted {said.sha256[:12]}: {armable}")
            case Noted(text):
                self.events.note(text)
            case Ended(what, error, is_cancelled):
                if error:
                    self.complain(error)
                self.events.note(f"{what} {'stopped' if is_cancelled else 'failed' if error else 'done'}")
        self._free()

    # -- what timers do -----------------------------------------------------------------------------

    def _paint(self) -> None:
        fed = self.pump.take()
        if fed is not None:
            self.image.show_frame(fed.pixels)

    def _look(self) -> None:
        """Read the lock's samples and its state; several frames at once."""
        lock = self.microscope.lock
        self._note_states(self.diagnostics.take())
        if self.tabs.currentWidget() is self.diagnostics:
            self.diagnostics.paint()
        self.controls.state.setText(str(lock.state.get()))
        if lock.is_engaged and lock.roi_px is not None:
            self.image.set_roi(lock.roi_px)
        if self.live.doing != "calibrate":
            try:
                self.controls.z.setText(f"z {float(self.microscope.xyz.z.position):.3f} µm")
            except ParfocalError as error:
                self.controls.z.setText("z –")
                self.complaint.setText(in_one_line(error))
        if self.pump.error:
            self.complaint.setText(self.pump.error)
        since_s, before = self._painted
        now_s = time.monotonic()
        if now_s - since_s >= 1.0:
            painted = self.image.image.n_painted
            self.rate.setText(f"{(painted - before) / (now_s - since_s):.0f} frames/s shown")
            self._painted = (now_s, painted)

    def _note_states(self, columns: dict[str, list[Any]]) -> None:
        for k, (state, flags) in enumerate(zip(columns["state"], columns["flags"], strict=True)):
            if state != self._state or (flags and flags != self._flags):
                frame, error_um = columns["frame"][k], columns["error_um"][k]
                self.events.note(f"lock {state}{': ' + flags if flags else ''}", state, frame, error_um)
            self._state, self._flags = state, flags

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802  (Qt's name)
        """Save the settings, abort what runs, release the lock, and let go of the camera."""
        if not self.is_closed:
            self.is_closed = True
            for timer in self._timers:
                timer.stop()
            self._save()
            self.live.close()
            self.pump.close()
            self.events.note("closed")
            self.events.shut()
        super().closeEvent(event)


def center_of(microscope: Microscope) -> float:
    """Return the middle of z's range, um; 0 where it has no limits."""
    low, high = microscope.xyz.z.limits
    return (low + high) / 2
