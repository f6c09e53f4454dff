"""A stored run in napari. Its model is asked, without a window: those need OpenGL, which CI's machines lack."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from parfocal.catalog import stop_server
from parfocal.devices import Backend, Microscope
from parfocal.plans import time_lapse
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

# In a process of its own: napari's imports warn, and warnings are errors here.
_LOOK = """
import json, sys
from napari.components import ViewerModel
from parfocal.catalog import open_catalog
from parfocal.gui._view import layers_of, show

viewer = ViewerModel()
with open_catalog(sys.argv[1]) as catalog:
    show(viewer, layers_of(catalog, "newest"))
(layer,) = viewer.layers
seen = []
for frame in range(layer.data.shape[0]):
    viewer.dims.set_point(0, frame)
    seen.append(float(layer._slice.image.raw.max()))
print(json.dumps({"name": layer.name, "shape": layer.data.shape, "scale": list(layer.scale), "seen": seen}))
"""


@pytest.mark.long
@pytest.mark.skipif(find_spec("napari") is None, reason="napari is not installed: parfocal[napari]")
def test_each_frame_of_a_run_is_a_step_of_a_napari_layer(tmp_path):
    session = start_session(tmp_path / "data")
    backend = Backend("bench", CountingSource((48, 64)), InstantStage(), Lamp())
    microscope = session.use(Microscope(name="microscope", backend=backend))
    try:
        session.RE(time_lapse(microscope, 3, 0.0))
        assert session.drain(60)
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _LOOK, str(session.catalog.folder.root)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert said.returncode == 0, said.stderr
        layer = json.loads(said.stdout.splitlines()[-1])
    finally:
        session.close()
        stop_server(session.catalog.folder)
        microscope.destroy()
    pixel_um = microscope.camera.facts.pixel_size_um
    assert layer == {
        "name": "camera",
        "shape": [3, 48, 64],
        "scale": [1.0, *pixel_um],
        "seen": [0.0, 1.0, 2.0],
    }
