"""Draw docs/images/review.png and review-models.png: simulated nuclei under review in napari.

python docs/review_picture.py
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import napari
import numpy as np
from PySide6.QtCore import QEventLoop, QTimer

from parfocal.catalog import DataFolder
from parfocal.gui._nuclei_source import NucleiSource
from parfocal.gui._nuclei_widget import add_nuclei_widget
from parfocal.gui._offscreen import offscreen_gl, picture_of_window
from parfocal.segmentation.generator import Imaging, NucleiRecipe, nuclei_volume


def wait(is_over, longest_s=120.0):
    loop, look = QEventLoop(), QTimer()
    look.timeout.connect(lambda: loop.quit() if is_over() else None)
    look.start(50)
    QTimer.singleShot(int(1000 * longest_s), loop.quit)
    loop.exec()
    look.stop()


def main(path):
    offscreen_gl()
    imaging = Imaging(
        z_step=(2.0, 2.0),
        dead_plane=0.0,
        dim_planes=0.0,
        saturated=0.0,
        peak_photons=(300.0, 400.0),
        haze=(0.0, 0.0),
        background=(0.01, 0.02),
    )
    recipe = NucleiRecipe(shape_zyx=(48, 160, 200), shares={"tissue": 1.0}, imaging=imaging)
    sample = nuclei_volume(4, recipe)
    voxel_um = tuple(float(size) for size in sample.voxel_size_um)
    with tempfile.TemporaryDirectory() as folder:
        data = DataFolder(Path(folder) / "data")
        images = {"nuclei": sample.image}
        source = NucleiSource(
            "simulated", images, "nuclei", voxel_um, Path(folder) / "labels", {"source": "simulated"}
        )
        viewer = napari.Viewer(show=False, title="parfocal: simulated nuclei")
        viewer.window.show()
        widget = add_nuclei_widget(viewer, source, data)
        wait(lambda: False, 0.5)
        viewer.window._qt_window.resize(1500, 820)  # noqa: SLF001  (napari's own keeps to the screen, of which there is none)
        wait(lambda: False, 0.5)
        widget.segment.backend.setCurrentText("watershed")
        widget.segment.start()
        wait(lambda: not widget.segment.job.is_running)
        wait(lambda: False, 0.5)
        panel = widget.review
        for name in ("accept", "delete"):
            panel.buttons[name].click()
        for _ in range(3):
            wait(lambda: False, 0.5)
        middle = np.array(sample.image.shape) / 2
        off = [np.abs(np.array(item.centroid_px) / middle - 1).max() for item in panel.session.queue()]
        panel.table.selectRow(int(np.argmin(off)))
        wait(lambda: False, 0.5)
        picture_of_window(viewer).save(str(path))
        print(path, np.unique(panel.session.labels).size - 1, "nuclei")
        widget.shut()
        viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "review.png")
