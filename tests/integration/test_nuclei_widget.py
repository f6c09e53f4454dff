"""Nuclei in a real napari viewer: reviewed, found, learnt from. Without a screen: drawn into memory by Mesa."""

import json
import os
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from parfocal.catalog import DataFolder
from parfocal.files import read_ome_zarr, write_ome_zarr

if find_spec("napari") is None or find_spec("pyqtgraph") is None:
    pytest.skip("napari is not installed: parfocal[napari]", allow_module_level=True)

from parfocal.gui._nuclei_source import NucleiSource, open_source
from parfocal.gui._offscreen import offscreen_gl, picture_of_canvas
from parfocal.segmentation.corrections import ReviewSession

VOXEL = (2.0, 0.5, 0.5)
SHAPE = (8, 64, 96)

# Of napari's own making, on each click: nothing here can mend them.
pytestmark = [
    pytest.mark.long,  # napari takes 7 s to start, and does not share a worker with other Qt programs
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]


def ball(z, y, x, radius_um):
    zz, yy, xx = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return ((zz - z) * 2) ** 2 + ((yy - y) / 2) ** 2 + ((xx - x) / 2) ** 2 < radius_um**2


ONE, TWIN_A, TWIN_B, MISSED = ball(4, 16, 16, 6), ball(4, 40, 30, 5), ball(4, 40, 48, 5), ball(4, 30, 80, 5)


@pytest.fixture(scope="module")
def viewer():
    if not offscreen_gl():
        pytest.skip("no OpenGL without a screen here: libEGL of Mesa is missing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari's imports warn
        import napari

        shown = napari.Viewer(show=False)
    yield shown
    with suppress(RuntimeError):
        shown.close()


def scene():
    """Raw pixels, and labels with four mistakes: twins as one, one in halves, one that is none, one missed."""
    image = 100 + 800 * (ONE | TWIN_A | TWIN_B | MISSED)
    image = np.random.default_rng(0).poisson(image).astype(np.uint16)
    labels = np.zeros(SHAPE, np.int32)
    labels[TWIN_A | TWIN_B] = 1
    labels[ONE] = 2
    labels[ONE & (np.arange(SHAPE[2]) >= 16)] = 3
    labels[3:5, 56:60, 8:14] = 4
    return image, labels


@pytest.fixture(scope="module")
def window(viewer, tmp_path_factory):
    from parfocal.gui._nuclei_widget import add_nuclei_widget

    data = DataFolder(tmp_path_factory.mktemp("nuclei") / "data")
    image, _ = scene()
    corrected = data.root / "corrected.ome.zarr"
    source = NucleiSource("a scene", {"dapi": image}, "dapi", VOXEL, corrected, {"source": "a-run"})
    shown = add_nuclei_widget(viewer, source, data)
    yield shown
    shown.shut()


@pytest.fixture
def widget(window, request):
    """The one window, a review of the scene begun anew in it."""
    image, labels = scene()
    about = {"source": request.node.name, "user": "someone"}
    window.open(ReviewSession(labels, image, VOXEL, window.journal, **about), window.source.corrected)
    return window


def wait(is_over, longest_s=20.0):
    from PySide6.QtCore import QEventLoop, QTimer

    loop, look = QEventLoop(), QTimer()
    look.timeout.connect(lambda: loop.quit() if is_over() else None)
    look.start(10)
    QTimer.singleShot(int(1000 * longest_s), loop.quit)
    loop.exec()
    look.stop()
    assert is_over()


def kinds(widget):
    return [made.kinds[0].value for made in widget.review.session.corrections()]


def test_layers_lie_on_each_other_in_um(viewer, widget):
    names = [layer.name for layer in viewer.layers]
    assert names == ["dapi", "doubt", "objects", "selected", "draw here", "points"]
    assert all(tuple(layer.scale) == VOXEL for layer in viewer.layers)
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"micrometer"}


def test_the_queue_is_that_of_the_terminal_and_a_row_turns_to_its_object(viewer, widget):
    panel = widget.review
    asked = [item.object_id for item in panel.session.queue()]
    shown = [int(panel.table.item(row, 0).text()) for row in range(panel.table.rowCount())]
    assert shown == asked
    assert len(asked) == 4
    row = asked.index(4)
    panel.table.clearSelection()
    viewer.scene.camera.zoom = 0.5  # far off
    panel.table.selectRow(row)
    assert panel.selected == [4]
    z, y, x = panel.session.item(4).centroid_px
    assert tuple(viewer.scene.camera.center)[1:] == pytest.approx((y * 0.5, x * 0.5))
    assert viewer.scene.camera.zoom > 5.0
    assert viewer.dims.current_step[0] in (int(z), int(z) + 1)
    assert viewer.layers["selected"].data.any()


def test_doubt_is_seen_until_an_object_was_reviewed(viewer, widget):
    panel = widget.review
    (first,) = panel.selected
    heat = viewer.layers["doubt"]
    assert heat.data[panel.session.labels == first].min() > 0
    panel.buttons["accept"].click()
    assert heat.data[panel.session.labels == first].max() == 0
    assert panel.selected != [first]
    assert kinds(widget) == ["accept"]


def test_one_click_each_mends_what_a_model_did_wrong(viewer, widget):
    panel = widget.review
    labels = viewer.layers["objects"].data
    panel.pick(1)
    viewer.layers["points"].data = [(4, 40, 30), (4, 40, 48)]
    panel.buttons["split"].click()
    assert labels[4, 40, 30] != labels[4, 40, 48]
    assert not len(viewer.layers["points"].data)
    panel.pick(2)
    panel.pick(3, extend=True)
    panel.buttons["merge"].click()
    assert set(np.unique(labels[ONE])) == {2}
    panel.pick(4)
    panel.buttons["delete"].click()
    assert not (labels == 4).any()
    panel.points.click()
    viewer.layers["points"].data = [(4, 30, 80)]
    panel.buttons["add"].click()
    found = labels == labels[4, 30, 80]
    assert (found & MISSED).sum() / (found | MISSED).sum() > 0.8
    assert kinds(widget) == ["split", "merge", "delete", "add"]
    assert {made.user for made in widget.review.session.corrections()} == {"someone"}
    lines = (widget.journal.folder / "journal.jsonl").read_text().splitlines()[-4:]
    written = [json.loads(json.loads(line)["entry"])["correction"] for line in lines]
    assert [one["kinds"][0] for one in written] == kinds(widget)


def test_what_is_painted_becomes_an_object(viewer, widget):
    panel = widget.review
    panel.paint.click()
    layer = viewer.layers["draw here"]
    assert viewer.layers.selection.active is layer
    layer.brush_size = 12
    for z in (3, 4, 5):
        layer.paint((z, 30, 80), 1)
    panel.buttons["add"].click()
    labels = viewer.layers["objects"].data
    assert set(np.unique(labels[3:6, 30, 80])) == {labels.max()}
    assert not layer.data.any()
    assert kinds(widget) == ["add"]


def test_redraw_begins_with_the_shape_of_the_object(viewer, widget):
    panel = widget.review
    panel.pick(4)
    panel.buttons["redraw"].click()
    layer = viewer.layers["draw here"]
    assert (layer.data == 1).sum() == 2 * 4 * 6
    layer.data[3:5, 56:60, 14:18] = 1
    panel.buttons["redraw"].click()
    labels = viewer.layers["objects"].data
    assert (labels == 4).sum() == 2 * 4 * 10
    assert kinds(widget) == ["modify"]


def test_undo_gives_back_what_was_there(viewer, widget):
    panel = widget.review
    before = panel.session.labels.copy()
    panel.pick(1)
    panel.buttons["delete"].click()
    assert (viewer.layers["objects"].data != before).any()
    panel.buttons["undo"].click()
    assert (viewer.layers["objects"].data == before).all()
    assert kinds(widget) == []
    panel.buttons["undo"].click()
    assert "nothing to undo" in widget.line.text()


def test_labels_cannot_be_painted_past_the_journal(viewer, widget):
    assert not viewer.layers["objects"].editable


def test_the_canvas_shows_them(viewer, widget):
    panel = widget.review
    panel.pick(1)
    viewer.layers["doubt"].visible = False
    with_it = picture_of_canvas(viewer).astype(int)
    panel.buttons["delete"].click()
    assert np.abs(picture_of_canvas(viewer).astype(int) - with_it).max() > 50


def test_corrected_labels_are_written_and_a_later_session_goes_on(widget, request):
    panel = widget.review
    panel.pick(4)
    panel.buttons["delete"].click()
    panel.save.click()
    wait(lambda: "written" in widget.line.text())
    labels, voxel_um = read_ome_zarr(widget.source.corrected)
    assert voxel_um == VOXEL
    assert (labels == panel.session.labels).all()
    image, drawn = scene()
    again = ReviewSession(drawn, image, VOXEL, widget.journal, source=request.node.name)
    assert (again.labels == labels).all()


def test_nuclei_are_found_in_a_thread_and_come_up_for_review(viewer, widget):
    panel = widget.segment
    panel.backend.setCurrentText("watershed")
    panel.diameter.setValue(10.0)
    panel.run.click()
    assert panel.job.is_running
    assert not panel.run.isEnabled()
    wait(lambda: not panel.job.is_running)
    labels = viewer.layers["objects"].data
    assert labels[4, 40, 30] != labels[4, 40, 48] != 0
    assert labels[4, 30, 80] > 0
    assert widget.tabs.currentWidget() is widget.review
    assert widget.review.table.rowCount() == len(np.unique(labels)) - 1
    assert [layer.name for layer in viewer.layers].count("objects") == 1
    widget.review.buttons["accept"].click()
    assert [made.source for made in widget.review.session.corrections()] == ["a-run"]


PROGRAM = """
import json, sys
import numpy as np
import tensorstore as ts
from scipy import ndimage

def store(path, **how):
    return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path + "/0"}}, **how).result()

given, left = sys.argv[1:]
labels = ndimage.label(store(given).read().result() > 500)[0].astype(np.uint16)
store(left, create=True, dtype=ts.uint16, shape=labels.shape).write(labels).result()
told = json.load(open(given + "/zarr.json"))["attributes"]["ome"]["multiscales"][0]
ome = {"version": "0.5", "multiscales": [told]}
json.dump({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}, open(left + "/zarr.json", "w"))
"""


def test_another_program_is_told_by_its_command_and_its_nuclei_come_up(viewer, widget, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    panel = widget.segment
    panel.backend.setCurrentText("external")
    assert (panel.model.isEnabled(), panel.weights.isEnabled(), panel.command.isEnabled()) == (False, True, True)
    panel.command.setText(f"{sys.executable} {program} {{input}} {{output}}")
    panel.run.click()
    wait(lambda: not panel.job.is_running)
    assert panel.stage.text().splitlines()[0].startswith("3 nuclei by external"), panel.stage.text()
    assert viewer.layers["objects"].data[4, 30, 80] > 0
    panel.command.clear()


def test_cellpose_takes_the_file_that_is_named(widget, tmp_path):
    pytest.importorskip("cellpose", reason="Cellpose is not installed: parfocal[cellpose]")
    panel = widget.segment
    panel.backend.setCurrentText("cellpose")
    assert (panel.model.isEnabled(), panel.weights.isEnabled(), panel.command.isEnabled()) == (False, True, False)
    for path, said in (
        ("", "no weights were named"),
        (str(tmp_path / "gone"), f"{tmp_path / 'gone'}: no such file"),
    ):
        panel.weights.setText(path)
        panel.run.click()
        wait(lambda: not panel.job.is_running)
        assert said in panel.stage.text()
    panel.weights.clear()
    panel.backend.setCurrentText("watershed")
    assert not panel.weights.isEnabled()


def test_what_goes_wrong_is_one_line_and_the_window_goes_on(widget):
    panel = widget.segment
    panel.backend.setCurrentText("external")  # asked without a command
    panel.run.click()
    wait(lambda: not panel.job.is_running)
    assert widget.line.text()
    assert "\n" not in widget.line.text()
    assert panel.run.isEnabled()


def test_a_folder_of_segment_is_opened_with_its_doubts(tmp_path):
    data = DataFolder(tmp_path / "data")
    image, labels = scene()
    raw, folder = tmp_path / "stack.ome.zarr", tmp_path / "stack_nuclei"
    write_ome_zarr(raw, image, VOXEL)
    folder.mkdir()
    write_ome_zarr(folder / "labels.ome.zarr", labels, VOXEL)
    rows = ["id,z_um,y_um,x_um,doubt,reasons"]
    rows += [
        f"{k},4,{k},{k},{doubt},{why}" for k, doubt, why in ((1, 0.2, ""), (2, 0.9, "odd; dim"), (3, 0.1, ""))
    ]
    (folder / "objects.csv").write_text("\n".join([*rows, "4,4,4,4,0.3,"]))
    (folder / "summary.json").write_text(json.dumps({"source": str(raw), "model_hash": None}))
    opened = open_source(folder, data, "someone")
    first = opened.session.queue(1)[0]
    assert (first.object_id, first.reasons) == (2, ("odd", "dim"))
    assert opened.voxel_size_um == VOXEL
    assert open_source(raw, data).about["source"] == opened.about["source"]


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: parfocal[torch]")
def test_the_history_of_a_model_is_shown_and_goes_back(widget):
    from parfocal.learning import ModelCard, UNetShape, build_unet

    shape = UNetShape(dims=2, n_in=1, n_out=4, widths=(4, 8))
    net = build_unet(shape)
    for version in ("first", "second"):
        with_metrics = {"corrections_ap50_before": 0.5, "corrections_ap50": 0.75}
        card = ModelCard("mine", version, shape.as_architecture(), "", metrics=with_metrics, made=version)
        for parameter in net.parameters():
            parameter.data += 1.0
        widget.store.add(net.state_dict(), card)
        widget.store.promote("mine", version)
    panel = widget.models
    panel.refresh()
    panel.name.setCurrentText("mine")
    rows = {
        panel.table.item(row, 0).text(): panel.table.item(row, 4).text() for row in range(panel.table.rowCount())
    }
    assert rows == {"first": "", "second": "in use"}
    assert panel.table.item(0, 3).text() == "0.500 → 0.750"
    assert "promoted second" in panel.history.toPlainText().splitlines()[0]
    n_made = len(widget.journal.corrections())
    assert f"{n_made} new corrections" in panel.ready.text()
    panel.rollback.click()
    assert widget.store.find("mine").version == "first"
    panel.table.selectRow(1)
    panel.promote.click()
    assert widget.store.find("mine").version == "second"
    assert "mine" in widget.line.text()


@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: parfocal[torch]")
def test_a_run_is_opened_corrected_and_learnt_from_in_its_panel(viewer, tmp_path, window):
    """As somebody does it who never leaves napari; the network is a small one, and learns little."""
    from parfocal.callbacks import replay
    from parfocal.catalog import open_catalog, stop_server
    from parfocal.devices import simulated_microscope
    from parfocal.gui._nuclei_source import open_run
    from parfocal.gui._nuclei_widget import NucleiWidget
    from parfocal.learning import ModelCard, UNetShape, build_unet
    from parfocal.plans import z_stack
    from parfocal.session import start_session

    session = start_session(tmp_path)
    microscope = session.use(simulated_microscope("microscope", realtime=False, height_px=192, width_px=192))
    session.RE(z_stack(microscope, 4.0, 1.0))
    session.close()
    microscope.destroy()
    with open_catalog(tmp_path) as catalog:
        replay(["newest"], "nuclei", {"backend": "watershed", "diameter_um": 9.0}, catalog=catalog)
        source = open_run(catalog.folder, "newest", user="someone")
        stop_server(catalog.folder)
    viewer.layers.clear()
    widget = NucleiWidget(viewer, source, catalog.folder)
    shape = UNetShape(dims=2, n_out=4, widths=(4, 8), norm="batch")
    card = ModelCard("nuclei2d", "1", shape.as_architecture(), "", recipe={"diameter_px": 18.0})
    widget.store.add(build_unet(shape).state_dict(), card)
    widget.store.promote("nuclei2d", "1")
    review = widget.review
    queue = [item.object_id for item in review.session.queue()]
    assert queue
    for _ in queue:
        review.buttons["accept"].click()
    # So few may all be learnt from, and none kept to judge by: nuclei are added until there are both.
    from parfocal.segmentation.corrections._sides import held_out_ids

    labels, k = review.session.labels, 0
    while not 0 < len(held_out_ids(review.session.journal, 0.25)) < len(review.session.corrections()):
        free = np.argwhere(labels[4] == 0)[k::97]
        mask = np.zeros(labels.shape, bool)
        y, x = free[0]
        mask[3:6, y : y + 6, x : x + 6] = True
        review.session.add(mask & (labels == 0))
        k += 1
    assert {made.user for made in review.session.corrections()} == {"someone"}
    models = widget.models
    models.refresh()
    models.name.setCurrentText("nuclei2d")
    models.steps.setValue(3)
    models.start.click()
    assert models.cancel.isEnabled()
    wait(lambda: not models.job.is_running, 400.0)
    assert "promoted" in models.verdict.text()
    made = widget.store.models("nuclei2d")
    versions = {models.table.item(row, 0).text() for row in range(models.table.rowCount())}
    assert {one.version for one in made} == versions
    retrained = [one for one in made if "retraining" in one.card.recipe]
    assert len(retrained) == 1
    assert set(retrained[0].card.data) == {one.id for one in review.session.corrections()}
    assert models.start.isEnabled()
    assert len(models.curve.getData()[0]) == 3
    widget.shut()
