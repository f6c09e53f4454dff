"""What the lock did lately: error, z, widths, light, confidence, command and state, from its ring."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from parfocal.devices import LockRing
from parfocal.focus import LockState
from parfocal.gui._pyqtgraph import pg

_STATES = tuple(str(state) for state in LockState)
_PLOTS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("error", "nm", (("error_um", "#e04040"),)),
    ("z", "µm", (("z_um", "#4080e0"), ("setpoint_um", "#808080"))),
    ("sigma", "px", (("sigma_x_px", "#e08020"), ("sigma_y_px", "#20a0a0"))),
    ("photons", "", (("photons", "#a060c0"),)),
    ("confidence", "", (("confidence", "#40a040"),)),
    ("command", "µm", (("command_um", "#e0a000"), ("stage_um", "#606060"))),
    ("state", "", (("state", "#4060c0"),)),
)
_COLUMNS = tuple(name for _, _, curves in _PLOTS for name, _ in curves)
_MOST = 20_000


class DiagnosticsPanel(QWidget):
    """Seven curves over the last seconds.

    Parameters
    ----------
    ring : LockRing
        Of the lock; read from where it is now on.
    history_s : float
        How far back is shown.
    """

    def __init__(self, ring: LockRing, history_s: float) -> None:
        super().__init__()
        self.history_s = history_s
        self._ring = ring
        self._cursor = ring.cursor
        self._samples: dict[str, deque[float]] = {name: deque(maxlen=_MOST) for name in ("t_s", *_COLUMNS)}
        self.graphics = pg.GraphicsLayoutWidget()
        self.plots: dict[str, Any] = {}
        self.curves: dict[str, Any] = {}
        for row, (title, unit, curves) in enumerate(_PLOTS):
            plot = self.graphics.addPlot(row=row, col=0)
            if title != "state":  # its states say what it is
                plot.setLabel("left", f"{title}<br>{unit}" if unit else title)
            plot.getAxis("left").setWidth(64)
            plot.getAxis("left").enableAutoSIPrefix(False)
            plot.setDownsampling(auto=True, mode="peak")  # a spike of one frame stays one
            plot.showGrid(y=True, alpha=0.25)
            plot.setMenuEnabled(False)
            plot.hideButtons()
            if row < len(_PLOTS) - 1:
                plot.getAxis("bottom").setStyle(showValues=False)
            for name, colour in curves:
                self.curves[name] = plot.plot(pen=pg.mkPen(colour), connect="finite")
            self.plots[title] = plot
        self.plots["state"].getAxis("left").setTicks([[(k, s) for k, s in enumerate(_STATES) if k % 2 or k == 0]])
        self.plots["state"].setYRange(0, len(_STATES) - 1)
        self.plots["state"].setLabel("bottom", "seconds before now")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.graphics)

    def take(self) -> dict[str, list[Any]]:
        """Take the samples since the last call into the curves' memory; return them, by column."""
        taken = self._ring.since(self._cursor)
        self._cursor = taken.cursor
        for name, kept in self._samples.items():
            column = taken.columns[name]
            kept.extend([_STATES.index(word) for word in column] if name == "state" else column)
        return taken.columns

    def paint(self) -> None:
        """Draw the curves anew."""
        t_s = np.fromiter(self._samples["t_s"], float)
        if not t_s.size:
            return
        before = t_s - t_s[-1]
        shown = before >= -self.history_s
        for name, curve in self.curves.items():
            values = np.fromiter(self._samples[name], float)[shown]
            curve.setData(before[shown], values * 1e3 if name == "error_um" else values)
        for plot in self.plots.values():
            plot.setXRange(-self.history_s, 0, padding=0)

    @property
    def latest(self) -> dict[str, float]:
        """The newest sample; empty before the first."""
        if not self._samples["t_s"]:
            return {}
        return {name: kept[-1] for name, kept in self._samples.items() if math.isfinite(kept[-1])}
