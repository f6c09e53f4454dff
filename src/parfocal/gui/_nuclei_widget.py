"""Nuclei in napari: find them, review those to doubt, let the model learn, see its versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QTabWidget, QVBoxLayout, QWidget

import parfocal
from parfocal.catalog import DataFolder
from parfocal.gui._job import Job
from parfocal.gui._models_panel import ModelsPanel
from parfocal.gui._nuclei_source import NucleiSource
from parfocal.gui._review_layers import ReviewLayers
from parfocal.gui._review_panel import ReviewPanel
from parfocal.gui._segment_panel import Found, SegmentPanel
from parfocal.learning import ModelStore
from parfocal.segmentation.corrections import CorrectionJournal, ReviewSession, pixels_hash


class NucleiWidget(QWidget):
    """Three tabs beside a napari viewer, and one line that says what happened last.

    ::

        Segment --labels, doubts--> ReviewSession --> Review (queue, buttons) --> journal --> Models (retrain)
                                    the same as in `parfocal review`               gate --> promoted --> Segment

    Parameters
    ----------
    viewer : napari.Viewer
    source : NucleiSource
        What is looked at.
    data : DataFolder
        Where corrections and models are kept.
    """

    def __init__(self, viewer: Any, source: NucleiSource, data: DataFolder) -> None:
        super().__init__()
        self.source, self._corrected = source, source.corrected
        self._session: ReviewSession | None = None
        package = Path(parfocal.__file__).parent
        self.journal = CorrectionJournal(data.corrections)
        self.store = ModelStore(data.models, shipped=sorted(package.glob("*/weights")))
        self._data = data
        self.layers = ReviewLayers(viewer, source.images, source.voxel_size_um)
        self.review = ReviewPanel()
        self.segment = SegmentPanel(source.images, source.nuclei, source.voxel_size_um, self.store)
        self.models = ModelsPanel(self.store, self.journal, data.models / "retraining.checkpoint")
        self._saving = Job()
        self._saving.done.connect(lambda path: self.say(f"written: {path}"))
        self._saving.failed.connect(self.complain)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.review, "Review")
        self.tabs.addTab(self.segment, "Segment")
        self.tabs.addTab(self.models, "Models")
        self.line = QLabel("")
        self.line.setWordWrap(True)
        self.line.setTextFormat(Qt.TextFormat.PlainText)
        for panel in (self.review, self.segment, self.models):
            panel.said.connect(self.say)
            panel.failed.connect(self.complain)
        self.review.save_asked.connect(self.save)
        self.review.reviewed.connect(self.models.refresh)
        self.segment.found.connect(self._open_found)
        self.models.promoted.connect(lambda name: self.say(f"the next segmentation takes the new {name}"))
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.tabs, 1)
        column.addWidget(self.line)
        self.review.bind_keys(viewer)
        if source.session is not None:
            self.open(source.session, source.corrected)
        else:
            self.tabs.setCurrentWidget(self.segment)

    def open(self, session: ReviewSession, corrected: Path) -> None:
        """Review labels; `corrected` is where they are written."""
        self._session, self._corrected = session, corrected
        self.review.open(session, self.layers)
        self.tabs.setCurrentWidget(self.review)

    def say(self, text: str) -> None:
        """Show a line."""
        self.line.setStyleSheet("")
        self.line.setText(text)

    def complain(self, text: str) -> None:
        """Show what went wrong."""
        self.line.setStyleSheet("color: #ff7070")
        self.line.setText(text)

    def save(self) -> None:
        """Write the corrected labels, in a thread."""
        session, path = self._session, self._corrected
        if session is None:
            return

        def work(_tell: object) -> Path:
            path.parent.mkdir(parents=True, exist_ok=True)
            return session.save(path)

        self._saving.start(work, "save-labels")

    def shut(self) -> None:
        """End what runs: a training can be taken up again, a segmentation is dropped."""
        for job in (self.segment.job, self.models.job, self._saving):
            job.join()

    def _open_found(self, found: Found) -> None:
        source, got = self.source, found.segmentation
        image = source.images[found.channel]
        about = dict(source.about)
        if found.channel != source.nuclei:  # other pixels than those that are named there
            about |= {"source": pixels_hash(image), "data_key": "", "stream": ""}
        session = ReviewSession(
            got.labels,
            image,
            source.voxel_size_um,
            self.journal,
            model_hash=got.model_hash,
            doubts=found.doubts,
            **about,
        )
        # Not where the labels that were opened go: these are others.
        name = f"{str(about['source'])[:16]}-{session.labels_hash[:8]}.ome.zarr"
        self.open(session, self._data.corrections / "labels" / name)


def add_nuclei_widget(viewer: Any, source: NucleiSource, data: DataFolder) -> NucleiWidget:
    """Add the widget to a viewer, at its right."""
    widget = NucleiWidget(viewer, source, data)
    dock = viewer.window.add_dock_widget(widget, area="right", name="nuclei", tabify=False)
    dock.setMinimumWidth(420)
    return widget
