"""What a characterization found, told as a page, as pictures and within the report of a night."""

import json

import numpy as np
import pytest

from parfocal.focus import Characterization
from parfocal.report import (
    CharacterizationRun,
    draw_characterization,
    story_data,
    write_characterization_report,
    write_story,
)
from stored_lock import BEGAN_S
from stored_story import run_story, story

T_S = np.linspace(0, 0.2, 60)


def camera():
    numbers = {
        "offset_adu": 100.0, "offset_sd_adu": 2.0, "gain_adu_per_e": 2.2, "gain_se_adu_per_e": 0.001,
        "gain_scatter": 0.01, "read_noise_e": 1.4, "read_noise_rms_e": 1.6, "n_hot": 3, "height_px": 32,
        "width_px": 32, "dark_current_e_per_s": 0.1, "saturation_adu": 65535, "is_saturation_seen": 0,
        "nonlinearity": 0.002,
    }  # fmt: skip
    rows = tuple(
        {"part": "flat", "exposure_s": dose, "light": 1.0, "signal_adu": 9e3 * dose, "variance_adu2": 2e4 * dose}
        | {"expected_adu2": 2e4 * dose}
        for dose in np.linspace(0.02, 0.5, 8)
    )
    maps = {name: np.ones((32, 32)) for name in ("offset_adu", "gain_adu_per_e", "read_noise_e")}
    return Characterization("camera", {"camera": "orca", "serial": "7"}, numbers, rows, (), maps)


def stage():
    numbers = {"delay_s": 0.0033, "delay_se_s": 0.0001, "settling_s": 0.012, "z_sign": 1, "backlash_um": 0.003}
    numbers |= {"signal_slope_per_um": 1.05, "signal_slope_se_per_um": 0.01, "expected_slope": "positive"}
    step = {"part": "step", "step_um": 0.5, "t_s": T_S.tolist()}
    rows = [step | {"position_um": (0.5 * (1 - np.exp(-T_S / 0.003))).tolist()}]
    rows += [{"part": "side", "side": 1 - 2 * (k % 2), "t_s": float(k), "moved_um": 0.001 * k} for k in range(6)]
    return Characterization("stage", {"stage": "piezo", "axis": "z"}, numbers, tuple(rows))


def latency():
    rows = tuple({"after_s": t, "at_um": 0.15 if t > 0.003 else -0.15, "up": 1.0} for t in (*T_S / 4, 5.0))
    told = (("refuses", "pictures do not <follow>"),)
    return Characterization("latency", {"axis": "z"}, {"command_to_motion_s": 0.003}, rows, told)


def pixel_size():
    numbers = {
        "pixel_size_um": 0.1625, "pixel_size_se_um": 0.0001, "pixel_size_y_um": 0.1625, "pixel_size_x_um": 0.1625,
        "rotation_deg": 0.5, "is_mirrored": 0, "shear_rad": 0.0,
        **{f"px_{a}_per_um_{b}": float(a == b) for a in "yx" for b in "yx"},
    }  # fmt: skip
    rows = tuple({"y_um": y, "x_um": x, "moved_y_px": y, "moved_x_px": x} for y in (0, 5) for x in (0, 5))
    return Characterization("pixel_size", {"camera": "orca", "axis": "xy"}, numbers, rows)


def run(found):
    return CharacterizationRun({"uid": "abcdef01-2", "time": BEGAN_S}, {"exit_status": "success"}, found)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (camera, "2.2000 ± 0.0010 ADU/e-"),
        (stage, "3.30 ± 0.10 ms"),
        (latency, "pictures do not &lt;follow&gt;"),
        (pixel_size, "0.16250 ± 0.00010 um"),
    ],
)
def test_a_characterization_is_told_as_page_data_and_pictures(tmp_path, make, words):
    told, shown, picture, drawn = write_characterization_report(run(make()), tmp_path)
    assert words in shown.read_text()
    report = json.loads(told.read_text())
    assert report["kind"] == make().kind
    assert report["is_usable"] == (make is not latency)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in drawn.read_text()


def test_the_report_of_a_night_holds_its_characterizations(tmp_path):
    runs = [run_story(f"{k}bcdef01-2", characterization=run(make())) for k, make in enumerate((camera, latency))]
    night = story(*runs)
    text = write_story(night, tmp_path / "night.html").read_text()
    assert "Camera: photon transfer (orca, 7)" in text
    assert "not fit for use: pictures do not &lt;follow&gt;" in text
    assert text.count("data:image/png;base64,") == 2
    told = story_data(night)["runs"]
    assert [one["characterization"]["kind"] for one in told] == ["camera", "latency"]
    assert story_data(story(run_story()))["runs"][0]["characterization"] is None


def test_an_axis_of_less_than_a_decade_has_ticks_that_can_be_read(tmp_path):
    from parfocal.report._characterization_report import _round_ticks

    assert _round_ticks(np.array([170.0, 4300.0])) == [200, 500, 1000, 2000]
    assert _round_ticks(np.geomspace(1, 1e6, 9)) == [10.0**d for d in range(7)]
    assert draw_characterization(camera(), tmp_path / "c.png").stat().st_size > 10_000
