"""The spot fit against what it did not make: quadrature, finite differences, SciPy's optimum, EMCCD statistics."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from parfocal.errors import BadInputError
from parfocal.fitting import crlb_psf, fit_psf, fit_psfs, spot_image
from parfocal.optics import CameraModel, expose, scmos_camera

CAMERA = CameraModel(offset_adu=100.0, gain_adu_per_e=2.2, read_noise_e=1.6, saturation_adu=1e9)
NAMES = ("x_px", "y_px", "photons", "background", "sigma_x_px", "sigma_y_px")


def quadrature(size, x, y, photons, background, sigma_x, sigma_y, theta=0.0, nodes=5):
    """Expected photoelectrons by Gauss-Legendre quadrature over each (square, unturned) pixel."""
    offsets, weights = np.polynomial.legendre.leggauss(nodes)
    at = (np.arange(size)[:, None] + offsets / 2).ravel()
    across, down = np.meshgrid(at - x, at - y)
    u = math.cos(theta) * across - math.sin(theta) * down
    v = math.sin(theta) * across + math.cos(theta) * down
    density = np.exp(-0.5 * (u / sigma_x) ** 2 - 0.5 * (v / sigma_y) ** 2) / (2 * np.pi * sigma_x * sigma_y)
    weight = np.tile(weights / 2, size)
    summed = (density * weight * weight[:, None]).reshape(size, nodes, size, nodes).sum(axis=(1, 3))
    return photons * summed + background


def noisy(mean, n, camera=CAMERA, seed=0):
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(mean, (n, *mean.shape)) + rng.normal(0, 1, (n, *mean.shape)) * camera.read_noise_e
    return np.round(camera.offset_adu + camera.gain_adu_per_e * electrons)


def errors(fits, truth):
    return np.array([getattr(fits, name) - value for name, value in zip(NAMES, truth)]).T


def test_the_image_model_is_the_integral_over_each_pixel():
    truth = (6.31, 5.74, 1.0, 0.0, 0.9, 2.2)
    x, y, photons, background, sigma_x, sigma_y = truth
    ours = spot_image((13, 13), x, y, sigma_x, sigma_y, photons, background)
    np.testing.assert_allclose(ours, quadrature(13, *truth, nodes=12), atol=1e-12)


@pytest.mark.parametrize("theta", [0.3, -0.7, math.pi / 4])
def test_turned_pixels_differ_from_square_ones_by_less_than_a_thousandth_of_the_peak(theta):
    ours = spot_image((15, 15), 7.2, 6.9, 0.8, 1.2, 1.0, 0.0, theta)
    truth = quadrature(15, 7.2, 6.9, 1.0, 0.0, 0.8, 1.2, theta, nodes=8)
    assert abs(ours - truth).max() < 1e-3 * truth.max()


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(2.5, 9.5),
    y=st.floats(2.5, 9.5),
    sigma_x=st.floats(0.8, 3.0),
    sigma_y=st.floats(0.8, 3.0),
    photons=st.floats(500, 1e6),
    background=st.floats(2, 100),
)
def test_a_picture_without_noise_gives_back_exactly_what_made_it(x, y, sigma_x, sigma_y, photons, background):
    truth = (x, y, photons, background, sigma_x, sigma_y)
    adu = CAMERA.offset_adu + CAMERA.gain_adu_per_e * quadrature(13, *truth, nodes=8)
    fit = fit_psf(adu, CAMERA)
    assert fit.kind == "mle"
    error = [getattr(fit, name) - value for name, value in zip(NAMES, truth)]
    assert (np.abs(error) < 1e-3 * np.sqrt(np.diag(fit.covariance))).all()


@pytest.mark.parametrize("theta", [0.0, 0.4])
def test_the_bound_is_the_inverse_fisher_matrix_by_finite_differences(theta):
    p = np.array([6.2, 5.8, 3000.0, 12.0, 1.4, 2.1, theta])

    def picture(p):
        return spot_image((13, 13), p[0], p[1], p[4], p[5], p[2], p[3], p[6])

    camera = scmos_camera((13, 13), seed=3)
    n_free = 7 if theta else 6
    slopes = []
    for k in range(n_free):
        step = np.zeros(7)
        step[k] = 1e-5 * max(1.0, p[k])
        slopes.append((picture(p + step) - picture(p - step)) / (2 * step[k]))
    slopes = np.array(slopes)
    variance = picture(p) + np.square(camera.read_noise_e)
    fisher = np.einsum("kij,lij,ij->kl", slopes, slopes, 1 / variance)
    bound = crlb_psf(1.4, 2.1, 3000, 12, camera, x_px=6.2, y_px=5.8, theta_rad=theta, fit_theta=bool(theta))
    scale = np.sqrt(np.outer(np.diag(bound), np.diag(bound)))
    np.testing.assert_allclose(bound / scale, np.linalg.inv(fisher) / scale, atol=1e-6)


@pytest.mark.parametrize("theta", [0.0, 0.35, None])
def test_the_fit_is_where_scipy_finds_the_maximum_of_the_same_likelihood(theta):
    camera = scmos_camera((13, 13), seed=1)
    truth = (6.3, 5.6, 2000.0, 8.0, 1.3, 1.9, theta or 0.35 * (theta is None))
    adu = noisy(quadrature(13, *truth), 1, camera, seed=4)[0]
    variance = np.square(camera.read_noise_e)
    count = (adu - camera.offset_adu) / camera.gain_adu_per_e + variance
    scale = np.array([0.05, 0.05, 80, 0.5, 0.05, 0.05, 0.1])[: 7 if theta is None else 6]

    def nll(steps):
        p = np.array(truth)
        p[: steps.size] += steps * scale
        mean = spot_image((13, 13), p[0], p[1], p[4], p[5], p[2], p[3], p[6]) + variance
        return float(np.sum(mean - count * np.log(mean)))

    best = optimize.minimize(nll, np.zeros(scale.size), method="BFGS", options={"gtol": 1e-5})
    fit = fit_psf(adu, camera, theta_rad=theta)
    ours = np.array([*(getattr(fit, name) for name in NAMES), fit.theta_rad])[: scale.size]
    expected = np.array(truth)[: scale.size] + best.x * scale
    assert fit.kind == "mle"
    assert (np.abs(ours - expected) < 3e-3 * np.sqrt(np.diag(fit.covariance))).all()


@pytest.mark.parametrize(("photons", "background"), [(2000, 10), (1e5, 100), (1e6, 2)])
def test_errors_are_as_large_as_stated_and_no_larger_than_the_bound(photons, background):
    truth = (6.3, 5.6, photons, background, 1.3, 1.8)
    camera = replace(scmos_camera((13, 13), seed=2), saturation_adu=1e9)
    fits = fit_psfs(noisy(quadrature(13, *truth), 3000, camera), camera)
    assert fits.is_mle.all()
    error = errors(fits, truth)
    pulls = error / fits.standard_errors
    bound = np.sqrt(np.diag(crlb_psf(1.3, 1.8, photons, background, camera, x_px=6.3, y_px=5.6)))
    np.testing.assert_allclose(error.std(axis=0), bound, rtol=0.055)  # 4 SD of an SD of 3,000
    np.testing.assert_allclose(error.mean(axis=0) / bound, 0.0, atol=0.1)
    np.testing.assert_allclose((np.abs(pulls) < 1).mean(axis=0), 0.683, atol=0.035)
    q = fits.q - math.log(1.3 / 1.8)
    assert (q / fits.q_se).std() == pytest.approx(1.0, abs=0.055)
    assert abs(fits.excess_deviance.mean()) < 0.3


def test_noisy_pixels_count_less():
    read_noise = np.full((13, 13), 1.5)
    read_noise[6, 7] = 150.0
    camera = replace(CAMERA, read_noise_e=read_noise)
    truth = (6.3, 5.6, 3000, 5, 1.3, 1.8)
    pictures = noisy(quadrature(13, *truth), 1000, camera)
    knowing, not_knowing = fit_psfs(pictures, camera), fit_psfs(pictures, replace(CAMERA, read_noise_e=1.5))
    bound = np.sqrt(np.diag(crlb_psf(1.3, 1.8, 3000, 5, camera, x_px=6.3, y_px=5.6)))
    np.testing.assert_allclose(errors(knowing, truth).std(axis=0), bound, rtol=0.1)
    assert not_knowing.x_px.std() > 1.5 * bound[0]


def test_an_emccd_s_excess_noise_is_in_the_stated_errors():
    rng = np.random.default_rng(0)
    truth = (6.3, 5.6, 3000, 5, 1.3, 1.8)
    electrons = rng.poisson(quadrature(13, *truth), (1500, 13, 13))
    amplified = np.where(electrons > 0, rng.gamma(np.maximum(electrons, 1), 300.0), 0.0)  # gain 300: variance x 2
    camera = CameraModel(offset_adu=0.0, gain_adu_per_e=300.0, read_noise_e=0.05, saturation_adu=1e9)
    fits = fit_psfs(amplified, camera, excess_noise=2.0)
    assert fits.photons.mean() == pytest.approx(3000, rel=0.01)
    pulls = errors(fits, truth) / fits.standard_errors
    np.testing.assert_allclose(pulls.std(axis=0), 1.0, atol=0.12)
    shot = np.sqrt(np.diag(crlb_psf(1.3, 1.8, 3000, 5, camera, excess_noise=1.0)))
    bound = np.sqrt(np.diag(crlb_psf(1.3, 1.8, 3000, 5, camera, excess_noise=2.0)))
    np.testing.assert_allclose(bound / shot, math.sqrt(2), rtol=0.01)


def test_the_angle_comes_out_folded_with_its_error_and_widths_in_order():
    truth = (6.3, 5.6, 5000, 5, 1.2, 2.0, 0.5)
    fits = fit_psfs(noisy(quadrature(13, *truth), 400), CAMERA, theta_rad=None)
    assert fits.is_mle.all()
    pulls = (fits.theta_rad - 0.5) / fits.standard_errors[:, 6]
    assert abs(pulls.mean()) < 0.2
    assert pulls.std() == pytest.approx(1.0, abs=0.15)
    assert (fits.sigma_y_px > fits.sigma_x_px).all()
    turned = fit_psf(noisy(quadrature(13, *truth[:6], 0.5 + math.pi / 2), 1)[0], CAMERA, theta_rad=None)
    assert turned.theta_rad == pytest.approx(0.5, abs=0.15)
    assert turned.sigma_x_px > turned.sigma_y_px


def test_a_spot_is_found_wherever_it_lies_even_when_faint():
    rng = np.random.default_rng(5)
    for _ in range(40):
        x, y = rng.uniform(2, 10, 2)
        adu = noisy(quadrature(13, x, y, 1000, 20, *rng.uniform(1, 2, 2)), 1, seed=int(rng.integers(1e6)))[0]
        fit = fit_psf(adu, CAMERA)
        assert fit.kind == "mle"
        assert math.hypot(fit.x_px - x, fit.y_px - y) < 0.7


def test_many_at_once_are_as_one_by_one_on_any_number_of_threads():
    frame_camera = replace(scmos_camera((40, 50), seed=0), saturation_adu=1e9)
    corners = np.array([[k % 27, (7 * k) % 37] for k in range(150)])
    model = spot_image((13, 13), 6.2, 5.9, 1.4, 1.9, 2000, 10)
    pictures = np.array(
        [noisy(model, 1, frame_camera.cropped((y, x, 13, 13)), seed=k)[0] for k, (y, x) in enumerate(corners)]
    )
    pictures[7] = np.nan
    many = fit_psfs(pictures, frame_camera, corners_px=corners)
    alone = fit_psfs(pictures, frame_camera, corners_px=corners, n_threads=1)
    np.testing.assert_array_equal(many.sigma_x_px, alone.sigma_x_px)
    assert len(many) == 150
    for k in (0, 7, 149):
        y, x = corners[k]
        one = fit_psf(pictures[k], frame_camera.cropped((y, x, 13, 13)))
        assert (one.kind, one.reason) == (many[k].kind, many[k].reason)
        np.testing.assert_array_equal(one.covariance, many[k].covariance)
        assert one.photons == many[k].photons or k == 7
    assert [fit.reason for fit in many].count("not finite") == 1


def test_where_no_spot_can_be_fitted_moments_are_given_and_labelled():
    truth = (6.3, 5.6, 20000, 10, 1.3, 1.8)
    adu = noisy(quadrature(13, *truth), 1)[0]
    saturated = fit_psf(adu, replace(CAMERA, saturation_adu=float(adu.max())))
    assert (saturated.kind, saturated.reason) == ("moment_fallback", "saturated")
    np.testing.assert_allclose([getattr(saturated, name) for name in NAMES], truth, rtol=0.1)
    assert np.isnan(saturated.covariance).all()
    flat = fit_psf(np.full((13, 13), 100.0), CAMERA)
    assert (flat.kind, flat.reason) == ("moment_fallback", "no spot")
    outside = fit_psf(noisy(quadrature(13, 14.5, 6, 20000, 10, 1.5, 1.5), 1)[0], CAMERA)
    assert outside.kind == "moment_fallback"
    missing = adu.copy()
    missing[3, 4] = np.nan
    assert fit_psf(missing, CAMERA).reason == "not finite"
    assert math.isnan(fit_psf(missing, CAMERA).x_px)


def test_infinite_pixels_are_a_label_and_no_warning():
    adu = np.full((13, 13), 120.0)
    adu[0, 0], adu[1, 1] = np.inf, -np.inf
    assert fit_psf(adu, CAMERA).reason == "not finite"


def test_background_alone_is_never_a_sure_spot():
    fits = fit_psfs(noisy(np.full((13, 13), 20.0), 1000), CAMERA)
    sure = fits.photons > 4 * fits.standard_errors[:, 2]
    assert sure.mean() < 0.01


def test_a_picture_need_not_be_square():
    mean = spot_image((9, 17), 11.2, 3.6, 1.4, 1.9, 5000, 10)
    for theta in (0.0, 0.02):
        fits = fit_psfs(noisy(mean, 200), CAMERA, theta_rad=theta)
        assert fits.is_mle.all()
        pulls = errors(fits, (11.2, 3.6, 5000, 10, 1.4, 1.9)) / fits.standard_errors
        assert (np.abs(pulls.mean(axis=0)) < 0.3).all()


def test_a_camera_s_own_frames_are_taken_as_they_come():
    camera = CameraModel()
    adu = expose(spot_image((13, 13), 6.2, 5.9, 1.4, 1.9, 5000, 10), camera, seed=0)
    assert adu.dtype == np.uint16
    assert fit_psf(adu, camera).photons == pytest.approx(5000, rel=0.1)
    assert fit_psf(adu.astype(np.float32), camera).x_px == pytest.approx(fit_psf(adu, camera).x_px, abs=1e-9)
    assert len(fit_psfs(np.empty((0, 13, 13)), camera)) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fit_psf(np.zeros((2, 13, 13)), CAMERA), r"picture of shape \(2, 13, 13\), expected \[y, x\]"),
        (lambda: fit_psf(np.zeros((3, 13)), CAMERA), "5 to 64 px a side"),
        (lambda: fit_psfs(np.zeros((13, 13)), CAMERA), r"fit_psfs: picture of shape \(13, 13\)"),
        (lambda: fit_psf(np.zeros((13, 13), complex), CAMERA), "dtype complex128, expected raw ADU"),
        (lambda: fit_psf(np.zeros((13, 13)), CameraModel(np.zeros((9, 9)))), r"offset_adu has shape \(9, 9\)"),
        (lambda: fit_psf(np.zeros((13, 13)), CAMERA, theta_rad=math.nan), "theta_rad is nan"),
        (lambda: fit_psf(np.zeros((13, 13)), CAMERA, excess_noise=0.5), "excess_noise is 0.5"),
        (
            lambda: fit_psfs(np.zeros((2, 13, 13)), scmos_camera((40, 40), 0), corners_px=[[0, 0], [0, 30]]),
            r"corner lies outside the camera model's offset_adu map \(40, 40\)",
        ),
        (lambda: crlb_psf(1.3, -1.0, 1000, 10, CAMERA), "sigma_y_px is -1.0, expected a number above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_said_in_one_line(call, said):
    with pytest.raises(BadInputError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
