"""The live image, the region of the bead in it, and how brightness becomes colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from parfocal.gui._live_session import RoiPx
from parfocal.gui._pyqtgraph import pg

COLORMAPS = ("grey", "viridis", "inferno", "magma", "plasma", "cividis")
SMALLEST_ROI_PX = 9


class _CountedImage(pg.ImageItem):
    """An image that counts how many different frames were really painted."""

    def __init__(self) -> None:
        super().__init__(axisOrder="row-major")
        self.n_painted = 0
        self.is_new = False

    def paint(self, painter: Any, *args: Any) -> None:
        """Paint, and count."""
        super().paint(painter, *args)
        self.n_painted += self.is_new
        self.is_new = False


class ImagePanel(QWidget):
    """Shows frames; the square on it is what is calibrated and locked on."""

    roi_moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.image = _CountedImage()
        self.graphics = pg.PlotWidget()
        plot = self.graphics.getPlotItem()
        plot.setAspectLocked(True)
        plot.invertY(True)
        plot.hideAxis("left")
        plot.hideAxis("bottom")
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.addItem(self.image)
        self.roi = pg.RectROI([0, 0], [17, 17], pen=pg.mkPen("#ffb000", width=2), snapSize=1.0)
        self.roi.translateSnap = self.roi.scaleSnap = True
        self.roi.aspectLocked = True
        self.roi.setZValue(10)
        self.roi.sigRegionChangeFinished.connect(self._tell)
        plot.addItem(self.roi)
        self._shape = (0, 0)
        self._pixels: NDArray[np.generic] | None = None
        self._is_ours = False
        self._build()

    def _build(self) -> None:
        self.auto_levels = QCheckBox("Auto levels")
        self.auto_levels.setChecked(True)
        self.low_adu, self.high_adu = _level(0.0), _level(1000.0)
        self.colormap = QComboBox()
        self.colormap.addItems(COLORMAPS)
        row = QHBoxLayout()
        for widget in (
            self.auto_levels,
            QLabel("low"),
            self.low_adu,
            QLabel("high"),
            self.high_adu,
            self.colormap,
        ):
            row.addWidget(widget)
        row.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.graphics, 1)
        column.addLayout(row)
        self.auto_levels.toggled.connect(self._set_levels)
        self.low_adu.valueChanged.connect(self._set_levels)
        self.high_adu.valueChanged.connect(self._set_levels)
        self.colormap.currentTextChanged.connect(self._set_colormap)
        self._set_levels()

    # -- frames -------------------------------------------------------------------------------------

    def show_frame(self, pixels: NDArray[np.generic]) -> None:
        """Show a frame `[y, x]`."""
        self._pixels = pixels
        if pixels.shape != self._shape:
            self._fit(pixels.shape[0], pixels.shape[1])
        if self.auto_levels.isChecked():
            self._show_levels(*_levels_of(pixels))
        self.image.is_new = True
        self.image.setImage(pixels, autoLevels=False, levels=self.levels)

    @property
    def pixels(self) -> NDArray[np.generic] | None:
        """The frame that is shown; None before the first."""
        return self._pixels

    @property
    def levels(self) -> tuple[float, float]:
        """The brightness, ADU, that is shown darkest and brightest."""
        low = self.low_adu.value()
        return low, max(self.high_adu.value(), low + 1)

    def _fit(self, height: int, width: int) -> None:
        self._shape = (height, width)
        self.roi.maxBounds = QRectF(0, 0, width, height)
        self.graphics.getPlotItem().setRange(QRectF(0, 0, width, height), padding=0.01)

    def _show_levels(self, low: float, high: float) -> None:
        for box, value in ((self.low_adu, low), (self.high_adu, high)):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)

    def _set_levels(self) -> None:
        is_auto = self.auto_levels.isChecked()
        self.low_adu.setEnabled(not is_auto)
        self.high_adu.setEnabled(not is_auto)
        if self._pixels is not None:
            self.image.setLevels(self.levels)

    def _set_colormap(self, name: str) -> None:
        table = None if name == "grey" else pg.colormap.get(name).getLookupTable()
        self.image.setLookupTable(table)

    # -- the region ---------------------------------------------------------------------------------

    @property
    def roi_px(self) -> RoiPx:
        """The region: y, x, height, width; square, of odd side, inside the frame."""
        at, size = self.roi.pos(), self.roi.size()
        side = round(max(float(size[0]), float(size[1])))
        side = max(side | 1, SMALLEST_ROI_PX)
        height, width = self._shape
        if min(height, width):
            side = min(side, (min(height, width) - 1) | 1)
        y, x = round(float(at[1])), round(float(at[0]))
        if min(height, width):
            y, x = min(max(y, 0), height - side), min(max(x, 0), width - side)
        return y, x, side, side

    def set_roi(self, roi_px: RoiPx) -> None:
        """Put the region somewhere, without telling that it was moved by hand."""
        y, x, height, width = roi_px
        self._is_ours = True
        try:
            self.roi.setSize([width, height], finish=False)
            self.roi.setPos([x, y], finish=False)
        finally:
            self._is_ours = False

    def let_move(self, is_free: bool) -> None:
        """Let the region be dragged, or not: while locked it follows the bead."""
        self.roi.translatable = self.roi.resizable = is_free
        self.roi.setPen(pg.mkPen("#ffb000" if is_free else "#40c060", width=2))
        for handle in self.roi.getHandles():
            handle.setVisible(is_free)

    def _tell(self) -> None:
        if not self._is_ours:
            self.set_roi(self.roi_px)  # on whole pixels
            self.roi_moved.emit()


def _level(value: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(-1e6, 1e7)
    box.setDecimals(0)
    box.setSuffix(" ADU")
    box.setKeyboardTracking(False)
    box.setValue(value)
    return box


def _levels_of(pixels: NDArray[np.generic]) -> tuple[float, float]:
    """Return the levels that show nearly every pixel; of a large frame every so many-th is looked at."""
    step = max(1, int(np.sqrt(pixels.size / 65536)))
    low, high = np.percentile(pixels[::step, ::step].astype(np.float32), (1.0, 99.9))
    return float(low), float(high)
