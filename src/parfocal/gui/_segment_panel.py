"""Find nuclei: which way, how large they are, what the pixels go through before; in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from parfocal.gui._job import Job, Tell
from parfocal.learning import ModelStore
from parfocal.segmentation import Segmentation
from parfocal.segmentation.backends import BACKENDS, USUAL_MODELS, default_backend, open_model, segment_volume
from parfocal.segmentation.restoration import RESTORATION_MODES, RestorationMode
from parfocal.segmentation.uncertainty import ObjectDoubts, object_doubts


@dataclass(frozen=True)
class Found:
    """What came of a segmentation: labels, and which of them to doubt, told while the output was there."""

    channel: str
    segmentation: Segmentation
    doubts: ObjectDoubts
    elapsed_s: float


class SegmentPanel(QWidget):
    """The fields of `segment_volume`, and a button.

    Parameters
    ----------
    images : mapping of str to ndarray (z, y, x)
        Raw pixels by channel.
    nuclei : str
        The channel that is offered first.
    voxel_size_um : (float, float, float)
        z, y, x.
    store : ModelStore
        Where networks are.
    """

    found = Signal(object)
    said = Signal(str)
    failed = Signal(str)

    def __init__(
        self,
        images: Mapping[str, NDArray[np.generic]],
        nuclei: str,
        voxel_size_um: tuple[float, float, float],
        store: ModelStore,
    ) -> None:
        super().__init__()
        self._images = images
        self._voxel_size_um = voxel_size_um
        self._store = store
        self.job = Job()
        self.job.told.connect(lambda what: self.stage.setText(str(what)))
        self.job.done.connect(self._done)
        self.job.failed.connect(self._failed)
        self.backend, self.channel, self.restoration = QComboBox(), QComboBox(), QComboBox()
        self.backend.addItems(list(BACKENDS))
        self.backend.setCurrentText(default_backend())
        self.channel.addItems(list(images))
        self.channel.setCurrentText(nuclei)
        self.restoration.addItems(list(RESTORATION_MODES))
        self.restoration.setToolTip("kept only where it helps; raw pixels stay as they are")
        self.diameter = QDoubleSpinBox()
        self.diameter.setRange(0.0, 1000.0)
        self.diameter.setSuffix(" µm")
        self.diameter.setSpecialValueText("measured")
        self.model = QLineEdit()
        self.model.setPlaceholderText("the one that is promoted")
        self.model.setToolTip("a name, name@version, version or hash; see the tab Models")
        self.weights, self.command = QLineEdit(), QLineEdit()
        self.weights.setPlaceholderText("path of a file")
        self.weights.setToolTip("cellpose: its weights; external: what {weights} stands for")
        self.command.setPlaceholderText("program {input} {output}")
        self.command.setToolTip("external: the program and its arguments, as for parfocal segment --command")
        self.run = QPushButton("Find nuclei")
        self.run.clicked.connect(self.start)
        self.stage = QLabel("")
        self.stage.setWordWrap(True)
        self.stage.setTextFormat(Qt.TextFormat.PlainText)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 0)
        self.bar.hide()
        self._clock = QTimer(self)
        self._clock.setInterval(500)
        self._clock.timeout.connect(self._tick)
        self._began_s = 0.0
        self.backend.currentTextChanged.connect(self._backend_chosen)
        form = QFormLayout()
        form.addRow("channel", self.channel)
        form.addRow("backend", self.backend)
        form.addRow("model", self.model)
        form.addRow("weights", self.weights)
        form.addRow("command", self.command)
        form.addRow("diameter", self.diameter)
        form.addRow("restoration", self.restoration)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.run)
        column.addWidget(self.bar)
        column.addWidget(self.stage)
        column.addStretch()
        self._backend_chosen(self.backend.currentText())

    def start(self) -> None:
        """Begin with what the fields say; what comes of it is told by `found` or `failed`."""
        channel, backend = self.channel.currentText(), self.backend.currentText()
        options: dict[str, Any] = {}
        if backend in USUAL_MODELS:
            options["model"] = self.model.text().strip() or USUAL_MODELS[backend]
        for name, field in self._fields_of(backend).items():
            options[name] = field.text().strip() or None  # of what is missing the backend tells
        work = _work(
            self._store,
            channel,
            self._images[channel],
            self._voxel_size_um,
            backend,
            cast("RestorationMode", self.restoration.currentText()),
            self.diameter.value() or None,
            options,
        )
        self.run.setEnabled(False)
        self.bar.show()
        self._began_s = time.monotonic()
        self._clock.start()
        self.job.start(work, "segment")

    def _backend_chosen(self, name: str) -> None:
        self.model.setEnabled(name in USUAL_MODELS)
        for field in (self.weights, self.command):
            field.setEnabled(field in self._fields_of(name).values())

    def _fields_of(self, backend: str) -> dict[str, QLineEdit]:
        """Return the fields of options that a backend has beside the usual ones, by option."""
        if backend == "external":
            return {"command": self.command, "weights": self.weights}
        return {"weights": self.weights} if backend == "cellpose" else {}

    def _tick(self) -> None:
        self.run.setText(f"Finding nuclei, {time.monotonic() - self._began_s:.0f} s")

    def _rest(self) -> None:
        self._clock.stop()
        self.bar.hide()
        self.run.setText("Find nuclei")
        self.run.setEnabled(True)

    def _done(self, found: Found) -> None:
        self._rest()
        said = found.segmentation
        lines = [f"{found.doubts.ids.size} nuclei by {said.backend} in {found.elapsed_s:.1f} s", *said.remarks]
        self.stage.setText("\n".join(lines))
        self.said.emit(lines[0])
        self.found.emit(found)

    def _failed(self, text: str) -> None:
        self._rest()
        self.stage.setText(text)
        self.failed.emit(text)


def _work(
    store: ModelStore,
    channel: str,
    image: NDArray[np.generic],
    voxel_size_um: tuple[float, float, float],
    backend: str,
    restoration: RestorationMode,
    diameter_um: float | None,
    options: Mapping[str, Any],
) -> Callable[[Tell], Found]:
    def work(tell: Tell) -> Found:
        began = time.monotonic()
        told = dict(options)
        if "model" in told:
            tell("opening the network")
            told["weights"] = open_model(store, str(told.pop("model")))
        tell(f"segmenting {image.shape} voxels")
        segmentation = segment_volume(
            image, voxel_size_um, backend, restoration=restoration, diameter_um=diameter_um, **told
        )
        tell("asking which to doubt")
        return Found(channel, segmentation, object_doubts(segmentation, image), time.monotonic() - began)

    return work
