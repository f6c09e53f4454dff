"""What is read at a position is the light that comes from there."""

import numpy as np
import pytest

from calcium_scene import spot
from parfocal.errors import BadInputError
from parfocal.puncta.calcium import ReadSettings, read_signals

SETTINGS = ReadSettings(1.2)


def test_a_lone_punctum_gives_its_photons_and_its_surround():
    image = 12.0 + 500.0 * spot((40, 40), 19.3, 20.8, 1.2)
    found = read_signals(image, [19.3], [20.8], SETTINGS)
    assert found.signal[0] == pytest.approx(500.0, rel=0.01)
    assert found.surround[0] == pytest.approx(12.0, rel=0.01)
    assert abs(found.moment_y[0]) < 5
    assert abs(found.moment_x[0]) < 5


def test_puncta_that_overlap_are_told_apart():
    image = 5.0 + 400.0 * spot((40, 40), 20, 18, 1.2) + 900.0 * spot((40, 40), 20.4, 20.6, 1.2)
    found = read_signals(image, [20, 20.4], [18, 20.6], SETTINGS)
    np.testing.assert_allclose(found.signal, [400, 900], rtol=0.03)
    alone = read_signals(image, [20], [18], SETTINGS)
    assert alone.signal[0] > 600  # what it would be without the neighbour's being known


def test_puncta_too_near_to_be_told_apart_are_not_guessed():
    image = 400.0 * spot((40, 40), 20, 18, 1.2)
    found = read_signals(image, [20, 20.05, 8], [18, 18.05, 8], SETTINGS)
    assert np.isnan(found.signal[:2]).all()
    assert found.signal[2] == pytest.approx(0, abs=1)


def test_a_punctum_at_the_border_is_not_read_as_darker():
    image = 30.0 + 500.0 * spot((40, 40), 0.2, 0.4, 1.2)
    found = read_signals(image, [0.2], [0.4], SETTINGS)
    assert found.signal[0] == pytest.approx(500.0, rel=0.02)


def test_the_neighbours_light_is_kept_out_of_the_surround():
    image = 10.0 + 5000.0 * spot((40, 40), 20, 25, 1.2)
    found = read_signals(image, [20, 20], [20, 25], SETTINGS)
    assert found.surround[0] == pytest.approx(10.0, abs=0.5)
    assert found.signal[0] == pytest.approx(0.0, abs=10)


def test_moments_tell_how_far_away_the_light_came_from():
    image = 300.0 * spot((40, 40), 21.5, 17.4, 1.2)
    found = read_signals(image, [20.0], [20.0], SETTINGS)
    assert found.moment_y[0] / found.signal[0] == pytest.approx(1.5, abs=0.15)
    assert found.moment_x[0] / found.signal[0] == pytest.approx(-2.6, abs=0.3)


def test_outside_the_image_there_is_no_signal():
    found = read_signals(np.ones((20, 20)), [-3.0, 10.0, 25.0], [5.0, 10.0, 5.0], SETTINGS)
    assert np.isfinite(found.signal).tolist() == [False, True, False]


def test_the_scatter_of_the_amplitude_is_what_least_squares_allows():
    rng = np.random.default_rng(0)
    image = rng.normal(50.0, 4.0, (400, 400))
    at = np.arange(12, 390, 25.0)
    y, x = (a.ravel() for a in np.meshgrid(at, at))
    found = read_signals(image, y, x, SETTINGS)
    allowed = 4.0 * (2 * SETTINGS.footprint_px) ** 0.5  # 4 pi sigma^2
    assert abs(found.signal.mean()) < 4 * allowed / y.size**0.5
    assert allowed * 0.9 < found.signal.std() < allowed * 1.35  # and what the surround adds


def test_what_cannot_be_read_is_refused_in_one_line():
    with pytest.raises(BadInputError, match=r"expected \[y, x\]"):
        read_signals(np.ones((2, 20, 20)), [1.0], [1.0], SETTINGS)
    with pytest.raises(BadInputError, match="psf_sigma_px"):
        ReadSettings(0.0)
    with pytest.raises(BadInputError, match="ring_px"):
        ReadSettings(1.0, ring_px=(5.0, 4.0))
