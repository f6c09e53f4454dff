"""What is known of a width before its spot is looked at: from the other spots, as far as they are alike."""

import numpy as np
import pytest
from scipy.optimize import minimize

from parfocal.errors import BadInputError
from parfocal.fitting import common_width, fit_crowds, fit_psfs, spot_image
from parfocal.optics import CameraModel

CAMERA = CameraModel(100.0, 2.0, 1.5)


def pictures(widths_px, photons, background, seed=0):
    rng = np.random.default_rng(seed)
    widths = np.asarray(widths_px, float)
    places = 3 + rng.uniform(-0.5, 0.5, (len(widths), 2))
    mean = np.stack([spot_image((7, 7), x, y, s, s, photons, background) for (x, y), s in zip(places, widths)])
    electrons = rng.poisson(mean) + rng.normal(0, 1.5, mean.shape)
    return np.round(100 + 2.0 * electrons).astype(np.uint16), places


def fitted(raw, **told):
    return fit_psfs(raw, CAMERA, is_round=True, at_px=np.full((len(raw), 2), 3.0), **told)


def told_by(raw):
    return common_width(raw, CAMERA, fitted(raw), at_px=np.full((len(raw), 2), 3.0))


def test_dim_spots_of_one_width_tell_it_together():
    raw, _ = pictures(np.full(600, 0.75), 250, 100)
    mean_px, scatter_px = told_by(raw)
    assert mean_px == pytest.approx(0.75, abs=0.015)
    assert scatter_px < 0.06


def test_how_much_widths_differ_is_found_beside_what_noise_makes_of_it():
    widths = np.random.default_rng(1).normal(1.0, 0.12, 800)
    raw, _ = pictures(widths, 2000, 50)
    mean_px, scatter_px = told_by(raw)
    assert mean_px == pytest.approx(1.0, abs=0.02)
    assert scatter_px == pytest.approx(0.12, abs=0.025)


def test_dim_spots_are_placed_better_with_the_width_of_the_others():
    raw, places = pictures(np.full(2000, 0.72), 220, 100)
    alone, together = fitted(raw), fitted(raw, width_prior_px=told_by(raw))

    def rms(fits):
        return np.sqrt(np.mean(np.square((fits.x_px - places[:, 0])[fits.is_mle])))

    assert together.is_mle.mean() >= alone.is_mle.mean()
    assert rms(together) < 0.96 * rms(alone)


def test_a_bright_spot_keeps_its_own_width():
    raw, _ = pictures([1.3] * 5, 1e5, 20)
    free, told = fitted(raw), fitted(raw, width_prior_px=(1.0, 0.1))
    np.testing.assert_allclose(told.sigma_x_px, free.sigma_x_px, rtol=0.01)


def test_the_fit_is_where_likelihood_times_prior_is_highest():
    raw, _ = pictures([0.9], 300, 30, seed=4)
    told = fitted(raw, width_prior_px=(1.2, 0.05))
    counts = (raw[0] - 100.0) / 2.0 + 1.5**2

    def minus_log(p):
        mean = spot_image((7, 7), p[0], p[1], p[4], p[4], p[2], p[3]) + 1.5**2
        return float((mean - counts * np.log(mean)).sum() + 0.5 * ((p[4] - 1.2) / 0.05) ** 2)

    best = minimize(
        minus_log,
        [3, 3, 300, 30, 1.2],
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-9, "maxiter": 9000},
    ).x
    assert told.sigma_x_px[0] == pytest.approx(best[4], abs=1e-3)
    assert told.x_px[0] == pytest.approx(best[0], abs=2e-3)


def test_the_deviance_is_that_of_the_picture_alone():
    raw, _ = pictures([1.0], 3000, 30)
    free, told = fitted(raw), fitted(raw, width_prior_px=(1.4, 0.05))
    assert told.deviance[0] > free.deviance[0]
    near = fitted(raw, width_prior_px=(float(free.sigma_x_px[0]), 0.05))
    assert near.deviance[0] == pytest.approx(free.deviance[0], abs=1e-6)


def test_several_spots_in_a_picture_have_the_width_that_is_told():
    mean = spot_image((9, 9), 2.5, 4.0, 0.9, 0.9, 4000, 20) + spot_image((9, 9), 6.0, 4.2, 0.9, 0.9, 4000)
    rng = np.random.default_rng(2)
    raw = np.round(100 + 2.0 * rng.poisson(mean, (40, 9, 9))).astype(np.uint16)
    free, told = (fit_crowds(raw, CAMERA, width_prior_px=prior) for prior in (None, (0.9, 0.001)))
    assert (np.bincount(told.picture, minlength=40) == 2).all()
    assert np.abs(told.sigma_px - 0.9).max() < 0.01
    assert np.std(free.sigma_px) > 5 * np.std(told.sigma_px)


def test_few_spots_tell_nothing_of_each_other():
    assert told_by(pictures(np.full(19, 1.0), 1000, 20)[0]) is None


def test_widths_that_scatter_by_a_fifth_tell_nothing_of_each_other():
    widths = np.random.default_rng(3).uniform(0.5, 1.6, 300)
    assert told_by(pictures(widths, 20000, 20)[0]) is None


def test_a_spot_that_its_own_picture_sets_apart_keeps_its_fit():
    raw, _ = pictures([1.0] * 5 + [1.8], 8000, 20)
    free, told = fitted(raw), fitted(raw, width_prior_px=(1.0, 0.01))
    kept = told.else_of(free, 9.0)
    np.testing.assert_array_equal(kept.sigma_x_px, [*told.sigma_x_px[:5], free.sigma_x_px[5]])
    np.testing.assert_array_equal(kept.covariance[5], free.covariance[5])


@pytest.mark.parametrize("prior", [(0.0, 0.1), (1.0, 0.0), (float("nan"), 0.1)])
def test_a_width_that_is_none_is_refused(prior):
    raw, _ = pictures([1.0], 1000, 20)
    with pytest.raises(BadInputError, match="width_prior_px"):
        fitted(raw, width_prior_px=prior)
    with pytest.raises(BadInputError, match="width_prior_px"):
        fit_crowds(raw, CAMERA, width_prior_px=prior)


def test_a_width_is_told_of_round_spots_fitted_by_mle_alone():
    raw, _ = pictures([1.0], 1000, 20)
    with pytest.raises(BadInputError, match="round"):
        fit_psfs(raw, CAMERA, width_prior_px=(1.0, 0.1))
    with pytest.raises(BadInputError, match="mle"):
        fitted(raw, method="wlsq", width_prior_px=(1.0, 0.1))
