"""Calibrations on disk: whole or not at all, unchanged or refused, and the seed's files both ways."""

import csv
import json
import math

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import OpticsFacts, Sweep, calibrate, calibration_hash, calibration_to_json
from parfocal.focus import load_calibration, load_sweep, save_calibration, save_sweep
from parfocal.optics import Objective, expose, psf_stack, scmos_camera

SEED_COLUMNS = "z_um,error,weight,sigma_x,sigma_y,ellipticity,fit_r2,sample_class,used_for_zhuang_fit"


@pytest.fixture(scope="module")
def calibration():
    up = np.linspace(-0.75, 0.75, 21)
    z, direction = np.concatenate([up, up[::-1]]), np.repeat(np.array([1, -1], np.int8), 21)
    camera = scmos_camera((17, 17), 0)
    psf = psf_stack(Objective(), {6: 0.12}, -z, 17)
    rois = np.stack([expose(3e4 * image + 10, camera, 0, k) for k, image in enumerate(psf)])
    rois[3] = 110  # nothing there: a fallback
    facts = OpticsFacts(0.1625, "25x", 0.8, 25.0, 1.33, 0.52, "sCMOS 7", 1, (4, 5, 17, 17), 0.02, "piezo")
    return calibrate(Sweep(rois, z, 0.1 * np.arange(42), direction, camera, facts))


@pytest.mark.parametrize("kind", ["zhuang", "linear", "poly2", "piecewise"])
def test_a_calibration_comes_back_as_it_was(calibration, tmp_path, kind):
    from parfocal.fitting import calibrate_steps

    kept = calibration if kind == "zhuang" else calibrate_steps(calibration.steps, calibration.facts, kind=kind)
    path = tmp_path / "focus.json"
    save_calibration(path, kept)
    again = load_calibration(path)
    assert calibration_to_json(again) == calibration_to_json(kept)
    assert calibration_hash(again) == calibration_hash(kept)
    assert (again.model, again.facts, again.issues) == (kept.model, kept.facts, kept.issues)
    assert again.is_armable == kept.is_armable
    signal = np.linspace(-0.2, 0.2, 9)
    np.testing.assert_array_equal(again.signal_model.z_um(signal), kept.signal_model.z_um(signal))
    if kind == "zhuang":
        np.testing.assert_array_equal(
            again.model.corrected_um(signal, 1e4, 20.0), kept.model.corrected_um(signal, 1e4, 20.0)
        )
        assert again.steps.reason[3] == kept.steps.reason[3] != ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["focus.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"kind": "zhuang"', '"kind": "linear"'), "was changed after it was saved"),
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: "[]", "is no calibration"),
        (lambda text: text.replace('"version": 1', '"version": 99'), "version 99"),
    ],
)
def test_a_tampered_file_is_refused_in_one_line(calibration, tmp_path, change, said):
    path = tmp_path / "focus.json"
    save_calibration(path, calibration)
    path.write_text(change(path.read_text()))
    with pytest.raises(BadInputError, match=said) as error:
        load_calibration(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_the_seeds_files_hold_what_the_seed_reads(calibration, tmp_path):
    table = tmp_path / "calibration_sweep.csv"
    meta = save_sweep(table, calibration, created_at_unix_s=1.7e9)
    assert meta.name == "calibration_sweep.meta.json"
    assert table.read_text().startswith(SEED_COLUMNS)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert rows[3]["sample_class"] == "moment_fallback"
    assert rows[3]["used_for_zhuang_fit"] == "0"
    assert math.isnan(float(rows[3]["fit_r2"]))
    assert float(rows[10]["fit_r2"]) > 0.9
    content = json.loads(meta.read_text())
    assert (content["roi_size"], content["exposure_ms"], content["wavelength_nm"]) == ([17, 17], 20.0, 520.0)
    assert (content["camera_roi"], content["stage_type"], content["objective"]) == ([5, 4, 17, 17], "piezo", "25x")


@pytest.mark.parametrize("convention", ["ratio", "sqrt_ratio"])
def test_our_own_sweep_gives_the_same_model_again(calibration, tmp_path, convention):
    table = tmp_path / "calibration_sweep.csv"
    save_sweep(table, calibration, created_at_unix_s=0.0, convention=convention)
    again = load_sweep(table)
    assert again.facts == calibration.facts
    assert again.focus_um == pytest.approx(calibration.focus_um, abs=1e-6)
    np.testing.assert_allclose(again.model.coefficients(), calibration.model.coefficients(), rtol=1e-4, atol=1e-5)
    assert again.model.correction is None


def test_a_csv_of_the_original_gives_true_widths(calibration, tmp_path):
    """Its e is the square root of the ratio, and its widths are rebuilt from that e."""
    table = tmp_path / "calibration_sweep.csv"
    save_sweep(table, calibration, created_at_unix_s=0.0, convention="sqrt_ratio")
    (tmp_path / "calibration_sweep.meta.json").unlink()
    lines = [line.split(",")[:9] for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join(line) for line in lines) + "\n")
    with pytest.raises(BadInputError, match="no pixel_size_um"):
        load_sweep(table)
    told = load_sweep(table, pixel_size_um=0.1625)
    z = np.linspace(-0.4, 0.4, 9)
    np.testing.assert_allclose(told.model.q(z), calibration.model.q(z), atol=0.03)
    wrong = load_sweep(table, pixel_size_um=0.1625, convention="ratio")
    np.testing.assert_allclose(wrong.model.q(z), told.model.q(z) / 2, atol=0.03)


def test_a_bad_csv_is_refused_with_its_line(tmp_path):
    table = tmp_path / "calibration_sweep.csv"
    table.write_text("z_um,error,weight\n0.1,0.2,1\n0.2,much,1\n")
    with pytest.raises(BadInputError, match="line 3, error: 'much' is no number"):
        load_sweep(table, pixel_size_um=0.1)
    table.write_text("z,e\n1,2\n")
    with pytest.raises(BadInputError, match="has no column z_um and error"):
        load_sweep(table, pixel_size_um=0.1)
    with pytest.raises(BadInputError, match="cannot be read"):
        load_sweep(tmp_path / "none.csv", pixel_size_um=0.1)


def test_the_linear_csv_of_the_original_gives_a_signal_curve(tmp_path):
    table = tmp_path / "calibration_sweep.csv"
    z = np.linspace(-0.4, 0.4, 17)
    table.write_text("z_um,error,weight\n" + "".join(f"{a},{0.5 * a},1\n" for a in z))
    found = load_sweep(table, kind="linear", pixel_size_um=0.1)
    assert found.signal_model.slope_um == pytest.approx(2.0)
