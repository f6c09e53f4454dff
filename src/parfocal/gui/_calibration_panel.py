"""A calibration to look at before it is used: the widths over z, the fit, what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from parfocal.fitting import Calibration
from parfocal.gui._happenings import Fitted
from parfocal.gui._pyqtgraph import pg

_X, _Y = "#e08020", "#20a0a0"


class CalibrationPanel(QWidget):
    """Plots of one calibration, and the buttons that accept or reject it."""

    accepted = Signal()
    rejected = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.graphics = pg.GraphicsLayoutWidget()
        self.widths: Any = self.graphics.addPlot(row=0, col=0)
        self.widths.setLabel("left", "width, px")
        self.widths.addLegend(offset=(-10, 10))
        self.ellipticity: Any = self.graphics.addPlot(row=1, col=0)
        self.ellipticity.setLabel("left", "ln(σx / σy)")
        self.ellipticity.setLabel("bottom", "z from focus, µm")
        self.ellipticity.setXLink(self.widths)
        for plot in (self.widths, self.ellipticity):
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.getAxis("left").setWidth(64)
        self.summary = QLabel("No calibration yet: draw the ROI round one bright bead and press Calibrate.")
        self.summary.setWordWrap(True)
        self.summary.setTextFormat(Qt.TextFormat.PlainText)
        self.accept = QPushButton("Accept")
        self.reject = QPushButton("Reject")
        for button, signal in ((self.accept, self.accepted), (self.reject, self.rejected)):
            button.setEnabled(False)
            button.clicked.connect(signal)
        row = QHBoxLayout()
        row.addWidget(self.accept)
        row.addWidget(self.reject)
        row.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.graphics, 1)
        column.addWidget(self.summary)
        column.addLayout(row)

    def show_fit(self, fitted: Fitted) -> None:
        """Show a calibration and ask for a verdict; one that is not fit to lock with can only be rejected."""
        calibration = fitted.calibration
        self.widths.clear()
        self.ellipticity.clear()
        self._plot_steps(calibration)
        self._plot_model(calibration)
        self.summary.setText(summary_of(fitted))
        self.accept.setEnabled(calibration.is_armable)
        self.reject.setEnabled(True)

    def settle(self, verdict: str) -> None:
        """Say what became of it."""
        self.accept.setEnabled(False)
        self.reject.setEnabled(False)
        self.summary.setText(f"{verdict}. {self.summary.text()}")

    def _plot_steps(self, calibration: Calibration) -> None:
        steps, used = calibration.steps, calibration.is_used
        z_um = steps.z_um - _focus_um(calibration)
        for k, (label, colour) in enumerate((("σx", _X), ("σy", _Y))):
            for which, filled in ((used, True), (~used, False)):
                if not which.any():
                    continue
                self.widths.plot(
                    z_um[which], steps.sigma_px[which, k], pen=None, symbol="o", symbolSize=6,
                    symbolPen=pg.mkPen(colour), symbolBrush=pg.mkBrush(colour) if filled else None,
                    name=label if filled else f"{label}, not used",
                )  # fmt: skip
        with np.errstate(invalid="ignore", divide="ignore"):
            q = np.log(steps.sigma_px[:, 0] / steps.sigma_px[:, 1])
        good = np.isfinite(q) & used
        self.ellipticity.plot(z_um[good], q[good], pen=None, symbol="o", symbolSize=6, symbolBrush="#808080")

    def _plot_model(self, calibration: Calibration) -> None:
        low, high = calibration.usable_um or (float("nan"), float("nan"))
        if np.isfinite(low) and np.isfinite(high):
            for plot in (self.widths, self.ellipticity):
                plot.addItem(pg.LinearRegionItem((low, high), movable=False, brush=(80, 160, 80, 40)))
        if calibration.model is None:
            return
        first, last = (end - _focus_um(calibration) for end in calibration.swept_um)
        z_um = np.linspace(first, last, 300)
        with np.errstate(invalid="ignore"):
            x_px, y_px = calibration.model.widths_px(z_um)
            q = np.log(x_px / y_px)
        for width_px, colour in ((x_px, _X), (y_px, _Y)):
            self.widths.plot(z_um, width_px, pen=pg.mkPen(colour, width=2), connect="finite")
        self.ellipticity.plot(z_um, q, pen=pg.mkPen("#4080e0", width=2), connect="finite")


def summary_of(fitted: Fitted) -> str:
    """Return what a calibration says of itself, in a few lines."""
    c = fitted.calibration
    lines = [
        f"{fitted.sha256[:12]}, run {fitted.run_uid[:8]}: {int(c.is_used.sum())} of {len(c.steps)} steps used"
    ]
    if c.usable_um is not None:
        low, high = c.usable_um
        lines.append(
            f"focus at {c.focus_um:.3f} µm, usable {low:+.2f} to {high:+.2f} µm; R² {c.r2[0]:.3f}, {c.r2[1]:.3f}"
        )
    if c.hysteresis is not None:
        lines.append(f"up and down differ by {1e3 * c.hysteresis.z_um:.0f} ± {1e3 * c.hysteresis.z_se_um:.0f} nm")
    lines += [f"{'NOT FIT TO LOCK WITH' if i.severity == 'blocks' else 'note'}: {i.message}" for i in c.issues]
    return "\n".join(lines)


def _focus_um(calibration: Calibration) -> float:
    """Return the focus, or the middle of the sweep where none was found."""
    return calibration.focus_um if np.isfinite(calibration.focus_um) else float(np.mean(calibration.swept_um))
