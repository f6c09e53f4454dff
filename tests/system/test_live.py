"""The live window, driven as people drive it: real clicks, a simulated microscope in real time, a real catalog."""

import json
import os
import sys
import threading
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from bluesky import RunEngine

from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.errors import BadInputError
from parfocal.focus import save_calibration, save_sweep
from parfocal.plans import calibrate_focus
from parfocal.session import start_session

if find_spec("PySide6") is None or find_spec("pyqtgraph") is None:
    pytest.skip("PySide6 and pyqtgraph are not installed: parfocal[gui]", allow_module_level=True)

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QPointF, Qt, QTimer
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from shiboken6 import isValid

from parfocal.gui import live_command
from parfocal.gui._live import open_microscope
from parfocal.gui._live_settings import LiveSettings, load_settings
from parfocal.gui._live_window import LiveWindow

BEAD_PX = (29, 19, 17, 17)  # the brightest that stands alone in the simulated world of seed 0
TOLERANCE_UM = 0.06


@pytest.fixture(scope="module")
def application():
    return QApplication.instance() or QApplication([])


@pytest.fixture(scope="module")
def bench(application, tmp_path_factory):
    session = start_session(tmp_path_factory.mktemp("data"), in_thread=True)
    microscope = session.use(simulated_microscope("microscope"))
    microscope.focus_camera.exposure_s.put(0.01)
    yield SimpleNamespace(session=session, m=microscope, core=microscope.backend.camera.world)
    microscope.destroy()
    session.close(30)
    stop_server(session.catalog.folder)


@pytest.fixture
def window(bench):
    """A window at the focus of now, with a quick sweep; whatever a test leaves running ends with it."""
    bench.m.lock.release()
    move = bench.m.xyz.z.set(bench.m.xyz.z.position + bench.core.true_defocus_um())
    until(lambda: move.done)
    window = LiveWindow(bench.session, bench.m, BEAD_PX)
    form = window.controls.sweep_form.fields
    form["n_steps"].setValue(21)
    form["half_range_um"].setValue(0.6)
    form["bidirectional"].setChecked(False)
    window.show()
    until(lambda: window.image.image.n_painted > 2)
    yield window
    close(window)


def close(window):
    if not isValid(window):  # a test has closed it
        return
    window.close()
    window.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def until(condition, timeout_s=45.0, why=lambda: ""):
    for _ in range(int(timeout_s / 0.02)):
        if condition():
            return
        QTest.qWait(20)
    raise AssertionError(f"waited {timeout_s:g} s in vain; {why()}")


def wait(window, condition, timeout_s=45.0):
    until(condition, timeout_s, window.events.toPlainText)


def click(button):
    assert button.isEnabled(), f"{button.text()} can be pressed"
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def calibrate(window):
    click(window.controls.calibrate)
    assert window.live.doing == "calibrate"
    wait(window, lambda: not window.live.doing)
    QTest.qWait(50)  # what the engine's thread said last is on its way
    assert window.live.review is not None, window.events.toPlainText()


def calibrated(window):
    """Calibrate, unless a test before has."""
    if window.microscope.lock.armed is None:
        calibrate(window)
        click(window.calibration.accept)


def drag_roi(window, by_x_px, by_y_px):
    """Take the region by its middle and drag it over the image, as a hand does."""
    image, view = window.image, window.image.graphics
    y, x, height, width = image.roi_px
    start = QPointF(x + width / 2, y + height / 2)
    places = [start + QPointF(by_x_px * k / 10, by_y_px * k / 10) for k in range(11)]
    spots = [view.mapFromScene(image.image.mapToScene(place)) for place in places]

    def send(kind, spot, button, buttons):
        at = QPointF(spot)
        whole = QPointF(view.viewport().mapToGlobal(spot))
        event = QMouseEvent(kind, at, whole, button, buttons, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(view.viewport(), event)
        QTest.qWait(20)

    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    send(QEvent.Type.MouseMove, spots[0], none, none)
    send(QEvent.Type.MouseButtonPress, spots[0], left, left)
    for spot in spots:
        send(QEvent.Type.MouseMove, spot, none, left)
    send(QEvent.Type.MouseButtonRelease, spots[-1], left, none)


def test_a_window_may_stay_open_for_days(window):
    """A binding that gives back references to None, not its own, ends the process: PySide6 6.12 did so."""
    painted, before = window.image.image.n_painted, sys.getrefcount(None)
    until(lambda: window.image.image.n_painted > painted + 60)
    assert sys.getrefcount(None) > before - 60


def test_autofocus_before_a_calibration_says_what_to_do(window):
    if window.microscope.lock.armed is not None:
        pytest.skip("another test in this process has calibrated")
    click(window.controls.start)
    assert "press Calibrate, then Accept" in window.complaint.text()
    assert "\n" not in window.complaint.text()
    assert not window.live.doing


@pytest.mark.long
def test_a_rejected_calibration_leaves_the_lock_as_it_was(window):
    before = window.microscope.lock.armed
    calibrate(window)
    assert window.calibration.accept.isEnabled()
    refused = window.live.review
    click(window.calibration.reject)
    assert window.microscope.lock.armed is before
    assert not window.calibration.accept.isEnabled()
    with pytest.raises(BadInputError):
        window.microscope.lock.calibrations.find(refused.sha256[:12])


@pytest.mark.long
def test_a_kicked_stage_comes_back(window, bench):
    calibrate(window)
    click(window.calibration.accept)
    assert window.microscope.lock.armed is not None
    click(window.controls.start)
    wait(window, lambda: bench.m.lock.state.get() == "LOCKED")
    QTest.qWait(300)
    held_um = bench.core.true_defocus_um()
    stage_um = bench.m.xyz.z.position
    click(window.controls.kick)
    wait(window, lambda: abs(bench.core.true_defocus_um() - held_um) < TOLERANCE_UM, 20)
    assert abs(bench.m.xyz.z.position - stage_um + 0.3) < 0.1, "the stage has made good for the jump"
    wait(window, lambda: bench.m.lock.state.get() == "LOCKED", 20)
    assert window.diagnostics.latest["photons"] > 0
    click(window.controls.stop)
    wait(window, lambda: not window.live.doing)
    assert not bench.m.lock.is_engaged
    assert bench.m.xyz.z.leased_to == ""
    assert bench.session.drain(30)
    run = bench.session.catalog.raw[-1]
    assert run.metadata["start"]["plan_name"] == "lock_focus"
    assert run.metadata["stop"]["exit_status"] == "success"
    assert (window.live.folder / "calibration_sweep.csv").is_file()
    wait(window, lambda: "wrote autofocus_run_report.json" in window.events.toPlainText())
    report = json.loads((window.live.folder / "autofocus_run_report.json").read_text())
    assert report["run"]["uid"] == run.metadata["start"]["uid"]
    assert report["exposure_s"] == pytest.approx(0.01)
    assert report["states"]["LOCKED"] > 0
    assert report["summary"]["n_frames"] == len(run["lock"].read()["lock_frame"])
    assert "<svg" in (window.live.folder / "autofocus_run_report.html").read_text()
    accepted = bench.m.lock.armed.sha256
    window.live.load(window.live.folder / "calibration_sweep.csv", BEAD_PX)
    assert bench.m.lock.armed.sha256 != accepted, "armed with what the CSV says, which holds no pictures"
    log = (window.live.folder / "autofocus_events.log").read_text()
    assert "kicked the stage" in log
    assert "lock LOCKED" in log


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A calibration of the simulated light path; nobody looks on, so no time has to pass."""
    microscope = simulated_microscope("microscope", realtime=False)
    folder = tmp_path_factory.mktemp("swept")
    microscope.focus_camera.frames_root = microscope.lock.calibrations = folder
    RunEngine()(calibrate_focus(microscope, exposure_s=0.01, settle_s=0.0))
    made = microscope.lock.armed.calibration
    microscope.destroy()
    save_calibration(folder / "calibration.json", made)
    save_sweep(folder / "calibration_sweep.csv", made, created_at_unix_s=0.0)
    return folder


def start_document_of_a_lock(window, bench):
    """Start autofocus as it is set, and end it at once."""
    click(window.controls.start)
    wait(window, lambda: bench.m.lock.is_engaged)
    click(window.controls.stop)
    wait(window, lambda: not window.live.doing)
    assert bench.session.drain(30)
    return bench.session.catalog.raw[-1].metadata["start"]


@pytest.mark.parametrize(
    ("file", "law", "told", "measure"),
    [
        ("calibration.json", "kalman", "auto", "direct"),
        ("calibration.json", "pi", "auto", "widths"),
        ("calibration_sweep.csv", "kalman", "auto", "widths"),
        ("calibration_sweep.csv", "kalman", "direct", "direct"),
    ],
)
def test_the_measure_is_the_one_that_parfocal_lock_takes_unless_one_is_chosen(
    file, law, told, measure, window, bench, swept
):
    window.load(swept / file)
    window.controls.lock_form.fields["law"].setCurrentText(law)
    assert window.controls.lock_form.fields["measure"].currentText() == "auto"
    window.controls.lock_form.fields["measure"].setCurrentText(told)
    args = start_document_of_a_lock(window, bench)["plan_args"]
    window.controls.lock_form.fields["measure"].setCurrentText("auto")
    assert (args["law"], args["measure"]) == (law, measure)


def test_light_and_background_of_the_fields_are_those_of_the_lock(window, bench, swept):
    window.load(swept / "calibration.json")
    fields = window.controls.lock_form.fields
    assert fields["background_percentile"].text() == "the border's"
    fields["background_percentile"].setValue(20)
    click(window.controls.start)
    assert "choose moments, or leave the background to the border" in window.complaint.text()
    fields["measure"].setCurrentText("moments")
    fields["min_roi_intensity_fraction"].setValue(0.35)
    args = start_document_of_a_lock(window, bench)["plan_args"]
    assert args["measure"] == "moments"
    assert args["settings"]["background_percentile"] == 20
    assert args["settings"]["min_roi_intensity_fraction"] == 0.35
    close(window)
    again = LiveWindow(bench.session, bench.m)
    try:
        assert again.settings.background_percentile == 20
        assert again.settings.min_roi_intensity_fraction == 0.35
        again.controls.lock_form.fields["background_percentile"].setValue(-5)
        assert again.settings.background_percentile is None, "one step below 0 is the border's again"
    finally:
        close(again)
        (again.live.folder / "autofocus_gui_settings.json").unlink()


def test_a_calibration_csv_of_another_pixel_size_is_refused_in_one_line(window, swept, tmp_path):
    table = tmp_path / "calibration_sweep.csv"
    table.write_bytes((swept / table.name).read_bytes())
    meta = json.loads((swept / "calibration_sweep.meta.json").read_text())
    (tmp_path / "calibration_sweep.meta.json").write_text(json.dumps(meta | {"pixel_size_um": 0.2}))
    before = window.microscope.lock.armed
    with pytest.raises(BadInputError, match=r"pixel size was 0\.2 um and is 0\.108 um") as told:
        window.load(table)
    assert "\n" not in str(told.value)
    assert window.microscope.lock.armed is before
    del meta["pixel_size_um"]  # as Focus Feedback leaves it: then it is the camera's
    (tmp_path / "calibration_sweep.meta.json").write_text(json.dumps(meta))
    window.load(table)
    assert window.microscope.lock.armed.calibration.facts.pixel_size_um == pytest.approx(0.108)


def test_a_calibration_csv_is_fitted_with_the_model_in_the_window(window, swept):
    window.controls.sweep_form.fields["model"].setCurrentText("poly2")
    window.load(swept / "calibration_sweep.csv")
    assert window.microscope.lock.armed.calibration.kind == "poly2"
    window.controls.sweep_form.fields["model"].setCurrentText("zhuang")
    window.controls.sweep_form.fields["expected_slope"].setCurrentText("negative")
    with pytest.raises(BadInputError, match="negative was expected"):
        window.load(swept / "calibration_sweep.csv")
    window.controls.sweep_form.fields["expected_slope"].setCurrentText("auto")


def test_the_region_is_put_round_a_bead(window):
    window.image.set_roi((80, 80, 17, 17))
    click(window.controls.find_bead)
    y, x, _, _ = window.image.roi_px
    pixels = window.image.pixels[y : y + 17, x : x + 17].astype(float)
    assert pixels[5:12, 5:12].mean() > 1.5 * pixels[0].mean(), "bright in the middle, dark at the border"
    assert window.settings.roi_px == window.image.roi_px


def test_a_cancelled_sweep_puts_z_back(window, bench):
    before_um = bench.m.xyz.z.position
    click(window.controls.calibrate)
    wait(window, lambda: window.controls.progress.value() >= 2)
    click(window.controls.cancel)
    wait(window, lambda: not window.live.doing)
    assert abs(bench.m.xyz.z.position - before_um) < 0.02
    assert window.live.review is None
    assert window.complaint.text() == ""
    assert bench.session.drain(30)
    assert bench.session.catalog.raw[-1].metadata["stop"]["exit_status"] == "abort"


def test_what_is_fitted_is_where_the_region_was_dragged_to(window, bench):
    y, x, height, width = window.image.roi_px
    drag_roi(window, 40, 25)
    moved = window.image.roi_px
    assert abs(moved[0] - (y + 25)) <= 2
    assert abs(moved[1] - (x + 40)) <= 2
    assert moved[2:] == (height, width)
    click(window.controls.calibrate)
    wait(window, lambda: window.controls.progress.value() >= 1)
    click(window.controls.cancel)
    wait(window, lambda: not window.live.doing)
    assert bench.session.drain(30)
    start = bench.session.catalog.raw[-1].metadata["start"]
    assert tuple(start["plan_args"]["roi_px"]) == moved


def test_settings_are_there_again_after_a_restart(window, bench):
    window.controls.lock_form.fields["max_step_um"].setValue(0.125)
    window.controls.sweep_form.fields["n_steps"].setValue(33)
    window.image.colormap.setCurrentText("viridis")
    click(window.image.auto_levels)
    window.image.high_adu.setValue(777)
    drag_roi(window, 20, 10)
    dragged = window.image.roi_px
    close(window)
    again = LiveWindow(bench.session, bench.m)
    try:
        assert again.controls.lock_form.fields["max_step_um"].value() == 0.125
        assert again.controls.sweep_form.fields["n_steps"].value() == 33
        assert again.image.colormap.currentText() == "viridis"
        assert not again.image.auto_levels.isChecked()
        assert again.image.high_adu.value() == 777
        assert again.image.roi_px == dragged
    finally:
        close(again)
        (again.live.folder / "autofocus_gui_settings.json").unlink()


@pytest.mark.long
def test_a_closed_window_has_released_the_lock(window, bench):
    calibrated(window)
    click(window.controls.start)
    wait(window, lambda: bench.m.lock.state.get() == "LOCKED")
    close(window)
    assert not bench.m.lock.is_engaged
    assert bench.m.xyz.z.leased_to == ""
    assert bench.session.RE.state == "idle"
    assert not bench.m.focus_camera.feed.is_running
    assert bench.session.drain(30)
    assert bench.session.catalog.raw[-1].metadata["stop"]["exit_status"] == "success"


def test_the_stage_goes_home_and_to_the_middle(window, bench):
    home_um = window.live.home_um
    click(window.controls.center)
    wait(window, lambda: not window.live.doing)
    assert abs(bench.m.xyz.z.position) < 0.02
    QTest.qWait(50)
    click(window.controls.home)
    wait(window, lambda: not window.live.doing)
    assert abs(bench.m.xyz.z.position - home_um) < 0.02


def test_the_command_opens_a_window_and_leaves_nothing_behind(application, bench, tmp_path):
    seen = []

    def look():
        for window in application.topLevelWidgets():
            # One that an earlier test closed may still be there.
            if isinstance(window, LiveWindow) and window.isVisible() and window.image.image.n_painted > 2:
                seen.append((window.complaint.text(), window.microscope.focus_camera.facts.settings.exposure_s))
                window.close()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    root = bench.session.catalog.folder.root
    missing = tmp_path / "none.csv"
    live_command(data=root, exposure_ms=5.0, calibration_csv=missing, allow_missing_calibration=True)
    timer.stop()
    assert seen[0] == (f"{missing}: calibration not found; draw the ROI round a bead and calibrate", 0.005)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not [t.name for t in threading.enumerate() if t.name in ("live-engine", "live-frames")]


def test_spoilt_settings_are_told_in_a_line_and_left_out(tmp_path):
    path = tmp_path / "autofocus_gui_settings.json"
    assert load_settings(tmp_path) == LiveSettings()
    for spoilt in (
        "{",
        "[]",
        json.dumps({"kp": "high"}),
        json.dumps({"exposure_ms": "long"}),
        json.dumps({"roi_px": [1, 2]}),
    ):
        path.write_text(spoilt)
        with pytest.raises(BadInputError, match="the defaults are used") as told:
            load_settings(tmp_path)
        assert "\n" not in str(told.value)


def test_a_calibration_that_is_not_there_is_told_before_anything_opens(tmp_path):
    with pytest.raises(BadInputError, match="--allow-missing-calibration"):
        live_command(calibration_csv=tmp_path / "none.csv", data=tmp_path)
    with pytest.raises(BadInputError, match="expected one of simulate, orca"):
        open_microscope("webcam")
    with pytest.raises(BadInputError, match="no option 'colour'"):
        open_microscope("simulate", camera_values={"colour": 3})
    with pytest.raises(BadInputError, match="NAME=VALUE"):
        live_command(camera_option=["seed"], data=tmp_path)
    with pytest.raises(BadInputError, match="--roi"):
        live_command(roi="1,2", data=tmp_path)
