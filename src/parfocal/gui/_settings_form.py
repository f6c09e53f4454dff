"""Fields of the live window: one widget a setting, from one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QGroupBox, QSpinBox, QWidget

from parfocal.gui._live_entries import Entry
from parfocal.gui._live_settings import LiveSettings


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
        self._entries = {entry.name: entry for entry in entries}
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
            elif isinstance(widget, QSpinBox):
                widget.setValue(value)
            elif isinstance(widget, QDoubleSpinBox):
                widget.setDecimals(_decimals_of(value, self._entries[name].decimals))
                widget.setValue(widget.minimum() if value is None else value)

    def _read(self) -> Iterator[tuple[str, Any]]:
        for name, widget in self.fields.items():
            if isinstance(widget, QCheckBox):
                yield name, widget.isChecked()
            elif isinstance(widget, QComboBox):
                yield name, widget.currentText()
            elif isinstance(widget, QSpinBox):
                yield name, widget.value()
            elif isinstance(widget, QDoubleSpinBox):
                is_none = self._entries[name].none and widget.value() == widget.minimum()
                yield name, None if is_none else widget.value()

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
        box.setRange(entry.low - entry.step if entry.none else entry.low, entry.high)
        box.setSpecialValueText(entry.none)  # at the minimum, where there is such a text
        box.setSingleStep(entry.step)
        box.setSuffix(f" {entry.unit}" if entry.unit else "")
        box.setKeyboardTracking(False)
        box.valueChanged.connect(self.changed)
        return box


def _decimals_of(value: float | None, at_least: int) -> int:
    """Return how many decimals show a value as it is, 6 at most."""
    fits = (n for n in range(at_least, 6) if value is None or round(value, n) == value)
    return next(fits, 6)
