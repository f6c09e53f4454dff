"""Fits of round spots, from a given place, over known light, by least squares, and of several at once."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import crlb_psf, fit_crowds, fit_psfs, spot_image
from parfocal.optics import CameraModel

CAMERA = CameraModel(100.0, 2.0, 1.5)


def pictures(mean, n, seed=0):
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(mean, (n, *mean.shape)) + rng.normal(0, 1.5, (n, *mean.shape))
    return np.round(100 + 2.0 * electrons).astype(np.uint16)


def test_a_round_fit_reaches_its_bound_and_states_it():
    raw = pictures(spot_image((7, 7), 3.2, 2.9, 1.0, 1.0, 1000, 20), 2000)
    fits = fit_psfs(raw, CAMERA, is_round=True)
    bound = np.sqrt(np.diag(crlb_psf(1, 1, 1000, 20, CAMERA, 7)))
    assert fits.is_mle.all()
    assert fits.covariance.shape == (2000, 5, 5)
    np.testing.assert_array_equal(fits.sigma_x_px, fits.sigma_y_px)
    assert fits.x_px.std() == pytest.approx(bound[0], rel=0.06)
    assert 0.65 < (np.abs(fits.x_px - 3.2) < fits.standard_errors[:, 0]).mean() < 0.71
    assert np.isnan(fits.q_se).all()


@pytest.mark.parametrize("method", ["wlsq", "lsq"])
@pytest.mark.parametrize("is_round", [True, False])
def test_least_squares_come_to_the_least_squares(method, is_round):
    from scipy.optimize import least_squares

    raw = pictures(spot_image((9, 9), 4.3, 3.8, 1.2, 1.2, 2000, 30), 3)
    fits = fit_psfs(raw, CAMERA, is_round=is_round, method=method)
    for k in range(3):
        electrons = (raw[k] - 100.0) / 2.0
        weight = 1 / np.maximum(electrons, electrons.max() / 1000) if method == "wlsq" else np.ones_like(electrons)

        def left(p, electrons=electrons, weight=weight):
            widths = (p[4], p[4]) if is_round else (p[4], p[5])
            return (np.sqrt(weight) * (electrons - spot_image((9, 9), p[0], p[1], *widths, p[2], p[3]))).ravel()

        best = least_squares(left, [4, 4, 2000, 30, 1.3, 1.3][: 5 if is_round else 6], x_scale="jac").x
        assert fits.x_px[k] == pytest.approx(best[0], abs=2e-3)
        assert fits.photons[k] == pytest.approx(best[2], rel=2e-3)
        assert fits.sigma_x_px[k] == pytest.approx(best[4], rel=2e-3)


def test_a_told_place_keeps_a_fit_from_a_brighter_neighbour():
    mean = spot_image((13, 13), 3.0, 6.0, 1.0, 1.0, 1500, 10) + spot_image((13, 13), 10.5, 6.0, 1.0, 1.0, 6000)
    raw = pictures(mean, 20)
    assert (fit_psfs(raw, CAMERA, is_round=True).x_px > 9).all()
    assert (fit_psfs(raw, CAMERA, is_round=True, at_px=np.full((20, 2), (6.0, 3.0))).x_px < 6).all()


def test_light_that_is_known_is_no_part_of_the_spot():
    slope = np.linspace(0, 200, 9)[None, :].repeat(9, 0)
    raw = pictures(spot_image((9, 9), 4.2, 4.0, 1.1, 1.1, 2000, 10) + slope, 500)
    knowing = fit_psfs(raw, CAMERA, is_round=True, known_light=slope)
    pull = (knowing.x_px - 4.2) / knowing.standard_errors[:, 0]
    assert abs(pull.mean()) < 0.15
    assert pull.std() == pytest.approx(1, abs=0.1)
    assert knowing.photons.mean() == pytest.approx(2000, rel=0.02)
    assert abs(fit_psfs(raw, CAMERA, is_round=True).x_px.mean() - 4.2) > 3 * abs(knowing.x_px.mean() - 4.2)


def test_spots_are_counted_and_each_is_known_to_its_stated_error():
    places = np.array([[2.0, 3.2], [4.6, 2.9], [3.4, 5.6]])
    for n in (1, 2, 3):
        mean = np.full((9, 9), 20.0)
        for x, y in places[:n]:
            mean += spot_image((9, 9), x + 0.6, y, 0.8, 0.8, 5000)
        fits = fit_crowds(pictures(mean, 60), CAMERA, f_test_p=1e-6)
        counts = np.bincount(fits.picture, minlength=60)
        assert (counts == n).mean() > 0.97
        right = np.flatnonzero(fits.n_spots == n)
        distance = np.hypot(fits.x_px[right, None] - places[:n, 0] - 0.6, fits.y_px[right, None] - places[:n, 1])
        pull = distance.min(axis=1) / np.hypot(fits.x_se_px[right], fits.y_se_px[right])
        assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.2)


def test_what_cannot_be_asked_is_refused():
    raw = np.zeros((2, 9, 9))
    for said, arguments in {
        "along the camera's axes": {"method": "lsq", "theta_rad": None},
        "at_px has shape": {"at_px": np.zeros((3, 2))},
        "known_light": {"known_light": -np.ones((9, 9))},
        "sigma_px is -1": {"sigma_px": -1.0},
    }.items():
        with pytest.raises(BadInputError, match=said):
            fit_psfs(raw, CAMERA, **arguments)
    with pytest.raises(BadInputError, match="max_spots is 6"):
        fit_crowds(raw, CAMERA, max_spots=6)
