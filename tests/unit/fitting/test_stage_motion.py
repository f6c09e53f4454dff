"""Steps, play and the affine come out as they were put in, within what they say of themselves."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import backlash_um, stage_affine, step_response


def test_a_lagging_step_gives_its_delay_and_settling():
    t = np.linspace(0, 0.1, 400)
    noise = np.random.default_rng(0).normal(0, 1e-3, t.size)
    found = step_response(t, 1 + 0.5 * -np.expm1(-t / 0.005) + noise, 1.0, 1.5, tolerance_um=0.01)
    assert found.delay_s == pytest.approx(0.005, abs=3e-4)
    assert found.rise_s == pytest.approx(0.005 * np.log(9), rel=0.1)
    assert found.settling_s == pytest.approx(0.005 * np.log(50), abs=1e-3)
    assert found.overshoot_um == 0.0
    assert found.noise_um == pytest.approx(1e-3, rel=0.3)


def test_an_overshoot_is_told():
    t = np.linspace(0, 0.2, 400)
    ringing = 1 - np.exp(-t / 0.02) * np.cos(2 * np.pi * t / 0.03)
    found = step_response(t, -2 * ringing, 0.0, -2.0)
    assert found.overshoot_um == pytest.approx(-(-2 * ringing.max()) - 2, rel=0.05)


def test_a_stage_that_does_not_answer_has_no_delay():
    t = np.linspace(0, 0.1, 50)
    assert np.isnan(step_response(t, np.zeros(50), 0.0, 1.0).delay_s)


def test_the_errors_of_play_cover_the_truth_under_a_wandering_sample():
    truth, inside, n = 0.02, 0, 200
    for seed in range(n):
        rng = np.random.default_rng(seed)
        side = np.where(np.arange(24) % 2, 1, -1)
        t = np.cumsum(rng.uniform(0.2, 0.4, 24))
        walk = np.cumsum(rng.normal(0, 0.005, 24)) + 0.003 * t
        found = backlash_um(truth * side / 2 + walk + rng.normal(0, 0.003, 24), side, t)
        inside += abs(found.value - truth) < 2 * found.se
    assert inside / n > 0.9


def test_one_sided_approaches_are_refused():
    with pytest.raises(BadInputError, match="changes of side"):
        backlash_um(np.zeros(8), np.ones(8), np.arange(8))


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_the_affine_is_found_with_its_pixel_size_and_angle(is_mirrored):
    rng = np.random.default_rng(1)
    angle = np.radians(12.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / 0.108
    truth = turn * np.array([1, -1]) if is_mirrored else turn
    at, t = rng.uniform(-5, 5, (24, 2)), np.arange(24.0)
    moved = at @ truth.T + 0.02 * t[:, None] + rng.normal(0, 0.05, (24, 2))
    found = stage_affine(at, moved, t)
    assert found.pixel_size_um.value == pytest.approx(0.108, abs=4 * found.pixel_size_um.se)
    assert found.pixel_size_um.se < 2e-4
    assert found.is_mirrored == is_mirrored
    assert abs(found.rotation_deg) == pytest.approx(12.0, abs=0.2)
    np.testing.assert_allclose(found.px_per_um, truth, atol=5 * found.px_per_um_se.max())
