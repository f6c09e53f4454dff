"""The vertex against curves whose peak is known, and what is said when there is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import BadInputError
from parfocal.focus import best_plane

SHAPES = {
    "gaussian": lambda u: np.exp(-u * u / 2),
    "defocus": lambda u: 1 / (1 + u * u),
    "defocus squared": lambda u: 1 / (1 + u * u) ** 2,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("focus", [-0.4, 0.0, 0.23])
def test_a_clean_peak_is_found_between_the_planes(shape, step, focus):
    z = np.arange(-5, 5.01, step)
    found = best_plane(z, 1e4 * SHAPES[shape](z - focus))
    assert found.found
    assert found.z_um == pytest.approx(focus, abs=0.002)
    assert found.sigma_z_um < 0.01
    assert found.index == int(np.argmin(np.abs(z - focus)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_one_sigma_covers_about_68_percent(shape, noise):
    rng = np.random.default_rng(11)
    z = np.arange(-5, 5.01, 0.5)
    inside, trials = 0, 400
    for _ in range(trials):
        focus = rng.uniform(-0.25, 0.25)
        found = best_plane(z, SHAPES[shape](z - focus) + rng.normal(0, noise, z.size))
        assert found.found
        inside += abs(found.z_um - focus) < found.sigma_z_um
    assert 0.55 < inside / trials < 0.82


def test_order_and_spacing_do_not_matter():
    rng = np.random.default_rng(0)
    z = np.sort(rng.uniform(-4, 4, 17))
    scores = np.exp(-((z - 0.6) ** 2) / 2)
    up = best_plane(z, scores)
    assert up.z_um == pytest.approx(0.6, abs=1e-3)
    down = best_plane(z[::-1], scores[::-1])
    shuffled = rng.permutation(17)
    mixed = best_plane(z[shuffled], scores[shuffled])
    assert (down.z_um, down.sigma_z_um) == pytest.approx((up.z_um, up.sigma_z_um))
    assert (mixed.z_um, mixed.sigma_z_um) == pytest.approx((up.z_um, up.sigma_z_um))
    assert z[::-1][down.index] == z[up.index] == z[shuffled][mixed.index]


def test_repeated_planes_are_averaged():
    rng = np.random.default_rng(4)
    once = np.arange(-4, 4.1, 0.5)
    z = np.concatenate([once, once + 1e-9, once[::-1]])
    scores = np.exp(-((z - 0.1) ** 2) / 2) + rng.normal(0, 0.01, z.size)
    found = best_plane(z, scores)
    assert abs(found.z_um - 0.1) < 3 * found.sigma_z_um < 0.1
    assert scores[found.index] == scores.max()


def test_scores_below_zero_far_from_focus_do_no_harm():
    z = np.arange(-5, 5.1, 0.5)
    scores = np.exp(-((z - 0.2) ** 2) / 2) - 0.01
    assert best_plane(z, scores).z_um == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_peak_at_the_end_is_no_focus(direction):
    z = np.arange(0.0, 8.0)[::direction]
    found = best_plane(z, np.exp(-((z - 9) ** 2) / 8))
    assert found.peak_at_edge
    assert not found.found
    assert found.reason == "edge"
    assert found.z_um == 7.0
    assert math.isnan(found.sigma_z_um)


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_flat_scores_have_no_focus(value):
    found = best_plane(np.arange(6.0), np.full(6, value))
    assert (found.found, found.reason) == (False, "flat")
    assert math.isnan(found.z_um)


def test_noise_alone_has_no_focus():
    rng = np.random.default_rng(1)
    reasons = [best_plane(np.arange(60.0), rng.normal(0, 1, 60)).reason for _ in range(100)]
    assert sum(reason == "" for reason in reasons) <= 5


def test_scores_that_are_no_numbers_are_left_out():
    z = np.arange(-4, 4.1, 0.5)
    scores = np.exp(-((z - 0.3) ** 2) / 2)
    scores[[0, 3, 16]] = [np.nan, np.inf, -np.inf]
    assert best_plane(z, scores).z_um == pytest.approx(0.3, abs=0.01)
    nothing = best_plane(z, np.full(z.size, np.nan))
    assert (nothing.index, nothing.reason) == (-1, "not finite")


def test_three_planes_are_known_no_better_than_their_spacing():
    found = best_plane([0, 2, 4], [1, 3, 2])
    assert found.found
    assert found.sigma_z_um == pytest.approx(2 / math.sqrt(12))
    told = best_plane([0, 2, 4], [1, 3, 2], score_sd=0.01)
    assert 0 < told.sigma_z_um < 0.1


def test_given_noise_is_propagated_to_the_vertex():
    rng = np.random.default_rng(3)
    errors, sigmas = [], []
    for _ in range(300):
        found = best_plane([-1, 0, 1], np.exp(-(np.array([-1, 0, 1]) ** 2) / 2) + rng.normal(0, 0.01, 3), 0.01)
        errors.append(found.z_um)
        sigmas.append(found.sigma_z_um)
    assert np.std(errors) == pytest.approx(np.median(sigmas), rel=0.15)


@pytest.mark.parametrize("z", [[1.0], [1.0, 2.0], [1.0, 1.0, 1.0, 2.0]])
def test_too_few_planes_are_said_to_be_too_few(z):
    found = best_plane(z, np.arange(len(z)) + 1.0)
    assert found.reason == "too few planes" or (len(z) == 1 and found.reason == "flat")


@pytest.mark.parametrize(
    ("z", "scores", "message"),
    [([], [], "0 z"), ([1, 2], [1], "2 z"), ([1, np.nan, 3], [1, 2, 1], "plane 1")],
)
def test_what_is_no_stack_is_refused(z, scores, message):
    with pytest.raises(BadInputError, match=message):
        best_plane(z, scores)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-1e4, 1e4), st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, 0.0]))
        ),
        min_size=1,
        max_size=15,
    )
)
def test_no_input_makes_a_focus_outside_the_stack_or_a_silent_one(planes):
    z, scores = zip(*planes)
    found = best_plane(z, scores)
    if found.found:
        assert min(z) <= found.z_um <= max(z)
        assert found.sigma_z_um >= 0
        assert found.n_points >= 3
    else:
        assert math.isnan(found.sigma_z_um)
