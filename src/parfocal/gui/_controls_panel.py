"""Buttons and fields of the live window. What they do is the window's business."""

from __future__ import annotations

from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from parfocal.gui._live_entries import EXPOSURE, LOCK, SHOWN, SWEEP
from parfocal.gui._settings_form import SettingsForm


class ControlsPanel(QWidget):
    """Calibration, autofocus, stage, camera.

    Parameters
    ----------
    can_kick : bool
        Whether the stage is simulated.
    """

    def __init__(self, can_kick: bool) -> None:
        super().__init__()
        self.find_bead = _button("Find a bead", "put the ROI round the brightest bead that stands alone")
        self.calibrate = _button("Calibrate", "sweep z through focus and fit the bead in the ROI")
        self.cancel = _button("Cancel", "abort the sweep; z goes back to where it was")
        self.start = _button("Start autofocus", "hold the focus found now")
        self.stop = _button("Stop autofocus", "release the lock; z stays where it is")
        self.kick = _button(
            "Kick the stage", "the focus jumps by 0.3 µm, and no encoder tells (simulated stage alone)"
        )
        self.kick.setVisible(can_kick)
        self.home = _button("Home", "z back to where it was when the window was opened")
        self.center = _button("Center", "z to the middle of its range")
        self.progress = QProgressBar()
        self.progress.setFormat("%v of %m")
        self.exposure_ms = QDoubleSpinBox()
        self.exposure_ms.setRange(EXPOSURE.low, EXPOSURE.high)
        self.exposure_ms.setDecimals(EXPOSURE.decimals)
        self.exposure_ms.setSuffix(" ms")
        self.exposure_ms.setKeyboardTracking(False)
        self.z = QLabel("z –")
        self.state = QLabel("IDLE")
        self.state.setStyleSheet("font-weight: bold")
        self.sweep_form = SettingsForm("Sweep", SWEEP)
        self.lock_form = SettingsForm("Lock", LOCK)
        self.shown_form = SettingsForm("Diagnostics", SHOWN)
        self._lay_out()
        self.set_free("", is_armed=False)

    def set_free(self, doing: str, is_armed: bool) -> None:
        """Let those buttons be pressed that can do something now; Start explains itself where it cannot."""
        idle = not doing
        for widget in (
            self.find_bead,
            self.calibrate,
            self.start,
            self.home,
            self.center,
            self.exposure_ms,
            self.sweep_form,
        ):
            widget.setEnabled(idle)
        self.lock_form.setEnabled(idle)
        self.cancel.setEnabled(doing in ("calibrate", "move"))
        self.stop.setEnabled(doing == "autofocus")
        self.start.setToolTip("hold the focus found now" if is_armed else "calibrate first, then accept")
        if idle:
            self.progress.reset()

    def _lay_out(self) -> None:
        focus = QGroupBox("Focus")
        grid = QGridLayout(focus)
        grid.addWidget(self.find_bead, 0, 0, 1, 2)
        grid.addWidget(self.calibrate, 1, 0)
        grid.addWidget(self.cancel, 1, 1)
        grid.addWidget(self.progress, 2, 0, 1, 2)
        grid.addWidget(self.start, 3, 0)
        grid.addWidget(self.stop, 3, 1)
        grid.addWidget(self.kick, 4, 0, 1, 2)
        grid.addWidget(QLabel("state"), 5, 0)
        grid.addWidget(self.state, 5, 1)
        stage = QGroupBox("Stage and camera")
        grid = QGridLayout(stage)
        grid.addWidget(self.home, 0, 0)
        grid.addWidget(self.center, 0, 1)
        grid.addWidget(self.z, 1, 0, 1, 2)
        row = QHBoxLayout()
        row.addWidget(QLabel("exposure"))
        row.addWidget(self.exposure_ms)
        grid.addLayout(row, 2, 0, 1, 2)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(2, 2, 2, 2)
        for box in (focus, stage, self.sweep_form, self.lock_form, self.shown_form):
            column.addWidget(box)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self.setMinimumWidth(270)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(text)
    button.setToolTip(tip)
    return button
