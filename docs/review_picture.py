"""Draw docs/images/review.png and review-models.png: simulated nuclei under review in napari.

python docs/review_picture.py
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from parfocal.gui._offscreen import offscreen_gl, picture_of_window

offscreen_gl()  # before napari is imported

import napari
import numpy as np
from PySide6.QtCore import QEventLoop, QTimer

from parfocal.catalog import DataFolder
from parfocal.gui._nuclei_source import NucleiSource
from parfocal.gui._nuclei_widget import add_nuclei_widget
from parfocal.segmentation.generator import NucleiRecipe, nuclei_volume


def wait(is_over, longest_s=120.0):
    loop, look = QEventLoop(), QTimer()
    look.timeout.connect(lambda: loop.quit() if is_over() else None)
    look.start(50)
    QTimer.singleShot(int(1000 * longest_s), loop.quit)
    loop.exec()
    look.stop()


def main(path):
    sample = nuclei_volume(5, NucleiRecipe(shape_zyx=(24, 192, 192), scene="embryo"))
    voxel_um = tuple(float(size) for size in sample.voxel_size_um)
    with tempfile.TemporaryDirectory() as folder:
        data = DataFolder(Path(folder) / "data")
        images = {"nuclei": sample.image}
        source = NucleiSource("simulated", images, "nuclei", voxel_um, Path(folder) / "c", {"source": "simulated"})
        viewer = napari.Viewer(show=False, title="parfocal: simulated nuclei")
        viewer.window._qt_window.resize(1280, 800)
        viewer.window._qt_window.show()
        widget = add_nuclei_widget(viewer, source, data)
        widget.segment.backend.setCurrentText("watershed")
        widget.segment.start()
        wait(lambda: not widget.segment.job.is_running)
        wait(lambda: False, 0.5)
        panel = widget.review
        for name in ("accept", "delete"):
            panel.buttons[name].click()
        for _ in range(3):
            wait(lambda: False, 0.5)
        viewer.dims.set_point(0, viewer.dims.point[0])
        picture_of_window(viewer).save(str(path))
        print(path, np.unique(panel.session.labels).size - 1, "nuclei")
        widget.shut()
        viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "review.png")
