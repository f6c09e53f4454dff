"""Stored runs in napari. Its model is asked, without a window; a real one where a screen can be made for it."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from parfocal.callbacks import Nuclei, NucleiParameters, Puncta, PunctaParameters
from parfocal.catalog import open_catalog
from parfocal.devices import Backend, Microscope, simulated_microscope
from parfocal.gui import layers_of
from parfocal.plans import image_puncta, positions, time_lapse
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

needs_napari = pytest.mark.skipif(find_spec("napari") is None, reason="napari is not installed: parfocal[napari]")

# In a process of its own: napari's imports warn, and warnings are errors here.
_LOOK = """
import json, sys
import numpy as np
from napari.components import ViewerModel
from parfocal.catalog import open_catalog
from parfocal.gui import layers_of
from parfocal.gui._view import show

viewer = ViewerModel()
told = {}
with open_catalog(sys.argv[1]) as catalog:
    found = layers_of(catalog, sys.argv[2])
    show(viewer, found)
    told["labels"] = list(viewer.dims.axis_labels)
    for layer in viewer.layers:
        one = told[layer.name] = {"kind": type(layer).__name__, "scale": list(map(float, layer.scale))}
        one["units"] = [str(unit) for unit in layer.units]
        if one["kind"] == "Image":
            one["shape"] = layer.data.shape
        if one["kind"] in ("Points", "Tracks"):
            one["n"] = len(layer.data)
            one["features"] = sorted(layer.features.columns)
    (image, *_) = viewer.layers
    n = image.data.shape[0] if image.data.ndim > 2 else 1
    told["seen"] = []
    for step in range(n):
        viewer.dims.set_current_step(0, step)
        told["seen"].append([
            float(image._slice.image.raw.max()),
            [layer.name for layer in viewer.layers if layer.visible],
            *(int(np.count_nonzero(l._slice.image.raw)) for l in viewer.layers if type(l).__name__ == "Labels"),
        ])
print(json.dumps(told))
"""


def look(folder, uid):
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOOK, str(folder), uid],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


@pytest.fixture
def session(served_folder):
    session = start_session(served_folder.root)
    yield session
    session.close()


@pytest.mark.long
@needs_napari
def test_each_frame_of_a_run_is_a_step_of_a_napari_layer(session):
    backend = Backend("bench", CountingSource((48, 64)), InstantStage(), Lamp())
    microscope = session.use(Microscope(name="microscope", backend=backend))
    (uid,) = session.RE(time_lapse(microscope, 3, 0.0))
    assert session.drain(300)
    pixel_um = microscope.camera.facts.pixel_size_um
    microscope.destroy()
    told = look(session.catalog.folder.root, uid)
    layer = told["camera"]
    assert (told["labels"], layer["shape"]) == (["time_point", "y", "x"], [3, 48, 64])
    assert layer["scale"][1:] == list(pixel_um)
    assert layer["units"] == ["second", "micrometer", "micrometer"]
    assert [seen for seen, *_ in told["seen"]] == [0.0, 1.0, 2.0]


@pytest.fixture(scope="module")
def nuclei_run(served_folder):
    """The uid of two stacks at two positions, with their nuclei found."""
    session = start_session(served_folder.root)
    session.add(Nuclei(NucleiParameters(backend="watershed"), emit=session.writer))
    microscope = session.use(simulated_microscope("microscope", realtime=False, height_px=96, width_px=96))
    (uid,) = session.RE(positions(microscope, [[0, 0], [30, 0]], half_range_um=4.0, step_um=2.0))
    assert session.drain(300)
    session.close()
    microscope.destroy()
    return uid


@pytest.mark.long
def test_labels_lie_on_the_planes_that_they_were_found_in(nuclei_run, served_folder):
    with open_catalog(served_folder) as catalog:
        found = layers_of(catalog, nuclei_run)
        run = catalog.run(nuclei_run)
        (derived,) = catalog.analyses_of(run)
        objects = catalog.read_table(derived.start["uid"], "objects").to_pandas()
        frames, labels, points = found.layers
        raw = np.asarray(run["primary"]["camera"][:])
        z_um = run["primary"]["stage_z"].read()
        volumes = [np.asarray(derived[f"labels_{k}"]["volume"][:]) for k in range(2)]
        assert found.axis_labels == ("position", "plane", "y", "x")
        assert [layer.kind for layer in found.layers] == ["image", "labels", "points"]
        np.testing.assert_array_equal(np.asarray(frames.data), raw.reshape(2, 5, 96, 96))
        np.testing.assert_array_equal(np.asarray(labels.data), np.stack(volumes))
        np.testing.assert_array_equal(labels.data[1, 2:4, 10:20, 5], volumes[1][2:4, 10:20, 5])
        # every object's centroid stands at its position and, in um, at its z
        np.testing.assert_array_equal(points.data[:, 0], objects["position"])
        at_um = points.data * points.options["scale"] + points.options["translate"]
        np.testing.assert_allclose(at_um[:, 1:], objects[["z_um", "y_um", "x_um"]], atol=0.01)
        assert frames.options["scale"][1] == pytest.approx(2.0, abs=0.05)
        assert frames.options["translate"][1] == pytest.approx(float(z_um[0]), abs=0.1)
        # of a derived run that is named, itself; without analyses, frames alone
        assert [one.name for one in layers_of(catalog, derived.start["uid"]).layers][1] == labels.name
        assert len(layers_of(catalog, nuclei_run, with_analyses=False).layers) == 1
        few = layers_of(catalog, nuclei_run, max_points=2)
        assert len(few.layers[2].data) == 2
        assert f"2 of {len(objects):,} objects are shown" in " ".join(few.remarks)


@pytest.fixture(scope="module")
def puncta_run(served_folder):
    session = start_session(served_folder.root)
    session.add(Puncta(PunctaParameters(image="none", drift="none"), emit=session.writer))
    microscope = session.use(
        simulated_microscope("microscope", sample="puncta", realtime=False, height_px=96, width_px=96)
    )
    for axis in (microscope.xyz.x, microscope.xyz.y):
        axis.set(8.0).wait(5)  # onto a cell
    (uid,) = session.RE(image_puncta(microscope, ["puncta", "calcium"], 16, exposure_s=0.05, focus_locked=False))
    assert session.drain(300)
    session.close()
    microscope.destroy()
    return uid


@pytest.mark.long
@needs_napari
def test_napari_takes_labels_spots_and_tracks(nuclei_run, puncta_run, served_folder):
    told = look(served_folder.root, nuclei_run)
    (labels,) = (one for one in told.values() if isinstance(one, dict) and one["kind"] == "Labels")
    assert labels["scale"] == told["camera"]["scale"]
    assert any(n_labelled for *_, n_labelled in told["seen"])
    told = look(served_folder.root, puncta_run)
    kinds = [one["kind"] for one in told.values() if isinstance(one, dict)]
    assert kinds[:4] == ["Image", "Image", "Points", "Tracks"]
    spots = next(one for name, one in told.items() if name.startswith("puncta"))
    assert {"precision_nm", "photons"} <= set(spots["features"])


# The command as users have it; instead of waiting for them, it looks at each plane as its window draws it.
_LOOK_AT_WINDOW = """
import json, sys
import napari, numpy as np
from parfocal.catalog import open_catalog
from parfocal.gui._view import view_command

told = {}

def look():
    viewer = napari.current_viewer()
    told["title"], told["layers"] = viewer.title, [layer.name for layer in viewer.layers]
    frames = np.asarray(viewer.layers[0].data).reshape(-1, 96, 96)
    told["alike"] = []
    for k in range(viewer.layers[0].data.shape[1]):
        viewer.dims.set_current_step(1, k)
        seen = viewer.export_figure(flash=False)[..., :3].mean(axis=2)
        ys, xs = (np.linspace(0, n - 1, 96).round().astype(int) for n in seen.shape)
        shown = seen[np.ix_(ys, xs)]
        told["alike"].append([float(np.corrcoef(shown.ravel(), one.ravel())[0, 1]) for one in frames[:5]])
    viewer.close()

napari.run = look
view_command(sys.argv[2], frames_only=True, labels="", user="", data=sys.argv[1])
print(json.dumps(told))
"""


@pytest.fixture
def screen():
    """Return the environment of a screen of its own."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not on PATH")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        number = server.stdout.readline().strip()
        yield os.environ | {"DISPLAY": f":{number}", "LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"}
    finally:
        server.terminate()
        server.communicate(timeout=20)


@pytest.mark.long
@needs_napari
def test_the_window_draws_the_plane_that_its_slider_stands_at(nuclei_run, served_folder, screen):
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOOK_AT_WINDOW, str(served_folder.root), nuclei_run],
        capture_output=True,
        text=True,
        timeout=400,
        env=screen,
    )
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout.splitlines()[-1])
    assert told["layers"] == ["camera"]
    assert told["title"].startswith("parfocal")
    alike = np.array(told["alike"])
    assert alike.shape == (5, 5)
    assert (alike.argmax(axis=1) == np.arange(5)).all(), alike
    assert (np.diag(alike) > 0.9).all(), alike
