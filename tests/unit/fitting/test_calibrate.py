"""From sweeps formed by diffraction, which the model does not know, to calibrations; bad ones are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import (
    OpticsFacts,
    Sweep,
    SweepSettings,
    calibrate,
    check_applies,
    cut_rois,
    estimate_zs,
    find_beads,
    measure_steps,
    next_sweep,
)
from parfocal.optics import CameraModel, Objective, expose, psf_stack, scmos_camera

PIXEL_UM = 0.1625
FACTS = OpticsFacts(PIXEL_UM, objective="25x/0.8 W", na=0.8, magnification=25, camera="sCMOS 1")
REAL = Path(__file__).parents[3] / ".." / "shared" / "data" / "A_beads"


def swept(
    zernike=None,
    *,
    z=None,
    photons=1e5,
    background=10.0,
    focus=0.0,
    backlash=0.0,
    seed=0,
    shift=(0.2, -0.3),
    side=21,
):
    """Return a sweep up and down (or at `z`) by scalar diffraction; the stage's z is that of the focal plane."""
    up = np.linspace(-0.75, 0.75, 21)
    direction = np.repeat(np.array([1, -1], np.int8), 21) if z is None else np.ones(len(z), np.int8)
    z = np.concatenate([up, up[::-1]]) if z is None else np.asarray(z)
    defocus = focus - z - np.where(direction < 0, backlash, 0.0)
    objective = Objective(0.8, 1.33, 0.52, (PIXEL_UM, PIXEL_UM))
    planes, index = np.unique(np.round(defocus, 9), return_inverse=True)
    psf = psf_stack(objective, zernike or {6: 0.15}, planes, side, 1, shift)[index]
    camera = scmos_camera((side, side), seed)
    rois = np.stack([expose(photons * image + background, camera, seed, k) for k, image in enumerate(psf)])
    return Sweep(rois, z, 0.1 * np.arange(z.size), direction, camera, FACTS)


@pytest.fixture(scope="module")
def calibration():
    return calibrate(swept(focus=0.1))


def bias_um(calibration, zernike, focus, photons=1e5):
    z = np.repeat(np.linspace(-0.3, 0.3, 7) + calibration.focus_um, 12)
    test = swept(zernike, z=z, focus=focus, photons=photons, seed=7, shift=(-0.1, 0.4))
    found = calibration.estimate(test.rois, test.camera_model)
    return (found.z_um - (z - calibration.focus_um)).reshape(7, 12).mean(axis=1)


@pytest.mark.parametrize(
    "zernike",
    [
        {6: 0.15, 11: 0.05},
        *(pytest.param(z, marks=pytest.mark.long) for z in ({6: 0.1}, {6: 0.15}, {6: 0.25}, {6: 0.15, 5: 0.1})),
    ],
    ids=str,
)
def test_z_of_a_diffraction_image_is_right_within_10_nm(zernike):
    calibration = calibrate(swept(zernike, focus=0.1))
    assert calibration.is_armable, calibration.issues
    assert np.abs(bias_um(calibration, zernike, 0.1)).max() < 0.010


def test_a_bead_that_bleaches_to_a_fifth_stays_where_it_is(calibration):
    assert np.abs(bias_um(calibration, None, 0.1, photons=2e4)).max() < 0.010
    test = swept(z=np.full(40, calibration.focus_um + 0.3), focus=0.1, photons=2e4, seed=8)
    plain = estimate_zs(test.rois, test.camera_model, replace(calibration.model, correction=None)).z_um
    assert abs(np.mean(plain) - 0.3) > 0.010  # what the correction for light is for


def test_standard_errors_are_those_of_real_spots_not_of_gaussian_ones(calibration):
    test = swept(z=np.full(300, calibration.focus_um), focus=0.1, photons=2e4, seed=4)
    found = calibration.estimate(test.rois, test.camera_model)
    bare = estimate_zs(test.rois, test.camera_model, calibration.model)
    assert np.std(found.z_um) / np.median(found.z_se_um) == pytest.approx(1.0, abs=0.3)
    assert np.std(bare.z_um) / np.median(bare.z_se_um) > 1.3


def test_the_angle_of_the_lens_is_found_from_the_sweep():
    steps, line, theta = measure_steps(swept({6: 0.15 * np.cos(0.6), 5: 0.15 * np.sin(0.6)}))
    assert abs(abs(theta) - 0.3) < 0.02
    assert line.theta_se_rad < 0.01
    assert steps.is_parametric.all()
    straight, turned = (
        calibrate(swept({6: 0.15})),
        calibrate(swept({6: 0.15 * np.cos(0.6), 5: 0.15 * np.sin(0.6)})),
    )
    assert turned.model.x.sigma0_px == pytest.approx(straight.model.x.sigma0_px, rel=0.05)


def test_progress_is_told_from_start_to_end():
    told = []
    calibrate(swept(), on_progress=lambda done, total, what: told.append((done, total, what)))
    assert told[0] == (0, 42, "fitting")
    assert told[-1] == (42, 42, "done")


def codes(calibration, severity=None):
    return {issue.code for issue in calibration.issues if severity in (None, issue.severity)}


def test_backlash_is_found_measured_and_a_gentler_sweep_proposed():
    encoder = np.random.default_rng(1).normal(0, 0.002, 42)  # no two encoder positions are equal
    sweep = swept(backlash=0.06)
    found = calibrate(replace(sweep, z_um=sweep.z_um + encoder))
    assert "hysteresis" in codes(found, "blocks")
    assert abs(found.hysteresis.z_um) == pytest.approx(0.06, abs=0.012)
    assert next_sweep(found, SweepSettings()).n_steps == 32
    clean = calibrate(replace(swept(), z_um=swept().z_um + encoder))
    assert "hysteresis" not in codes(clean)
    assert next_sweep(clean, SweepSettings()) is None


def test_each_fault_of_a_sweep_is_named():
    assert "focus_not_bracketed" in codes(calibrate(swept(focus=0.72)), "blocks") or "no_model" in codes(
        calibrate(swept(focus=0.72)), "blocks"
    )
    assert not calibrate(swept({6: 0.0})).is_armable
    dark = calibrate(swept(photons=0.0))
    assert {"fallback_share", "too_few_samples"} <= codes(dark, "blocks")
    assert "low_snr" in codes(calibrate(swept(photons=900.0, background=20.0)))
    assert "saturated" in codes(calibrate(swept(photons=1.5e6)))
    assert "roi_clipped" in codes(calibrate(swept({6: 0.3}, side=11)))
    assert "failed_moves" in codes(calibrate(replace(swept(), n_failed_moves=12)), "blocks")
    assert "failed_moves" in codes(calibrate(replace(swept(), n_failed_moves=1)), "warns")
    few = swept(z=np.linspace(-0.5, 0.5, 7))
    assert "too_few_samples" in codes(calibrate(few), "blocks")
    for issue in dark.issues:
        assert ": " in issue.message  # what was found, then what to do
        assert "\n" not in issue.message


def test_the_sign_of_the_slope_may_be_demanded(calibration):
    slope = "positive" if calibration.model.q_slope_per_um(0.0) > 0 else "negative"
    other = "negative" if slope == "positive" else "positive"
    assert calibrate(swept(), expected_slope=slope).is_armable
    assert "slope_unexpected" in codes(calibrate(swept(), expected_slope=other), "blocks")


@pytest.mark.parametrize("kind", ["linear", "poly2", "piecewise"])
def test_the_seeds_other_models_give_z_from_the_error_signal(kind):
    found = calibrate(swept(focus=0.1), kind=kind)
    assert found.is_armable, found.issues
    inside = np.abs(found.steps.z_um - found.focus_um) < 0.25
    off = found.signal_model.z_um(found.steps.signal[inside]) - (found.steps.z_um[inside] - found.focus_um)
    assert np.nanmax(np.abs(off)) < 0.08
    assert found.usable_um[0] < -0.2
    assert found.usable_um[1] > 0.2
    with pytest.raises(BadInputError, match="none of zhuang"):
        calibrate(swept(), kind="cubic")


def test_the_gate_on_deviance_knows_what_is_usual(calibration):
    steps = calibration.steps
    usual = calibration.baseline.excess(steps.deviance, steps.degrees_of_freedom, steps.photons)
    assert np.mean(usual < 5) > 0.9
    plain = (steps.deviance - steps.degrees_of_freedom) / np.sqrt(2 * steps.degrees_of_freedom)
    assert np.median(plain) > 5  # a fixed gate would refuse these good spots
    two = swept(seed=2).rois.astype(float) + np.roll(swept(seed=3).rois, 6, axis=2) - 100
    fits, _, _ = measure_steps(replace(swept(), rois=two), theta_rad=0.0)
    near = fits.is_parametric & (np.abs(fits.z_um) < 0.2)
    second = calibration.baseline.excess(fits.deviance, fits.degrees_of_freedom, fits.photons)
    assert (second[near] > 5).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pixel_size_um": 0.1}, "pixel size was 0.1625 um and is 0.1 um"),
        ({"objective": "60x/1.2 W"}, "objective was '25x/0.8 W'"),
        ({"camera": "sCMOS 2"}, "camera was 'sCMOS 1'"),
        ({"binning": 2}, "binning was 1 and is 2"),
    ],
)
def test_a_calibration_of_other_optics_is_refused_with_what_differs(calibration, changed, said):
    check_applies(calibration, replace(FACTS, exposure_s=0.1, wavelength_um=0.52))
    with pytest.raises(BadInputError, match=said):
        check_applies(calibration, replace(FACTS, **changed))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real bead stacks are not here")
@pytest.mark.long
def test_real_beads_without_a_cylindrical_lens_are_refused():
    from parfocal.files import open_stack

    stack = open_stack(REAL / "bead_field_no_astigmatism.tif").read().squeeze()
    camera = CameraModel(offset_adu=0.0, saturation_adu=255.0)
    z = 0.3 * np.arange(len(stack))
    for y, x in find_beads(stack, roi_px=27)[:4]:
        rois = cut_rois(stack, y, x, 27)
        sweep = Sweep(rois, z, z, np.ones(z.size, np.int8), camera, OpticsFacts(0.108))
        assert not calibrate(sweep).is_armable


def test_frames_without_a_spot_break_nothing():
    sweep = swept(focus=0.1)
    empty = np.r_[0:6, 36:42]
    rois = sweep.rois.copy()
    rois[empty] = np.random.default_rng(0).poisson(100, rois[empty].shape)
    found = calibrate(replace(sweep, rois=rois))
    # by moments noise may have a variance below nothing: half of such frames have no width
    assert not found.steps.is_parametric[empty].all()
    assert not np.isinf(found.steps.q).any()
    assert np.isfinite(found.steps.q[8:34]).all()
    assert abs(found.focus_um - calibrate(sweep).focus_um) < 0.02
