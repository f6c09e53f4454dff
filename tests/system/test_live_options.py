"""What the live window is told: by its options, by `--show-live` of other commands, and by what it remembers."""

import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import typer

from parfocal.cli import commands
from parfocal.cli._focus_live import _NO_PLACE, _NO_PLACE_OF
from parfocal.gui import live_command

if find_spec("PySide6") is None or find_spec("pyqtgraph") is None:
    pytest.skip("PySide6 and pyqtgraph are not installed: parfocal[gui]", allow_module_level=True)

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QApplication

from parfocal.gui._live_window import LiveWindow

_SETTINGS = """
lock_tolerance_um: 0.03
ki: 0.4
track_deadband_px: 2.5
"""


@pytest.fixture(scope="module")
def application():
    return QApplication.instance() or QApplication([])


@pytest.fixture
def opened(application, parfocal, data):
    """`opened("lock", "--show-live", ...)`: run a command, look at the window that it opens, close it."""
    (data / "autofocus_gui_settings.json").unlink(missing_ok=True)

    def run(*arguments, do=lambda window: None):
        seen = []

        def look():
            for window in application.topLevelWidgets():
                if isinstance(window, LiveWindow) and window.isVisible() and window.image.image.n_painted > 2:
                    do(window)
                    seen.append(
                        SimpleNamespace(
                            fields={
                                name: value
                                for form in ("sweep_form", "lock_form", "shown_form")
                                for name, value in getattr(window.controls, form).values().items()
                            },
                            settings=window.settings,
                            others=dict(window.told.others),
                            roi_px=window.image.roi_px,
                            exposure_s=window.microscope.focus_camera.facts.settings.exposure_s,
                            shown_ms=window.controls.exposure_ms.value(),
                            world=window.microscope.backend.name,
                            events=window.events.toPlainText(),
                        )
                    )
                    window.close()

        timer = QTimer()
        timer.timeout.connect(look)
        timer.start(50)
        said = parfocal(*arguments, "--data", data)
        timer.stop()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        assert said.code == 0, said.err
        (window,) = seen
        return window

    return run


def test_show_live_hands_all_of_a_lock_to_the_window(opened, tmp_path):
    (tmp_path / "lock.yml").write_text(_SETTINGS)
    window = opened(
        "lock", "--show-live", "--loop-hz", 40, "--kp", 0.7, "--max-step", 0.125, "--command-deadband-um", 0.0005,
        "--af-max-excursion-um", 3, "--beads", 2, "--no-track-roi", "--track-roi-xy", 19, 29, 15, 15,
        "--track-gain", 0.3, "--track-max-step-px", 6, "--no-gaussian-fit", "--background-percentile", 20,
        "--min-roi-intensity-fraction", 0.3, "--engage-timeout-s", 12, "--settings", tmp_path / "lock.yml",
        "--calibration-model", "poly2", "--calibration-half-range-um", 0.6, "--calibration-steps", 31,
        "--calibration-expected-slope", "positive", "--camera-option", "seed=3",
    )  # fmt: skip
    told = {
        "law": "pi", "kp": 0.7, "ki": 0.4, "measure": "moments", "max_step_um": 0.125,
        "command_deadband_um": 0.0005, "max_abs_excursion_um": 3.0, "n_beads": 2, "track_roi": False,
        "track_gain": 0.3, "track_deadband_px": 2.5,
        "track_max_step_px": 6.0, "background_percentile": 20.0, "min_roi_intensity_fraction": 0.3,
        "engage_timeout_s": 12.0, "model": "poly2", "half_range_um": 0.6, "n_steps": 31,
        "expected_slope": "positive",
    }  # fmt: skip
    assert {name: window.fields[name] for name in told} == told
    assert window.others == {"lock_tolerance_um": 0.03}
    assert "without a field here: lock_tolerance_um 0.03" in window.events
    assert window.exposure_s == pytest.approx(0.025)
    assert window.roi_px == (29, 19, 15, 15)
    assert window.world == "simulated"


def test_show_live_hands_all_of_a_sweep_to_the_window(opened):
    window = opened(
        "calibrate", "--show-live", "--settle-s", 0.2, "--one-way", "--no-go-to-focus", "--exposure-s", 1 / 30
    )
    told = {"settle_s": 0.2, "bidirectional": False, "go_to_focus": False}
    assert {name: window.fields[name] for name in told} == told
    assert window.exposure_s == pytest.approx(1 / 30, rel=1e-9)


@pytest.mark.parametrize("name", ["lock", "calibrate"])
def test_the_window_takes_every_option_of_a_command_or_it_is_refused_by_name(name):
    command = typer.main.get_command(commands(name)).commands[name]
    window = typer.Typer()
    window.command()(live_command)
    taken = {spelling for param in typer.main.get_command(window).params for spelling in param.opts}
    refused = {"show_live", *_NO_PLACE, *_NO_PLACE_OF.get(name, {})}
    left = [param.opts[0] for param in command.params if param.name not in refused and param.opts[0] not in taken]
    assert left == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("lock", "--show-live", "--duration", 3), "no place for --duration"),
        (("lock", "--show-live", "--go-to-focus"), "no place for --go-to-focus"),
        (("calibrate", "--show-live", "--out", "x"), "no place for --out"),
        (("calibrate", "--show-live", "--json"), "no place for --json"),
        (("lock", "--show-live", "--max-step", 20), "max_step_um is 20 µm, expected 0.001 to 10 µm"),
        (("live", "--loop-hz", 20, "--exposure-ms", 3), "--exposure-ms and --loop-hz set the same exposure"),
        (("live", "--background-percentile", 20), "is of --no-gaussian-fit"),
        (("live", "--law", "kalman", "--kp", 0.5), "--kp are gains of --law pi"),
        (("live", "--roi", "1,2,9", "--track-roi-xy", 1, 2, 9, 9), "name the same region"),
        (("live", "--calibration", "newest", "--calibration-csv", "x.csv"), "name the same"),
        (("live", "--track-gain", 2), "track_gain is 2.0, expected 0 to 1"),
    ],
)
def test_what_has_no_place_is_refused_in_a_line_before_anything_opens(arguments, expected, parfocal, tmp_path):
    said = parfocal(*arguments, "--data", tmp_path / "never made")
    assert said.code == 2
    assert expected in said.complaint
    assert not (tmp_path / "never made").exists()


def test_a_limit_that_the_settings_file_turns_off_is_refused(parfocal, tmp_path):
    (tmp_path / "lock.yml").write_text("max_abs_excursion_um: null")
    said = parfocal("live", "--settings", tmp_path / "lock.yml", "--data", tmp_path / "never made")
    assert said.code == 2
    assert "max_abs_excursion_um is none, expected a number" in said.complaint


def test_exposure_and_look_back_are_there_again_unless_told_otherwise(opened):
    def set_by_hand(window):
        window.controls.exposure_ms.setValue(12.5)
        window.controls.shown_form.fields["history_s"].setValue(45)
        assert window.diagnostics.history_s == 45

    opened("live", "--exposure-ms", 5, do=set_by_hand)
    again = opened("live")
    assert again.exposure_s == pytest.approx(0.0125)
    assert again.shown_ms == 12.5
    assert again.fields["history_s"] == 45
    told = opened("live", "--exposure-ms", 7)
    assert told.exposure_s == pytest.approx(0.007)
    again = opened("live")
    assert again.exposure_s == pytest.approx(0.007)


def test_a_calibration_that_the_data_folder_lacks_is_refused_or_told_in_the_window(opened, parfocal, data):
    missing = "ffffffffffff"
    said = parfocal("live", "--calibration", missing, "--data", data)
    assert said.code == 2
    assert missing in said.complaint
    window = opened("live", "--calibration", missing, "--allow-missing-calibration")
    assert missing in window.events
