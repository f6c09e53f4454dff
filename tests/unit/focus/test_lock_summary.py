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
    assert summary.noise_um == pytest.approx(0.005, rel=0.05)
    assert summary.in_lock_fraction > 0.99


@pytest.mark.parametrize("noise_um", [0.002, 0.01])
def test_how_far_the_focus_was_off_is_found_without_the_truth_and_without_the_locks_own_estimate(noise_um):
    controller = LockController(LockSettings(), MODEL)
    run = simulate(controller, GaussianEye(noise_um), BenchConditions(n_frames=8000, walk_um=0.002))
    is_locked = run.samples.state == "LOCKED"
    # how far its setpoint is from where it was at engage cannot be seen by anybody
    truth_um = float(np.std(run.true_um[is_locked]))
    summary = summarize_lock(run.samples, latency_frames=1)
    assert summary.rms_focus_um == pytest.approx(truth_um, rel=0.12)
    assert summary.rms_error_um < 0.9 * truth_um
    # standard errors that are stated twice too large change nothing
    doubted = summarize_lock(replace(run.samples, z_se_um=2 * run.samples.z_se_um), latency_frames=1)
    assert doubted.rms_focus_um == summary.rms_focus_um
    assert doubted.bound_um == summary.bound_um


@pytest.mark.parametrize("late_s", [0.012, 0.03])
def test_commands_are_taken_by_the_time_at_which_they_were_sent(late_s):
    rng, n, frame_s, per_frame = np.random.default_rng(0), 4000, 0.02, 200
    drift_um = np.repeat(np.cumsum(rng.normal(0, 0.002, n)), per_frame)
    noise_um = rng.normal(0, 0.004, n)
    stage_um, z_um, command_um = np.zeros((n + 3) * per_frame), np.zeros(n), np.zeros(n)
    for k in range(n):  # a lock that takes back a third of what it sees, on a fine grid of time
        span = slice(k * per_frame, (k + 1) * per_frame)
        z_um[k] = float(np.mean(drift_um[span] + stage_um[span])) + noise_um[k]
        command_um[k] = (command_um[k - 1] if k else 0.0) - 0.3 * z_um[k]
        stage_um[round((k + 0.5 + late_s / frame_s) * per_frame) :] = command_um[k]
    samples = replace(
        table(["LOCKED"] * n),
        t_s=np.arange(n) * frame_s,
        error_um=np.zeros(n),
        z_um=z_um,
        command_um=command_um,
        latency_s=np.full(n, late_s - 0.005),
        command_to_motion_s=0.005,
        setpoint_um=np.zeros(n),
        exposure_s=frame_s,
    )
    summary = summarize_lock(samples, latency_frames=4)
    assert summary.noise_um == pytest.approx(0.004, rel=0.05)
    assert summary.walk_um == pytest.approx(0.002, rel=0.15)
    assert summary.rms_focus_um == pytest.approx(np.sqrt(np.mean((z_um - noise_um) ** 2)), rel=0.05)
    delay_frames = max(late_s / frame_s - 0.5, 0)
    assert summary.bound_um == pytest.approx(kalman_bound(0.004**2, 0.002**2, delay_frames), rel=0.1)
