"""Numbers of a report, counted by hand and beside a simulated lock whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.bench._lock_simulator import BenchConditions, GaussianEye, simulate
from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, WidthCurve
from parfocal.focus import LockController, LockSamples, LockSettings, kalman_bound, summarize_lock

MODEL = DefocusModel(WidthCurve(1.1, 0.25, 0.4), WidthCurve(1.1, -0.25, 0.4), 0.0, (-0.5, 0.5), 0.1)


def table(states, frames=None, error_um=0.01):
    n = len(states)
    ones = np.ones(n)
    frame = np.arange(n) if frames is None else np.array(frames)
    return LockSamples(
        frame,
        frame / 10.0,
        error_um * ones,
        0.02 * ones,
        0.005 * ones,
        0 * ones,
        4000 * ones,
        ones,
        np.array(states),
    )


def test_states_are_counted():
    states = ["LOCKING"] * 2 + ["LOCKED"] * 4 + ["LOST"] * 2 + ["RECOVERY", "LOCKED", "LOST", "FAULT"]
    summary = summarize_lock(table(states))
    assert summary.in_lock_fraction == 5 / 10
    assert (summary.n_losses, summary.n_recoveries, summary.n_faults) == (2, 1, 1)
    assert summary.longest_out_s == pytest.approx(0.4)
    assert summary.rms_error_um == pytest.approx(0.01)
    assert summary.frame_rate_hz == pytest.approx(10)
    assert math.isnan(summary.walk_um)


def test_frames_in_which_a_plan_held_the_lock_are_neither_in_lock_nor_out_of_it():
    states = ["LOCKED"] * 3 + ["DEGRADED"] * 6 + ["LOST"]
    held = np.array([False] * 3 + [True] * 5 + [False] * 2)
    summary = summarize_lock(replace(table(states), is_held=held))
    assert summary.in_lock_fraction == 3 / 5
    assert summary.n_held == 5


def test_gaps_are_dropped_frames():
    summary = summarize_lock(table(["LOCKED"] * 4, frames=[3, 4, 7, 8]))
    assert (summary.n_frames, summary.n_dropped) == (4, 2)


def test_latency_is_told_in_percentiles():
    samples = replace(table(["LOCKED"] * 101), latency_s=np.arange(101) / 1000)
    assert summarize_lock(samples).latency_s == pytest.approx((0.05, 0.095, 0.099))


def test_a_lock_that_never_locked_has_no_numbers_but_counts():
    summary = summarize_lock(table(["LOCKING"] * 5))
    assert summary.in_lock_fraction == 0
    assert math.isnan(summary.rms_error_um)
    assert math.isnan(summary.bound_um)


def test_an_empty_record_is_summed_up():
    assert summarize_lock(table([])).n_frames == 0


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(BadInputError, match="photons"):
        replace(table(["LOCKED"] * 4), photons=np.ones(3))


@pytest.mark.parametrize("walk_um", [0.002, 0.006])
def test_the_walk_and_its_bound_are_found_from_the_record_alone(walk_um):
    controller = LockController(LockSettings(), MODEL)
    run = simulate(
        controller, GaussianEye(0.005), BenchConditions(n_frames=8000, walk_um=walk_um, drop_share=0.01)
    )
    summary = summarize_lock(run.samples, latency_frames=1)
    assert summary.walk_um == pytest.approx(walk_um, rel=0.15)
    assert summary.bound_um == pytest.approx(kalman_bound(0.005**2, walk_um**2, 1), rel=0.12)
    assert summary.n_dropped == pytest.approx(80, abs=30)
    assert summary.in_lock_fraction > 0.99
