"""Fields of the live window: one widget a setting, from one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QGroupBox, QSpinBox, QWidget

from parfocal.gui._live_settings import LiveSettings


@dataclass(frozen=True)
class Entry:
    """One setting: its name in `LiveSettings`, its label, and what it may be."""

    name: str
    label: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.1
    unit: str = ""
    decimals: int = 3
    choices: tuple[str, ...] = ()
    tip: str = ""


SWEEP = (
    Entry("half_range_um", "reach", 0.05, 50, 0.05, "µm", 2, tip="to either side of where z is"),
    Entry("n_steps", "steps", 5, 500, 2, tip="one way"),
    Entry("bidirectional", "up and down", tip="so that hysteresis shows"),
    Entry("settle_s", "settle", 0, 10, 0.01, "s", 3),
    Entry("model", "model", choices=("zhuang", "linear", "poly2", "piecewise")),
    Entry("expected_slope", "slope", choices=("auto", "positive", "negative")),
    Entry("go_to_focus", "end at focus", tip="leave z at the focus that was found"),
)
LOCK = (
    Entry("law", "law", choices=("kalman", "pi")),
    Entry(
        "measure",
        "measure",
        choices=("auto", "direct", "widths", "moments"),
        tip="auto: widths with the law pi or a calibration from a CSV, else direct",
    ),
    Entry("kp", "kp", 0, 5, 0.05, "", 2, tip="of the law pi"),
    Entry("ki", "ki", 0, 5, 0.05, "1/s", 2, tip="of the law pi"),
    Entry("max_step_um", "longest step", 0.001, 10, 0.05, "µm", 3),
    Entry("command_deadband_um", "deadband", 0, 1, 0.005, "µm", 3),
    Entry("max_abs_excursion_um", "excursion", 0.1, 500, 0.5, "µm", 2, tip="farthest from where it engaged"),
    Entry("n_beads", "beads", 1, 50, 1, tip="followed at most; one that is lost does not lose the lock"),
    Entry("track_roi", "ROI follows in x, y", tip="the drawn region alone; no stage is moved"),
    Entry("track_gain", "track gain", 0, 1, 0.05, "", 2),
    Entry("track_deadband_px", "track deadband", 0, 20, 0.5, "px", 1),
    Entry("track_max_step_px", "track step", 0.5, 50, 1, "px", 1),
)


class SettingsForm(QGroupBox):
    """A box of fields.

    Parameters
    ----------
    title : str
        Of the box.
    entries : sequence of Entry
        Its fields, by name in `fields`.
    """

    changed = Signal()

    def __init__(self, title: str, entries: Sequence[Entry]) -> None:
        super().__init__(title)
        self.fields: dict[str, QWidget] = {}
        form = QFormLayout(self)
        form.setContentsMargins(6, 4, 6, 4)
        form.setVerticalSpacing(2)
        defaults = LiveSettings()
        for entry in entries:
            widget = self._make(entry, getattr(defaults, entry.name))
            widget.setObjectName(entry.name)
            widget.setToolTip(entry.tip)
            self.fields[entry.name] = widget
            form.addRow(entry.label, widget)

    def values(self) -> dict[str, Any]:
        """Return what is set, by name."""
        return dict(self._read())

    def show_values(self, settings: LiveSettings) -> None:
        """Fill the fields."""
        for name, widget in self.fields.items():
            value = getattr(settings, name)
            if isinstance(widget, QCheckBox):
                widget.setChecked(value)
            elif isinstance(widget, QComboBox):
                widget.setCurrentText(value)
            elif isinstance(widget, QSpinBox | QDoubleSpinBox):
                widget.setValue(value)

    def _read(self) -> Iterator[tuple[str, Any]]:
        for name, widget in self.fields.items():
            if isinstance(widget, QCheckBox):
                yield name, widget.isChecked()
            elif isinstance(widget, QComboBox):
                yield name, widget.currentText()
            elif isinstance(widget, QSpinBox | QDoubleSpinBox):
                yield name, widget.value()

    def _make(self, entry: Entry, default: Any) -> QWidget:
        if isinstance(default, bool):
            check = QCheckBox()
            check.toggled.connect(self.changed)
            return check
        if entry.choices:
            combo = QComboBox()
            combo.addItems(entry.choices)
            combo.currentTextChanged.connect(self.changed)
            return combo
        if isinstance(default, int):
            whole = QSpinBox()
            whole.setRange(int(entry.low), int(entry.high))
            whole.setSingleStep(int(entry.step))
            whole.valueChanged.connect(self.changed)
            return whole
        box = QDoubleSpinBox()
        box.setDecimals(entry.decimals)
        box.setRange(entry.low, entry.high)
        box.setSingleStep(entry.step)
        box.setSuffix(f" {entry.unit}" if entry.unit else "")
        box.setKeyboardTracking(False)
        box.valueChanged.connect(self.changed)
        return box
