import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import Drift


def test_drift_starts_at_zero_and_is_a_function_of_time():
    drift = Drift((0.01, 0, 0), (0.05, 0.02, 0.02), (0.5, 0, 0), seed=3)
    np.testing.assert_array_equal(drift.at(0.0), 0.0)
    forwards = [drift.at(t) for t in (1.0, 50.0, 3.3)]
    backwards = [drift.at(t) for t in (3.3, 50.0, 1.0)][::-1]
    np.testing.assert_array_equal(forwards, backwards)


def test_ramp_and_thermal_wave_are_what_was_asked_for():
    drift = Drift((0.01, -0.02, 0), thermal_um=(0.5, 0, 0), thermal_period_s=100)
    np.testing.assert_allclose(drift.at(50.0), [0.5 + 0.5, -1.0, 0], atol=1e-12)
    np.testing.assert_allclose(drift.at(100.0), [1.0, -2.0, 0], atol=1e-12)


def test_random_walk_spreads_with_the_square_root_of_time():
    walks = [Drift(random_walk_um_per_sqrt_s=(0.1, 0.1, 0.1), seed=s) for s in range(300)]
    for t in (0.37, 5.0, 400.0):
        spread = np.array([w.at(t) for w in walks])
        assert spread.std() == pytest.approx(0.1 * np.sqrt(t), rel=0.1)
        assert abs(np.corrcoef(spread[:, 0], spread[:, 1])[0, 1]) < 0.2


def test_increments_of_the_walk_are_independent():
    walk = Drift(random_walk_um_per_sqrt_s=(1.0, 0, 0), seed=9)
    steps = np.diff([walk.at(0.05 * k)[0] for k in range(4000)])
    assert steps.std() == pytest.approx(np.sqrt(0.05), rel=0.05)
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.06


def test_time_before_the_start_is_refused():
    with pytest.raises(BadInputError, match="t_s"):
        Drift().at(-1.0)
