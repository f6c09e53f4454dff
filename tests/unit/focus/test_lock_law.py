"""The PI law beside its definition, written out."""

import math

import pytest

from parfocal.focus import LockSettings
from parfocal.focus._lock_law import KalmanLaw, LawInput, PiLaw, make_law


def told(error_um, t_s, commanded_um=0.0, confidence=1.0):
    return LawInput(error_um, commanded_um, 0.02, 0.3, t_s, confidence)


def test_pi_adds_to_the_last_command_what_its_gains_say():
    law = PiLaw(LockSettings(kp=0.6, ki=0.15, kd=0.02, derivative_alpha=0.7))
    assert law.target_um(told(0.1, 0.0, 5.0)) == pytest.approx(5.0 - 0.6 * 0.1)
    slope = 0.3 * (0.04 - 0.1) / 0.05
    assert law.target_um(told(0.04, 0.05, 5.0)) == pytest.approx(
        5.0 - (0.6 * 0.04 + 0.15 * 0.04 * 0.05 + 0.02 * slope)
    )


def test_a_limited_command_does_not_wind_the_integral_up():
    free, limited = PiLaw(LockSettings(kp=0.0, ki=1.0)), PiLaw(LockSettings(kp=0.0, ki=1.0))
    for k in range(100):
        free.target_um(told(0.5, 0.1 * k))
        limited.target_um(told(0.5, 0.1 * k))
        limited.was_limited()
    assert free.target_um(told(0.0, 10.0)) == pytest.approx(-2.0)  # at integral_limit_um
    assert limited.target_um(told(0.0, 10.0)) == pytest.approx(0.0)


def test_a_long_gap_counts_as_the_longest_step():
    law = PiLaw(LockSettings(kp=0.0, ki=1.0, max_dt_s=0.2))
    law.target_um(told(0.0, 0.0))
    assert law.target_um(told(0.1, 50.0)) == pytest.approx(-0.02)


def test_confidence_scales_the_error_down_to_its_floor():
    law = PiLaw(LockSettings(ki=0.0, min_confidence_scale=0.2))
    assert law.target_um(told(0.1, 0.0, confidence=0.5)) == pytest.approx(-0.6 * 0.05)
    assert law.target_um(told(0.1, 0.1, confidence=0.0)) == pytest.approx(-0.6 * 0.02)
    assert PiLaw(LockSettings(ki=0.0)).target_um(told(0.1, 0.0, confidence=0.0)) == pytest.approx(-0.06)


def test_the_median_of_three_takes_out_one_wild_error():
    law = PiLaw(LockSettings(ki=0.0, error_median3=True))
    for k, error in enumerate((0.01, 0.01, 5.0)):
        target = law.target_um(told(error, 0.1 * k))
    assert target == pytest.approx(-0.006)


def test_errors_are_smoothed_by_their_share():
    law = PiLaw(LockSettings(ki=0.0, kp=1.0, error_alpha=0.8))
    law.target_um(told(0.0, 0.0))
    assert law.target_um(told(0.1, 0.1)) == pytest.approx(-0.02)
    law.reset()
    assert law.target_um(told(0.1, 0.2)) == pytest.approx(-0.1)


def test_kalman_goes_where_the_drift_expected_meets_the_setpoint():
    assert make_law(LockSettings()).target_um(told(math.nan, 0.0)) == pytest.approx(0.02 - 0.3)
    assert isinstance(make_law(LockSettings()), KalmanLaw)
    assert isinstance(make_law(LockSettings(law="pi")), PiLaw)
