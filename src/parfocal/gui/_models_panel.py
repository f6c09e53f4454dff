"""Models: whether one should learn again, its training as it goes, the gate's verdict, and all versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from parfocal.errors import BadInputError
from parfocal.gui._job import Job, Tell
from parfocal.gui._pyqtgraph import pg
from parfocal.learning import ModelStore, StoredModel, TrainProgress
from parfocal.segmentation.corrections import CorrectionJournal, Retrained, RetrainSettings, readiness, retrain

_COLUMNS = ("version", "made", "corrections", "AP before → after", "")


class ModelsPanel(QWidget):
    """What `parfocal models` and the retraining have, for one name at a time.

    Parameters
    ----------
    store : ModelStore
    journal : CorrectionJournal
    checkpoint : Path
        Where a training that was cancelled is taken up again.
    """

    said = Signal(str)
    failed = Signal(str)
    promoted = Signal(str)

    def __init__(self, store: ModelStore, journal: CorrectionJournal, checkpoint: Path) -> None:
        super().__init__()
        self._store, self._journal, self._checkpoint = store, journal, checkpoint
        self._models: tuple[StoredModel, ...] = ()
        self._losses: list[float] = []
        self.job = Job()
        self.job.told.connect(self._told)
        self.job.done.connect(self._done)
        self.job.failed.connect(self._failed)
        self.name = QComboBox()
        self.name.setToolTip("of the model")
        self.ready = _text("")
        self.method = QComboBox()
        self.method.addItems(["adapter", "full"])
        self.method.setToolTip("small adapters beside the weights, or all weights")
        self.steps = QSpinBox()
        self.steps.setRange(1, 100_000)
        self.steps.setValue(RetrainSettings().steps)
        self.steps.setSuffix(" steps")
        self.start, self.cancel = QPushButton("Retrain"), QPushButton("Cancel")
        self.cancel.setEnabled(False)
        self.start.clicked.connect(self.retrain)
        self.cancel.clicked.connect(self.job.cancel)
        self.plot: Any = pg.PlotWidget(background=None)
        self.plot.setLabel("left", "loss")
        self.plot.setLabel("bottom", "step")
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMinimumHeight(110)
        self.curve: Any = self.plot.plot(pen=pg.mkPen("#e08020", width=2))
        self.verdict = _text("")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.verticalHeader().hide()
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.promote, self.rollback = QPushButton("Promote"), QPushButton("Roll back")
        self.promote.setToolTip("make the selected version the one that is used")
        self.rollback.setToolTip("go back to the version that was used before")
        self.promote.clicked.connect(lambda: self._try(self._promote))
        self.rollback.clicked.connect(lambda: self._try(self._roll_back))
        self.history = QPlainTextEdit()
        self.history.setReadOnly(True)
        self.history.setMaximumHeight(90)
        grid = QGridLayout()
        grid.setSpacing(4)
        for k, widget in enumerate((self.name, self.method, self.steps, self.start, self.cancel)):
            grid.addWidget(widget, k // 3, k % 3)
        buttons = QHBoxLayout()
        buttons.addWidget(self.promote)
        buttons.addWidget(self.rollback)
        buttons.addStretch()
        column = QVBoxLayout(self)
        column.addLayout(grid)
        column.addWidget(self.ready)
        column.addWidget(self.plot, 1)
        column.addWidget(self.verdict)
        column.addWidget(self.table, 1)
        column.addLayout(buttons)
        column.addWidget(self.history)
        self.name.currentTextChanged.connect(lambda _name: self._try(self._fill))
        self.refresh()

    def refresh(self) -> None:
        """Read the store and the journal again."""
        self._try(self._read)

    def retrain(self) -> None:
        """Begin to learn from the corrections that stand."""
        name = self.name.currentText()
        if not name:
            self.failed.emit("there is no model to retrain")
            return
        how = RetrainSettings(method="full" if self.method.currentText() == "full" else "adapter",
                              steps=self.steps.value())  # fmt: skip
        self._losses = []
        self.curve.setData([], [])
        self.verdict.setText("")
        self.start.setEnabled(False)
        self.cancel.setEnabled(True)
        self.job.start(_work(self._journal, self._store, name, how, self._checkpoint), "retrain")

    # -- what a job tells ---------------------------------------------------------------------------

    def _told(self, what: object) -> None:
        if isinstance(what, TrainProgress):
            self._losses.append(what.loss)
            self.curve.setData(np.arange(1, len(self._losses) + 1) + what.step - len(self._losses), self._losses)
            self.verdict.setText(f"step {what.step} of {what.steps}, loss {what.loss:.3f}, {what.elapsed_s:.0f} s")
        else:
            self.verdict.setText(str(what))

    def _done(self, came: Retrained) -> None:
        self._rest()
        what = "promoted" if came.promoted else "not promoted"
        self.verdict.setText(f"{came.model.version} {what}: {came.gate.reason}")
        self.said.emit(f"{came.model.name}@{came.model.version} {what}")
        if came.promoted:
            self.promoted.emit(came.model.name)

    def _failed(self, text: str) -> None:
        self._rest()
        self.verdict.setText(text)
        self.failed.emit(text)

    def _rest(self) -> None:
        self.start.setEnabled(True)
        self.cancel.setEnabled(False)
        self.refresh()

    # -- the store ----------------------------------------------------------------------------------

    def _read(self) -> None:
        names = list(dict.fromkeys(model.name for model in self._store.models()))
        known = [self.name.itemText(k) for k in range(self.name.count())]
        if names != known:
            asked = self.name.currentText()
            self.name.blockSignals(True)
            self.name.clear()
            self.name.addItems(names)
            if asked in names:
                self.name.setCurrentText(asked)
            self.name.blockSignals(False)
        self._fill()

    def _fill(self) -> None:
        name = self.name.currentText()
        self._models = self._store.models(name) if name else ()
        self.table.setRowCount(len(self._models))
        for row, model in enumerate(self._models):
            for column, text in enumerate(_cells(model)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(f"{model.weights_sha256[:12]}, from {(model.card.parent or 'nothing')[:12]}")
                font = cell.font()
                font.setBold(model.is_current)
                cell.setFont(font)
                self.table.setItem(row, column, cell)
        events = self._store.history(name) if name else ()
        lines = [f"{e.time[:16].replace('T', ' ')}  {e.event} {e.version}  {e.reason}" for e in reversed(events)]
        self.history.setPlainText("\n".join(lines) or "nothing has happened yet")
        self.promote.setEnabled(bool(self._models))
        self.rollback.setEnabled(bool(self._models))
        self.ready.setText("no model here, nor in the package")
        if name:
            told = readiness(self._journal, self._store, name)
            self.ready.setText(told.reason + (": retrain" if told.due else ""))

    def _promote(self) -> None:
        rows = {index.row() for index in self.table.selectedIndexes()}
        if not rows:
            raise BadInputError("select a version to promote")
        model = self._models[rows.pop()]
        self._changed("promoted", self._store.promote(model.name, model.version, reason="in napari"))

    def _roll_back(self) -> None:
        self._changed("back to", self._store.rollback(self.name.currentText(), reason="in napari"))

    def _changed(self, what: str, model: StoredModel) -> None:
        self._read()
        self.said.emit(f"{what} {model.name}@{model.version}")
        self.promoted.emit(model.name)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (BadInputError, OSError) as error:
            self.failed.emit(" ".join(str(error).split()))


def _work(
    journal: CorrectionJournal, store: ModelStore, name: str, how: RetrainSettings, checkpoint: Path
) -> Callable[[Tell], Retrained]:
    def work(tell: Tell) -> Retrained:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        return retrain(journal, store, name, how, checkpoint=checkpoint, on_progress=tell, on_step=tell)

    return work


def _cells(model: StoredModel) -> tuple[str, ...]:
    card = model.card
    before, after = card.metrics.get("corrections_ap50_before"), card.metrics.get("corrections_ap50")
    gained = f"{before:.3f} → {after:.3f}" if before is not None and after is not None else ""
    learnt = str(len(card.data)) if card.data else ""
    return model.version, card.made[:16].replace("T", " "), learnt, gained, "in use" if model.is_current else ""


def _text(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
