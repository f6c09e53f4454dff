"""Frame times come from the device's clock, their zero from arrivals, and neither jitter nor drift gets in."""

import numpy as np

from parfocal.devices._device_clock import DeviceClock


def test_late_arrivals_do_not_move_frame_times():
    rng = np.random.default_rng(0)
    stamps = 0.01 * np.arange(5000)
    arrivals = 1e9 + stamps + 0.001 + rng.exponential(0.004, 5000) * (rng.random(5000) < 0.5)
    clock = DeviceClock()
    told = np.array([clock.ready_s(s, a) for s, a in zip(stamps, arrivals, strict=True)])
    assert np.all(np.diff(told) >= 0)
    assert np.abs(told[200:] - (1e9 + stamps[200:] + 0.001)).max() < 1e-4


def test_a_clock_that_runs_slow_is_followed_for_hours():
    stamps = np.arange(0, 3 * 3600, 0.5)
    truth = 1e9 + stamps * (1 + 50e-6)  # the device's seconds are long: half a second off after three hours
    clock = DeviceClock()
    told = np.array([clock.ready_s(s, t + 0.002) for s, t in zip(stamps, truth, strict=True)])
    assert np.abs(told - truth - 0.002).max() < 1e-3


def test_what_is_known_of_the_start_bounds_the_first_frame():
    clock = DeviceClock(zero_s=100.0)
    assert clock.ready_s(0.5, 103.0) == 100.5
