"""What is measured of the simulated bench is what it is made of, kept, and gone by; the bench is left safe."""

import json

import numpy as np
import pytest

from parfocal.callbacks import BenchCharacterization
from parfocal.devices import OutOfLimitsError, simulated_microscope
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import (
    calibrate_focus,
    characterize_camera,
    characterize_latency,
    characterize_pixel_size,
    characterize_stage,
)
from support import Documents


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(realtime=False, **options):
        microscope = simulated_microscope("microscope", realtime=realtime, height_px=64, width_px=64, **options)
        microscope.camera.frames_root = microscope.focus_camera.frames_root = tmp_path / "frames"
        microscope.lock.calibrations = tmp_path / "calibrations"
        microscope.use_characterizations(tmp_path / "characterizations")
        made.append(microscope)
        return microscope

    yield make
    for microscope in made:
        microscope.destroy()


def world(microscope):
    return microscope.backend.camera.world


def result(documents):
    (told,) = documents.column("characterization_json", "characterization")
    return json.loads(told)["characterization"]


def quick(microscope, **options):
    given = {"n_dark": 16, "n_flat": 8, "n_levels": 4, "longest_exposure_s": 0.3, "defocus_um": 20.0}
    return characterize_camera(microscope, **(given | options))


def test_a_cameras_noise_is_found_kept_and_gone_by(RE, documents, bench, tmp_path):
    microscope = bench()
    truth = microscope.camera.facts.camera_model
    derived = Documents()
    analysis = BenchCharacterization(emit=derived)
    RE.subscribe(analysis)
    RE(quick(microscope))
    analysis.close()

    numbers = result(documents)["numbers"]
    assert abs(numbers["gain_adu_per_e"] - np.mean(truth.gain_adu_per_e)) < 4 * numbers["gain_se_adu_per_e"]
    (sha256,) = documents.column("characterization_sha256", "characterization")
    assert derived.column("sha256", "characterization") == [sha256]
    assert derived.of("stop")[0]["parfocal"]["verdict"] == "usable"

    (uid,) = [doc["uid"] for doc in documents.of("start")]
    facts = microscope.camera.facts
    assert facts.noise_run == uid
    assert np.abs(facts.camera_model.offset_adu - truth.offset_adu).mean() < 1.0
    assert microscope.characterized() == {"camera": uid}
    microscope.camera.roi_px.put([8, 4, 32, 16])
    assert microscope.camera.facts.camera_model.offset_adu.shape == (32, 16)
    assert microscope.xyz.z.position == pytest.approx(0.0, abs=0.05)
    assert not world(microscope).light.is_on
    assert facts.settings.exposure_s == pytest.approx(0.02)

    (file,) = (tmp_path / "characterizations").glob("*.npz")
    maps = dict(np.load(file))
    maps["offset_adu"][0, 0] += 1
    np.savez(file, **maps)
    with pytest.raises(BadInputError, match="changed after they were saved"):
        microscope.use_characterizations()


def test_a_calibration_names_the_run_that_its_noise_was_measured_in(RE, documents, bench):
    microscope = bench()
    RE(quick(microscope, camera="focus_camera", defocus_um=5.0))
    noise_run = documents.of("start")[0]["uid"]
    RE(calibrate_focus(microscope, exposure_s=0.01, settle_s=0.0, n_steps=13, retry=False))
    start = documents.of("start")[-1]
    assert start["parfocal"]["characterized"] == {"focus_camera": noise_run}
    assert microscope.lock.about()["noise_run"] == noise_run
    told = next(doc for doc in documents.of("descriptor") if doc["name"] == "sweep")
    assert told["configuration"]["focus_camera"]["data"]["focus_camera_noise_run"] == noise_run


def test_another_camera_another_gain_and_told_noise_are_left_alone(RE, bench):
    microscope = bench()
    RE(quick(microscope))
    root = microscope.characterizations.root
    other = bench(seed=1)
    assert other.use_characterizations(root) == {}
    told = bench(noise_maps="told")
    assert told.use_characterizations(root) == {}
    microscope.camera.gain.put(2.0)
    assert microscope.camera.facts.noise_run == ""


def test_a_light_that_does_not_go_off_is_refused_and_the_bench_left_safe(RE, bench, monkeypatch):
    microscope = bench()
    monkeypatch.setattr(type(microscope.backend.camera), "set_shutter", lambda self, is_open: None)
    with pytest.raises(HardwareError, match="not dark"):
        RE(quick(microscope, camera="focus_camera", dark="shutter", defocus_um=0.0))
    assert microscope.characterized() == {}
    assert not world(microscope).light.is_on


@pytest.mark.parametrize(
    ("plan", "options", "error"),
    [
        (characterize_camera, {"defocus_um": 500.0}, OutOfLimitsError),
        (characterize_camera, {"dark": "night"}, BadInputError),
        (characterize_camera, {"channel": "ultraviolet"}, BadInputError),
        (characterize_camera, {"n_dark": 2}, BadInputError),
        (characterize_stage, {"approach_um": 200.0}, OutOfLimitsError),
        (characterize_stage, {"axis": "w"}, BadInputError),
        (characterize_latency, {"half_step_um": 100.0}, OutOfLimitsError),
        (characterize_pixel_size, {"travel_um": -1.0}, BadInputError),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(RE, documents, bench, plan, options, error):
    microscope = bench()
    with pytest.raises(error):
        RE(plan(microscope, **options))
    assert not documents.of("start")
    assert microscope.xyz.z.position == pytest.approx(0.0, abs=0.01)


def test_the_pixel_size_is_found(RE, documents, bench):
    microscope = bench()
    RE(characterize_pixel_size(microscope, settle_s=0.0, n_rounds=1, exposure_s=0.1))
    numbers = result(documents)["numbers"]
    assert numbers["pixel_size_um"] == pytest.approx(0.1625, abs=max(4 * numbers["pixel_size_se_um"], 0.001))
    assert not numbers["is_mirrored"]
    assert (microscope.xyz.x.setpoint_um, microscope.xyz.y.setpoint_um) == pytest.approx((0.0, 0.0), abs=0.05)


@pytest.mark.long
@pytest.mark.parametrize("z_sign", [1, -1])
def test_the_stages_lag_play_and_sign_are_found(RE, documents, bench, z_sign):
    microscope = bench(realtime=True)
    world(microscope).z_sign = z_sign
    microscope.xyz.z.set(0.3 * z_sign).wait(5)
    RE(characterize_stage(microscope, n_approaches=24, beyond_focus_signal="negative"))
    numbers = result(documents)["numbers"]
    assert numbers["delay_s"] == pytest.approx(0.00325, abs=0.0015)  # 3 ms of lag, and half of the ramp
    assert abs(numbers["backlash_um"] - 0.003) < 4 * numbers["backlash_se_um"] < 0.05
    assert numbers["z_sign"] == z_sign
    assert microscope.lock.expected_slope == ("positive" if z_sign > 0 else "negative")


@pytest.mark.long
def test_the_latency_is_found_and_the_lock_goes_by_it(RE, documents, bench):
    microscope = bench(realtime=True)
    microscope.xyz.z.set(0.3).wait(5)
    RE(characterize_latency(microscope, exposure_s=0.01))
    numbers = result(documents)["numbers"]
    truth_s, se_s = 0.00315, numbers["command_to_motion_se_s"]  # 3 ms of lag, and half of the ramp
    assert abs(numbers["command_to_motion_s"] - truth_s) < 4 * se_s + 0.0003
    assert microscope.lock.command_to_motion_s == pytest.approx(max(0, numbers["command_to_motion_s"]))
    assert microscope.characterized()["latency"] == documents.of("start")[0]["uid"]
