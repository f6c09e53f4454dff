"""Spots of a frame whose places are nearly known, fitted together where they overlap."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import CrowdLimits, fit_frame_crowds, spot_image
from parfocal.optics import CameraModel

CAMERA = CameraModel(100.0, 2.0, 1.5)
PLACES = np.array([(14.3, 12.1), (16.6, 12.9), (15.2, 14.8), (32.4, 30.0)])


def frames(n, photons=2000.0, background=30.0, places=PLACES):
    rng = np.random.default_rng(5)
    mean = np.full((44, 44), background)
    for x, y in places:
        mean += spot_image((44, 44), x, y, 1.0, 1.0, photons)
    return np.round(100 + 2.0 * (rng.poisson(mean, (n, 44, 44)) + rng.normal(0, 1.5, (n, 44, 44)))).astype(int)


def fitted(frame, places=PLACES, crowds=None, limits=None):
    rng = np.random.default_rng(int(frame[0, 0]))
    x, y = (places + rng.normal(0, 0.2, places.shape)).T
    n = len(places)
    return fit_frame_crowds(
        frame, CAMERA, crowds or [np.array([0, 1, 2])], x, y, np.full(n, 1500.0), np.full(n, 20.0), 1.0, limits
    )


def test_three_that_overlap_are_placed_as_well_as_is_stated():
    pulls = []
    for frame in frames(150):
        fits = fitted(frame)
        assert len(fits) == 3
        assert fits.is_mle.all()
        x, y = PLACES[:3].T
        pulls += [*((fits.x_px - x) / fits.x_se_px), *((fits.y_px - y) / fits.y_se_px)]
    assert np.std(pulls) == pytest.approx(1, abs=0.1)
    assert 0.62 < (np.abs(pulls) < 1).mean() < 0.74


def test_one_that_was_overlooked_is_added_and_one_too_many_taken_away():
    for frame in frames(20, photons=4000.0):
        two = fitted(frame, PLACES[:2], [np.array([0, 1])])
        assert len(two) == 3
        assert np.hypot(two.x_px - PLACES[2, 0], two.y_px - PLACES[2, 1]).min() < 0.3
        four = fitted(frame, np.vstack([PLACES[:3], (14.5, 12.4)]), [np.arange(4)])
        assert len(four) == 3


def test_none_is_added_where_none_may_be():
    (frame,) = frames(1, photons=4000.0)
    assert len(fitted(frame, PLACES[:2], [np.array([0, 1])], CrowdLimits(most_more=0))) == 2


def test_crowds_keep_their_numbers():
    (frame,) = frames(1)
    fits = fitted(frame, crowds=[np.array([3]), np.array([0, 1, 2])])
    assert fits.crowd.tolist() == [0, 1, 1, 1]
    assert fits.x_px[0] == pytest.approx(PLACES[3, 0], abs=0.15)
    assert fits.photons[0] == pytest.approx(2000, rel=0.15)


def test_spots_that_are_not_of_a_crowd_are_known_light_to_it():
    """A bright one 3.5 px off, told as it is, pulls nothing; told as dark, it does."""
    places = np.array([(20.0, 20.0), (23.5, 20.0)])
    rng = np.random.default_rng(8)
    dark = np.array([2000.0, 1.0])
    known, unknown = [], []
    for frame in frames(40, photons=2000.0, places=places):
        for photons, into in ((np.array([1500.0, 2000.0]), known), (dark, unknown)):
            x, y = (places + rng.normal(0, 0.05, places.shape)).T
            told = (frame, CAMERA, [np.array([0])], x, y, photons, np.full(2, 20.0), 1.0)
            into.append(fit_frame_crowds(*told, CrowdLimits(most_more=0)).x_px[0] - 20.0)
    assert abs(np.mean(known)) < 0.02
    assert np.mean(unknown) > 0.1


@pytest.mark.parametrize("bad", [np.nan, 65535.0])
def test_a_crowd_on_pixels_that_say_nothing_has_no_rows(bad):
    (frame,) = frames(1)
    holed = frame.astype(float)
    holed[14, 15] = bad
    fits = fitted(holed, crowds=[np.array([0, 1, 2]), np.array([3])])
    assert fits.crowd.tolist() == [1]


@pytest.mark.parametrize(
    "told",
    [
        {"crowds": [np.array([4])]},
        {"crowds": [np.empty(0, np.int64)]},
        {"crowds": [np.array([0.0])]},
        {"y_px": np.zeros(3)},
        {"x_px": np.full(4, np.nan)},
        {"excess_noise": 0.0},
        {"sigma_px": np.inf},
        {"camera_model": CameraModel(np.zeros((3, 3)), 1.0, 1.0)},
    ],
)
def test_what_the_kernel_could_not_do_with_is_refused_in_one_line(told):
    x, y = PLACES.T
    good = {
        "frame": frames(1)[0], "camera_model": CAMERA, "crowds": [np.array([0, 1])], "x_px": x, "y_px": y,
        "photons": np.full(4, 1500.0), "background": np.full(4, 20.0), "sigma_px": 1.0,
    }  # fmt: skip
    with pytest.raises(BadInputError, match="fit_frame_crowds"):
        fit_frame_crowds(**(good | told))


def test_limits_below_nothing_are_refused():
    with pytest.raises(BadInputError, match="most_more"):
        CrowdLimits(most_more=-1)


def test_amplified_electrons_scatter_more_and_are_told_apart_worse():
    (frame,) = frames(1)
    x, y = PLACES.T
    told = (frame, CAMERA, [np.array([3])], x, y, np.full(4, 1500.0), np.full(4, 20.0), 1.0)
    plain, amplified = fit_frame_crowds(*told), fit_frame_crowds(*told, excess_noise=2.0)
    assert amplified.photons[0] == pytest.approx(plain.photons[0], rel=0.05)
    assert amplified.x_se_px[0] == pytest.approx(np.sqrt(2) * plain.x_se_px[0], rel=0.05)


@pytest.mark.parametrize(("shape", "sigma_px"), [((3, 44, 44), 1.0), ((44, 44), 0.0)])
def test_what_is_no_picture_or_no_width_is_refused(shape, sigma_px):
    none = np.empty(0)
    with pytest.raises(BadInputError, match="fit_frame_crowds"):
        fit_frame_crowds(np.zeros(shape), CAMERA, [], none, none, none, none, sigma_px)
