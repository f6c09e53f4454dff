"""The queue of objects to doubt, and a button for each thing that can be done about one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from parfocal.errors import BadInputError
from parfocal.gui._review_layers import ReviewLayers
from parfocal.segmentation.corrections import Correction, ReviewSession

QUEUE_LENGTH = 20
_ACTIONS = (
    ("accept", "Accept", "A", "it is right as it is"),
    ("split", "Split", "S", "in two; or at the points that were set in it, one a part"),
    ("merge", "Merge", "M", "the selected objects are one: Shift-click selects another"),
    ("delete", "Delete", "D", "it is no nucleus"),
    ("add", "Add", "N", "what was painted; or what is about the point that was set"),
    ("redraw", "Redraw", "R", "first hands the brush over, then takes what was painted"),
    ("skip", "Skip", "K", "leave it for another time"),
    ("undo", "Undo", "U", "take the last correction back"),
)


class ReviewPanel(QWidget):
    """One session of review, as `parfocal review` has it.

    ::

        queue row or click in the canvas --> selected --> button --> ReviewSession --> journal, labels
        Redraw --> the brush, with the object's shape --> Redraw again --> its new shape
        Paint --> the brush --> Add;  Points --> clicks --> Split or Add
    """

    said = Signal(str)
    failed = Signal(str)
    save_asked = Signal()
    reviewed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.session: ReviewSession | None = None
        self.layers: ReviewLayers | None = None
        self.selected: list[int] = []
        self._drawing: int | None = None
        self._queued: list[int] = []
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["object", "doubt", "why"])
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.table.verticalHeader().hide()
        self.table.setWordWrap(True)
        header = self.table.horizontalHeader()
        for column in (0, 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        header.sectionResized.connect(self.table.resizeRowsToContents)
        self.table.itemSelectionChanged.connect(self._row_selected)
        self.about = QLabel("Nothing to review yet: find nuclei in the tab Segment.")
        self.about.setWordWrap(True)
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(4)
        for k, (name, text, key, tip) in enumerate(_ACTIONS):
            button = QPushButton(text)
            button.setToolTip(f"{tip} (Shift-{key})")
            button.clicked.connect(self._handler(name))
            self.buttons[name] = button
            grid.addWidget(button, k // 4, k % 4)
        self.paint, self.points, self.clear, self.save = (
            QPushButton(text) for text in ("Paint", "Points", "Clear", "Save")
        )
        self.paint.setToolTip("the brush, for an object that was missed")
        self.points.setToolTip("set points: one in each part to split, or one in an object that was missed")
        self.clear.setToolTip("take away what was painted, and the points")
        self.save.setToolTip("write the labels as they stand; each correction is kept at once without this")
        self.paint.clicked.connect(lambda: self._try(self._start_painting))
        self.points.clicked.connect(lambda: self._try(lambda: self._shown().start_points()))
        self.clear.clicked.connect(lambda: self._try(self._stop_drawing))
        self.save.clicked.connect(self.save_asked)
        row = QHBoxLayout()
        row.setSpacing(4)
        for button in (self.paint, self.points, self.clear, self.save):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.addWidget(self.table, 1)
        column.addWidget(self.about)
        column.addLayout(grid)
        column.addLayout(row)
        self._enable(False)

    def open(self, session: ReviewSession, layers: ReviewLayers) -> None:
        """Review labels."""
        self.session, self.layers = session, layers
        self.selected, self._drawing = [], None
        layers.show(session, self.pick)
        self._enable(True)
        self._fill()
        for remark in session.remarks:
            self.said.emit(remark)
        if self._queued:
            self.table.selectRow(0)

    def bind_keys(self, viewer: Any) -> None:
        """Give each button its key, Shift and the letter that `parfocal review` has."""
        for name, _, key, _ in _ACTIONS:
            viewer.bind_key(f"Shift-{key}", lambda _viewer, name=name: self.do(name), overwrite=True)

    def pick(self, object_id: int, extend: bool = False) -> None:
        """Select an object, as well as those that are selected where `extend` says so."""
        self.selected = [*(one for one in self.selected if one != object_id), object_id] if extend else [object_id]
        self._mark_rows()
        self._show_selected()

    def do(self, name: str) -> None:
        """Do what the button of that name does."""
        self._try(lambda: self._do(name))

    # -- what buttons do ----------------------------------------------------------------------------

    def _handler(self, name: str) -> Callable[[], None]:
        return lambda: self.do(name)

    def _do(self, name: str) -> None:
        session, layers = self._open_session(), self._shown()
        if name == "skip":
            for one in self._chosen():
                session.skip(one)
            self._go_on("skipped")
            return
        if name == "redraw" and self._drawing is None:
            (self._drawing,) = self._chosen()[-1:]
            layers.start_drawing(self._drawing)
            self.said.emit(f"object {self._drawing}: paint and erase, then press Redraw again")
            return
        made: Correction | None = None
        if name == "undo":
            made = session.undo()
        elif name == "accept":
            for one in self._chosen():
                made = session.accept(one)
        elif name == "delete":
            for one in self._chosen():
                made = session.delete(one)
        elif name == "merge":
            made = session.merge(self._chosen())
        elif name == "split":
            points = layers.points_px
            made = session.split(self._chosen()[-1], points or None)
        elif name == "add":
            made = self._add(session, layers)
        elif name == "redraw" and self._drawing is not None:
            made = session.redraw(self._drawing, layers.drawn)
        if made is None:
            return
        said = ", ".join(kind.value for kind in made.kinds)
        what = f"taken back: {said}" if name == "undo" else said
        layers.clear_drawing()
        self._drawing = None
        layers.refresh()
        stay = name in ("split", "redraw", "undo", "add")
        self._go_on(f"{what} {_ids(made.ids_before)} -> {_ids(made.ids_after)}", made.ids_after if stay else ())
        self.reviewed.emit()

    def _add(self, session: ReviewSession, layers: ReviewLayers) -> Correction:
        mask, points = layers.drawn, layers.points_px
        if mask.any():
            return session.add(mask)
        if len(points) == 1:
            return session.add_at(points[0])
        raise BadInputError("add: paint the object first (Paint), or set one point in it (Points)")

    def _go_on(self, what: str, then: tuple[int, ...] = ()) -> None:
        self._fill()
        self.said.emit(what)
        there = [one for one in then if self._is_there(one)]
        if there:
            self.pick(there[0])
        elif self._queued:
            self.table.selectRow(0)
        else:
            self.selected = []
            self._shown().select(())

    def _start_painting(self) -> None:
        self._drawing = None
        self._shown().start_drawing()
        self.said.emit("paint the object in each plane, then press Add")

    def _stop_drawing(self) -> None:
        self._drawing = None
        self._shown().clear_drawing()

    # -- the table ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        items = self._open_session().queue(QUEUE_LENGTH)
        self._queued = [item.object_id for item in items]
        self.table.blockSignals(True)
        self.table.clearSelection()
        self.table.setRowCount(len(items))
        for row, item in enumerate(items):
            reasons = "; ".join(item.reasons) or f"{item.volume_voxels} voxels"
            for column, text in enumerate((str(item.object_id), f"{item.score:.2f}", reasons)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(reasons)
                self.table.setItem(row, column, cell)
        self.table.resizeRowsToContents()
        self.table.blockSignals(False)
        standing = len(self._open_session().corrections())
        self.about.setText(f"{standing} corrections of these labels stand" if standing else "No corrections yet")

    def _row_selected(self) -> None:
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        if rows:
            self.selected = [self._queued[row] for row in rows]
            self._try(self._show_selected)
            self._try(lambda: self._shown().go_to(self.selected[-1]))

    def _mark_rows(self) -> None:
        self.table.blockSignals(True)
        self.table.clearSelection()
        for row, one in enumerate(self._queued):
            if one in self.selected:
                cells = (self.table.item(row, column) for column in range(self.table.columnCount()))
                for cell in cells:
                    if cell is not None:
                        cell.setSelected(True)
        self.table.blockSignals(False)

    def _show_selected(self) -> None:
        self._shown().select(self.selected)

    # -- small things -------------------------------------------------------------------------------

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (BadInputError, OSError) as error:
            self.failed.emit(" ".join(str(error).split()))

    def _chosen(self) -> list[int]:
        if not self.selected:
            raise BadInputError("select an object first: a row of the queue, or click on one")
        return list(self.selected)

    def _open_session(self) -> ReviewSession:
        if self.session is None:
            raise BadInputError("there is nothing to review yet")
        return self.session

    def _shown(self) -> ReviewLayers:
        if self.layers is None:
            raise BadInputError("there is nothing to review yet")
        return self.layers

    def _is_there(self, object_id: int) -> bool:
        return bool((self._open_session().labels == object_id).any())

    def _enable(self, on: bool) -> None:
        for button in (*self.buttons.values(), self.paint, self.points, self.clear, self.save):
            button.setEnabled(on)


def _ids(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids)) or "none"
