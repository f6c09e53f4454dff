"""What is known of a width before its spot is looked at: from the other spots, as far as they are alike."""

import numpy as np
import pytest
from scipy.optimize import minimize

from parfocal.errors import BadInputError
from parfocal.fitting import are_of_one_kind, common_width, fit_crowds, fit_psfs, spot_image
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


def deviance(raw, mean):
    counts = np.maximum((raw - 100.0) / 2.0 + 1.5**2, 1e-9)
    return float(2 * (mean - counts + counts * np.log(counts / mean)).sum())


def test_the_deviance_is_that_of_the_picture_alone():
    raw, _ = pictures([1.0], 3000, 30)
    told = fitted(raw, width_prior_px=(1.4, 0.05))
    assert told.sigma_x_px[0] > 1.05
    mean = spot_image(
        (7, 7), told.x_px[0], told.y_px[0], *[told.sigma_x_px[0]] * 2, told.photons[0], told.background[0]
    )
    assert told.deviance[0] == pytest.approx(deviance(raw[0], mean + 1.5**2), abs=1e-6)


def two_each(n, apart_px=6.0, photons=4000.0, widths=(0.9, 0.9), shape=(9, 11)):
    x = (shape[1] - 1) / 2
    mean = spot_image(shape, x - apart_px / 2, 4.0, widths[0], widths[0], photons, 20)
    mean += spot_image(shape, x + apart_px / 2, 4.2, widths[1], widths[1], photons)
    rng = np.random.default_rng(2)
    return np.round(100 + 2.0 * rng.poisson(mean, (n, *shape))).astype(np.uint16)


def test_light_and_width_of_several_in_a_picture_are_told_by_it_alone():
    raw = two_each(40, apart_px=3.5)
    free, told = (fit_crowds(raw, CAMERA, width_prior_px=prior) for prior in (None, (1.0, 0.02)))
    assert (np.bincount(told.picture, minlength=40) == 2).all()
    assert told.sigma_px.mean() == pytest.approx(free.sigma_px.mean(), rel=0.002)
    assert told.photons.mean() == pytest.approx(free.photons.mean(), rel=0.002)
    assert not np.array_equal(told.x_px, free.x_px)


def test_a_wide_spot_is_not_taken_for_several():
    wide = spot_image((9, 9), 4.2, 3.9, 1.3, 1.3, 4000, 20)
    raw = np.round(100 + 2.0 * np.random.default_rng(4).poisson(wide, (40, 9, 9))).astype(np.uint16)
    assert (fit_crowds(raw, CAMERA, width_prior_px=(0.9, 0.01)).n_spots == 1).all()


def test_two_that_nearly_touch_are_told_apart_by_the_width_of_the_others():
    raw = two_each(100, apart_px=1.1, photons=700.0)
    alone, together = (
        np.bincount(fit_crowds(raw, CAMERA, f_test_p=1e-4, width_prior_px=prior).picture, minlength=100)
        for prior in (None, (0.9, 0.01))
    )
    assert (together == 2).sum() > (alone == 2).sum() + 20
    assert (together > 2).sum() <= (alone > 2).sum()


def test_few_spots_tell_nothing_of_each_other():
    assert told_by(pictures(np.full(19, 1.0), 1000, 20)[0]) is None


def test_widths_that_scatter_by_a_fifth_tell_nothing_of_each_other():
    widths = np.random.default_rng(3).uniform(0.5, 1.6, 300)
    assert told_by(pictures(widths, 20000, 20)[0]) is None


@pytest.mark.parametrize(("photons", "background"), [(1000, 30), (10000, 5)])
def test_spots_of_one_width_are_of_one_kind_and_those_of_two_are_not(photons, background):
    def kind(widths):
        raw, _ = pictures(widths, photons, background)
        first = fitted(raw)
        prior = common_width(raw, CAMERA, first, at_px=np.full((len(raw), 2), 3.0))
        return prior is not None and are_of_one_kind(fitted(raw, width_prior_px=prior), first)

    assert kind(np.full(300, 0.8))
    assert kind(np.random.default_rng(3).normal(0.8, 0.06, 300))
    assert not kind(np.repeat([0.8, 2.0], [240, 60]))


@pytest.mark.parametrize(
    "prior", [(0.0, 0.1), (1.0, 0.0), (float("nan"), 0.1), (1.0,), 1.0, ("a", "b"), (1.0, 1e200)]
)
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
