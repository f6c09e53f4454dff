"""The defocus model: fitted to widths with known errors, and inverted two independent ways."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, WidthCurve, WidthSamples, ZCorrection, fit_defocus, theta_line
from parfocal.fitting._defocus_model import usable_range

X = WidthCurve(1.3, 0.25, 0.4, 0.1, 0.05)
Y = WidthCurve(1.25, -0.25, 0.42, -0.05, 0.0)


def samples(photons, seed, focus=0.1, x=X, y=Y, steps=21):
    rng = np.random.default_rng(seed)
    z = np.concatenate([np.linspace(-0.7, 0.7, steps), np.linspace(0.7, -0.7, steps)]) + focus
    true = np.stack([x.width_px(z - focus), y.width_px(z - focus)], axis=1)
    covariance = (np.square(true) / (2 * photons))[:, :, None] * np.eye(2)
    return WidthSamples(z, true + rng.normal(size=true.shape) * true / np.sqrt(2 * photons), covariance)


def crossing(x=X, y=Y):
    z = np.linspace(-0.1, 0.1, 200_001)
    return float(z[np.argmin(np.abs(x.width_px(z) - y.width_px(z)))])


def test_focus_is_where_the_widths_cross_and_the_curves_are_those_of_the_truth():
    errors = []
    for seed in range(10):
        fit = fit_defocus(samples(1e4, seed))
        errors.append(fit.focus_um - 0.1 - crossing())
        z = np.linspace(-0.5, 0.5, 50)
        found = np.stack(fit.model.widths_px(z))
        true = np.stack([X.width_px(z + crossing()), Y.width_px(z + crossing())])
        assert np.abs(found / true - 1).max() < 0.02
        assert fit.model.q(0.0) == pytest.approx(0, abs=1e-6)
        assert fit.is_used.all()
    assert np.std(errors) < 0.003
    assert abs(np.mean(errors)) < 0.001


def test_outliers_are_left_out_and_said():
    data = samples(1e4, 3)
    data.sigma_px[5] *= 1.6
    data.sigma_px[30, 0] *= 0.5
    fit = fit_defocus(data)
    assert not fit.is_used[[5, 30]].any()
    assert fit.is_used.sum() == 40
    assert fit.focus_um == pytest.approx(0.1 + crossing(), abs=0.006)


def test_a_sweep_without_higher_orders_is_given_none_most_of_the_time():
    plain_x, plain_y = WidthCurve(1.3, 0.25, 0.4), WidthCurve(1.3, -0.25, 0.4)
    orders = [fit_defocus(samples(1e4, seed, x=plain_x, y=plain_y)).orders for seed in range(12)]
    assert sum(order == ("", "") for order in orders) > 5


def test_the_covariance_says_how_far_z_scatters():
    fits = [fit_defocus(samples(5e3, seed), max_order=2) for seed in range(40)]
    z = 0.25
    # z read off each fitted model for one and the same pair of widths, by the weights of the photon bound
    true = np.array([X.width_px(z), Y.width_px(z)])
    read = []
    for fit in fits:
        grid = np.linspace(0.1, 0.45, 3501)
        off = (np.stack(fit.model.widths_px(grid)) - true[:, None]) / true[:, None]
        read.append(grid[np.argmin(np.square(off).sum(axis=0))])
    said = np.median([fit.model.calibration_sd_um(z) for fit in fits])
    assert 0.6 < np.std(read) / said < 1.6


def test_errors_beyond_the_light_are_found_and_widen_the_covariance():
    rng = np.random.default_rng(0)
    data = samples(1e6, 1)
    data.sigma_px[:] *= 1 + rng.normal(0, 0.02, data.sigma_px.shape)
    fit = fit_defocus(data)
    assert fit.model_error == pytest.approx(0.02, rel=0.35)
    assert fit.reduced_chi2 > 100
    assert fit.model.calibration_sd_um(0.2) > 3 * fit_defocus(samples(1e6, 1)).model.calibration_sd_um(0.2)


def test_no_crossing_and_too_few_samples_are_refused_in_one_line():
    with pytest.raises(BadInputError, match="equal nowhere"):
        fit_defocus(samples(1e4, 0, y=WidthCurve(3.0, 0.25, 0.4)))
    with pytest.raises(BadInputError, match="expected 6 or more"):
        fit_defocus(samples(1e4, 0).taken(np.arange(42) < 5))


curves = st.builds(
    WidthCurve,
    sigma0_px=st.floats(0.8, 2.5),
    center_um=st.just(0.0),
    depth_um=st.floats(0.2, 0.6),
    a=st.floats(-0.3, 0.3),
    b=st.floats(0.03, 0.2),
)


@settings(max_examples=80, deadline=None)
@given(curves, curves, st.floats(0.1, 0.4), st.booleans())
def test_the_cubic_and_the_quartic_agree_over_the_usable_range(x, y, gamma, flipped):
    sign = -1 if flipped else 1
    x = WidthCurve(x.sigma0_px, sign * gamma, x.depth_um, x.a, x.b)
    y = WidthCurve(x.sigma0_px, -sign * gamma, y.depth_um, y.a, y.b)
    grid = np.linspace(-0.2, 0.2, 4001)
    zero = grid[np.argmin(np.abs(np.log(x.width_px(grid) / y.width_px(grid))))]
    x = WidthCurve(x.sigma0_px, x.center_um - zero, x.depth_um, x.a, x.b)
    y = WidthCurve(y.sigma0_px, y.center_um - zero, y.depth_um, y.a, y.b)
    usable = usable_range(x, y, (-0.75, 0.75))
    model = DefocusModel(x, y, 0.0, usable, 0.1)
    z = np.linspace(usable[0], usable[1], 41)[1:-1]
    slope = model.q_slope_per_um(np.linspace(*usable, 2001))
    assert (np.sign(slope) == np.sign(slope[1000])).all()
    np.testing.assert_allclose(model.z_of_q(model.q(z)), z, atol=1e-4)
    analytic = np.array([model.z_of_q_analytic(float(q)) for q in model.q(z)])
    np.testing.assert_allclose(analytic, z, atol=2e-6)


def test_the_cubic_is_good_to_a_tenth_of_a_nanometre_and_silent_outside():
    model = DefocusModel(X, WidthCurve(1.3, -0.25, 0.4, -0.1, 0.05), 0.0, (-0.3, 0.3), 0.1)
    z = np.linspace(-0.299, 0.299, 999)
    assert np.abs(model.z_of_q(model.q(z)) - z).max() < 1e-4
    assert np.isnan(model.z_of_q(3.0))
    assert np.isnan(model.z_of_q_analytic(3.0))


def test_a_usable_range_ends_at_the_nearest_turn_of_the_ratio():
    x, y = WidthCurve(1.3, 0.2, 0.4), WidthCurve(1.3, -0.2, 0.4)
    low, high = usable_range(x, y, (-2.0, 2.0))
    z = np.linspace(0, 2, 200_001)
    turn = z[np.argmax(np.abs(np.log(x.width_px(z) / y.width_px(z))))]
    assert (low, high) == pytest.approx((-turn, turn), abs=1e-3)
    assert usable_range(x, y, (-0.1, 0.15)) == (-0.1, 0.15)


def quadrupoles(theta, seed, offset=0.0, photons=5000):
    rng = np.random.default_rng(seed)
    z = np.linspace(-0.5, 0.5, 41)
    difference = np.square(X.width_px(z)) - np.square(Y.width_px(z))
    direction = np.array([np.cos(2 * theta), -np.sin(2 * theta)])
    across = np.array([-direction[1], direction[0]])
    noise = rng.normal(0, 2 * np.square(X.width_px(z)) / np.sqrt(photons), (2, 41)).T
    return difference[:, None] * direction + offset * np.ptp(difference) / 2 * across + noise


@pytest.mark.parametrize("theta", [0.3, -0.7, 0.0, np.pi / 4, 0.78])
def test_theta_has_no_degeneracy_at_focus(theta):
    errors = []
    for seed in range(40):
        line = theta_line(quadrupoles(theta, seed))
        assert -np.pi / 4 < line.theta_rad <= np.pi / 4
        off = (line.theta_rad - theta + np.pi / 4) % (np.pi / 2) - np.pi / 4
        errors.append(off / line.theta_se_rad)
        assert abs(off) < 0.03
    assert 0.6 < np.std(errors) < 1.5


def test_a_line_that_misses_the_origin_is_measured():
    clean = theta_line(quadrupoles(0.2, 1))
    assert clean.offset < 4 * clean.offset_se
    missed = theta_line(quadrupoles(0.2, 1, offset=0.3))
    assert missed.offset == pytest.approx(0.3, abs=0.05)
    assert missed.offset > 6 * missed.offset_se


def test_a_correction_is_exact_at_its_nodes_and_a_shift_beyond():
    node = (-0.2, 0.0, 0.2)
    bright, dim = (-0.21, 0.0, 0.19), (-0.25, 0.01, 0.22)
    correction = ZCorrection(node, (dim, bright), ((10.0,) * 3, (1000.0,) * 3), usual=1)
    np.testing.assert_allclose(correction.z_um(node), bright)
    np.testing.assert_allclose(correction.z_um(node, np.full(3, 5.0)), dim)
    np.testing.assert_allclose(correction.z_um(node, 100.0), np.mean([bright, dim], axis=0))
    assert correction.z_um(0.5) == pytest.approx(0.19 + 0.3)
    h = 1e-6
    slope = (correction.z_um(0.11 + h, 50.0) - correction.z_um(0.11 - h, 50.0)) / (2 * h)
    assert correction.slope(0.11, 50.0) == pytest.approx(float(slope), rel=1e-4)
    with pytest.raises(BadInputError, match="grow"):
        ZCorrection((0.0, 0.1), ((0.1, 0.0),), ((1.0, 1.0),), usual=0)
