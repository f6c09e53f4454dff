"""Direct z against noise, against its bound, against looking z up, and against images that diffraction formed."""

import itertools
import math
import sys
import threading

import numpy as np
import pytest
from scipy import optimize, special

from parfocal.errors import BadInputError
from parfocal.fitting import (
    DefocusModel,
    WidthCurve,
    crlb_psf,
    crlb_z,
    estimate_z,
    estimate_zs,
    fit_psfs,
    spot_image,
)
from parfocal.optics import CameraModel, Objective, psf_stack

CAMERA = CameraModel(offset_adu=100.0, gain_adu_per_e=2.2, read_noise_e=1.6, saturation_adu=1e9)
MODEL = DefocusModel(WidthCurve(1.3, -0.2, 0.4), WidthCurve(1.3, 0.2, 0.4), 0.0, (-0.4, 0.4), 0.1)
SKEWED = DefocusModel(
    WidthCurve(1.25, -0.22, 0.38, 0.15, 0.1), WidthCurve(1.4, 0.19, 0.45, -0.1, 0.05), 0.3, (-0.35, 0.4), 0.1
)


def noisy(mean, n, seed=0):
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(mean, (n, *mean.shape)) + rng.normal(0, CAMERA.read_noise_e, (n, *mean.shape))
    return np.round(CAMERA.offset_adu + CAMERA.gain_adu_per_e * electrons)


def picture(model, z_um, photons, background, x=6.2, y=5.7, size=13):
    sigma_x, sigma_y = (float(width) for width in model.widths_px(z_um))
    return spot_image((size, size), x, y, sigma_x, sigma_y, photons, background, model.theta_rad)


@pytest.mark.parametrize("model", [MODEL, SKEWED], ids=["straight", "turned and skewed"])
@pytest.mark.parametrize("z_um", [-0.34, -0.1, 0.0, 0.2, 0.39])
@pytest.mark.parametrize("photons", [300, 1e6])
def test_a_picture_without_noise_gives_back_its_defocus(model, z_um, photons):
    adu = CAMERA.offset_adu + CAMERA.gain_adu_per_e * picture(model, z_um, photons, 20)
    found = estimate_z(adu, CAMERA, model)
    assert (found.kind, found.in_range) == ("mle", True)
    assert abs(found.z_um - z_um) < 1e-3 * found.z_se_um
    assert found.sigma_x_px == pytest.approx(float(model.widths_px(z_um)[0]), rel=1e-3)


def test_the_bound_is_that_of_the_widths_carried_over_to_z():
    z = np.array([-0.35, -0.2, 0.05, 0.3])
    for k, bound in enumerate(crlb_z(z, 5000, 10, SKEWED, CAMERA)):
        sigma_x, sigma_y = (float(width[k]) for width in SKEWED.widths_px(z))
        widths = crlb_psf(sigma_x, sigma_y, 5000, 10, CAMERA, theta_rad=SKEWED.theta_rad)[4:6, 4:6]
        step = 1e-6
        slope = (np.array(SKEWED.widths_px(z[k] + step)) - np.array(SKEWED.widths_px(z[k] - step))) / (2 * step)
        assert bound == pytest.approx(1 / math.sqrt(slope @ np.linalg.solve(widths, slope)), rel=1e-6)


def test_the_bound_has_its_textbook_value_without_background():
    """sigma_z = (d² + g²) / (2 g sqrt N) at mid-focus, for pixels that are small beside the spot."""
    model = DefocusModel(WidthCurve(5.0, -0.2, 0.4), WidthCurve(5.0, 0.2, 0.4), 0.0, (-0.4, 0.4), 0.02)
    camera = CameraModel(read_noise_e=1e-3)
    expected = (0.4**2 + 0.2**2) / (2 * 0.2 * math.sqrt(1e4))
    assert float(crlb_z(0.0, 1e4, 1e-6, model, camera, roi_px=63)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("photons", "background", "z_um"),
    [(2000, 2, 0.3), (5000, 10, -0.4), (5000, 100, 0.0), (1e5, 100, 0.2), (1e6, 2, -0.25)],
)
def test_direct_z_reaches_its_bound_without_bias_and_states_its_error(photons, background, z_um):
    found = estimate_zs(noisy(picture(MODEL, z_um, photons, background), 4000), CAMERA, MODEL)
    assert found.is_mle.all()
    bound = float(crlb_z(z_um, photons, background, MODEL, CAMERA, x_px=6.2, y_px=5.7))
    error = found.z_um - z_um
    assert bound**2 / error.var() == pytest.approx(1.0, abs=0.05 + 4 * math.sqrt(2 / 4000))
    assert abs(error.mean()) < (0.1 + 4 / math.sqrt(4000)) * bound
    assert (np.abs(error) < found.z_se_um).mean() == pytest.approx(0.683, abs=0.035)
    assert (np.abs(error) < 2 * found.z_se_um).mean() == pytest.approx(0.954, abs=0.02)


def test_faint_spots_do_worse_than_the_bound_as_the_page_says_but_their_stated_errors_are_fair():
    """500 photons on 100: the error is a third of the range, and no longer small beside the model's depth."""
    found = estimate_zs(noisy(picture(MODEL, 0.1, 500, 100), 4000), CAMERA, MODEL)
    assert found.is_mle.mean() > 0.99
    error = (found.z_um - 0.1)[found.is_mle]
    bound = float(crlb_z(0.1, 500, 100, MODEL, CAMERA, x_px=6.2, y_px=5.7))
    assert 0.4 < bound**2 / error.var() < 0.95
    assert (np.abs(error) < 2 * found.z_se_um[found.is_mle]).mean() > 0.9


def test_the_search_ends_in_the_highest_maximum_even_of_faint_spots():
    pictures = noisy(picture(MODEL, -0.3, 500, 100), 150)
    found = estimate_zs(pictures, CAMERA, MODEL)
    variance = CAMERA.read_noise_e**2
    count = (pictures - CAMERA.offset_adu) / CAMERA.gain_adu_per_e + variance
    least = np.sum(np.where(count > 0, count - special.xlogy(count, np.maximum(count, 1e-9)), 0.0), axis=(1, 2))
    # all depths and places, with the best photons and background of each: the top cannot lie far above these
    highest = np.full(150, -np.inf)
    for z in np.linspace(-0.75, 0.75, 16):
        for x, y in [(6.2 + i / 2, 5.7 + j / 2) for i in range(-2, 3) for j in range(-2, 3)]:
            shape = picture(MODEL, z, 1.0, 0.0, x, y)
            design = np.stack([shape.ravel(), np.ones(169)])
            photons, background = np.linalg.lstsq(design.T, count.reshape(150, -1).T - variance, rcond=None)[0]
            mean = photons[:, None, None] * shape + background[:, None, None] + variance
            usable = (photons > 0) & (mean.min(axis=(1, 2)) > 1)
            log_likelihood = np.sum(count * np.log(np.maximum(mean, 1)) - mean, axis=(1, 2))
            highest = np.where(usable, np.maximum(highest, log_likelihood), highest)
    ours = -(found.deviance / 2 + least)
    above = (ours - highest)[found.is_mle]
    assert (above < -0.05).mean() < 0.01
    assert np.median(above) < 1  # the grid comes near, so a better maximum elsewhere would have been seen


def test_direct_z_beats_looking_the_ellipticity_up_where_one_width_is_least():
    pictures = noisy(picture(MODEL, 0.35, 5000, 10), 1000)
    direct = estimate_zs(pictures, CAMERA, MODEL)
    z = np.linspace(-0.44, 0.44, 2001)
    looked_up = np.interp(fit_psfs(pictures, CAMERA).q, MODEL.q(z), z)
    assert direct.z_um.std() < 0.5 * looked_up.std()


def test_every_spot_is_found_from_any_depth_and_place():
    rng = np.random.default_rng(1)
    for model in (MODEL, SKEWED):
        for _ in range(60):
            z, x, y = rng.uniform(*model.usable_um), *rng.uniform(4, 8, 2)
            found = estimate_z(
                noisy(picture(model, z, 3000, 10, x, y), 1, seed=int(z * 1e6) % 997)[0], CAMERA, model
            )
            assert found.kind == "mle"
            assert abs(found.z_um - z) < 6 * found.z_se_um


def test_beyond_the_usable_range_z_goes_on_and_says_so():
    beyond = estimate_z(noisy(picture(MODEL, 0.6, 20000, 10), 1)[0], CAMERA, MODEL)
    assert beyond.kind == "mle"
    assert beyond.z_um == pytest.approx(0.6, abs=0.05)
    assert not beyond.in_range
    far = estimate_z(noisy(picture(MODEL, 1.2, 20000, 10, 10, 10, 21), 1)[0], CAMERA, MODEL)
    assert (far.kind, far.reason) == ("moment_fallback", "z at the end of the search range")
    assert math.isnan(far.z_um)
    assert not far.in_range


def test_bad_pictures_are_labelled_in_a_batch_as_alone():
    pictures = noisy(picture(MODEL, 0.1, 5000, 10), 100)
    pictures[3] = np.nan
    pictures[5] = CAMERA.offset_adu
    found = estimate_zs(pictures, CAMERA, MODEL)
    assert found.reason[3] == "not finite"
    assert found.reason[5] == "no spot"
    assert found.is_mle.sum() == 98
    assert np.isnan(found.z_um[[3, 5]]).all()
    assert not found.in_range[[3, 5]].any()
    for k in (0, 3, 5, 99):
        one = estimate_z(pictures[k], CAMERA, MODEL)
        np.testing.assert_array_equal(one.z_um, found[k].z_um)
        np.testing.assert_array_equal(one.covariance, found[k].covariance)
        assert (one.kind, one.reason, one.in_range) == (found[k].kind, found[k].reason, found[k].in_range)


def test_a_model_that_is_not_a_width_in_its_own_range_is_refused():
    model = DefocusModel(WidthCurve(1.3, -0.2, 0.2, -3.0, 0.0), WidthCurve(1.3, 0.2, 0.4), 0.0, (-0.4, 0.4), 0.1)
    with pytest.raises(BadInputError, match="width is not positive within the usable range"):
        estimate_z(np.zeros((13, 13)), CAMERA, model)


def test_images_formed_by_diffraction_are_measured_to_10_nm_over_300_nm_each_way():
    """Spots are not Gaussian: what that does is calibrated on some beads, and others are measured."""
    objective = Objective(na=0.8, pixel_size_um=(0.1625, 0.1625))
    sweep = np.linspace(-0.6, 0.6, 25)

    def frames(z_um, x, y):
        images = 1e6 * psf_stack(objective, {6: 0.12}, z_um, 13, centre_px=(y, x)) + 5
        return CAMERA.offset_adu + CAMERA.gain_adu_per_e * images

    calibrating = ((0.0, 0.0), (0.25, -0.25), (-0.5, 0.1), (0.1, 0.5))
    fits = [fit_psfs(frames(sweep, x, y), CAMERA) for x, y in calibrating]
    assert all(one.is_mle.all() for one in fits)
    model = DefocusModel(
        _curve(sweep, np.mean([one.sigma_x_px for one in fits], axis=0)),
        _curve(sweep, np.mean([one.sigma_y_px for one in fits], axis=0)),
        theta_rad=0.0,
        usable_um=(-0.5, 0.5),
        pixel_size_um=0.1625,
    )
    at = np.linspace(-0.3, 0.3, 7)
    for x, y in ((0.0, 0.0), (0.3, -0.4), (0.5, 0.5), (-0.2, 0.35)):
        found = estimate_zs(frames(at, x, y), CAMERA, model)
        assert found.is_mle.all()
        assert np.abs(found.z_um - at).max() < 0.010


def _curve(z_um, widths_px):
    def residual(p):
        x = (z_um - p[1]) / p[2]
        return p[0] * np.sqrt(np.maximum(1 + x**2 * (1 + x * (p[3] + x * p[4])), 1e-3)) - widths_px

    best = optimize.least_squares(residual, [widths_px.min(), z_um[widths_px.argmin()], 0.7, 0.0, 0.0])
    return WidthCurve(*map(float, best.x))


def test_one_picture_is_fitted_without_letting_go_of_the_interpreter():
    """A lock that let go would wait for all other threads to have had their turns."""
    adu = noisy(picture(MODEL, 0.1, 5000, 10), 1)[0]
    estimate_z(adu, CAMERA, MODEL)  # compiled
    turns, enough, before = itertools.count(), threading.Event(), sys.getswitchinterval()
    thread = threading.Thread(target=lambda: next(i for i in turns if enough.is_set()))
    try:
        sys.setswitchinterval(0.5)  # who is not let in waits for so long
        thread.start()
        first = next(turns)
        for _ in range(10):
            estimate_z(adu, CAMERA, MODEL)
        assert next(turns) == first + 1
    finally:
        enough.set()
        thread.join()
        sys.setswitchinterval(before)
