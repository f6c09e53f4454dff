"""The lock closed over a simulated stage: what it holds, what it notices, and how it comes back.

Defocus is seen with Gaussian noise here; images are in tests/unit/bench/test_lock_bench.py.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.bench._lock_simulator import BenchConditions, GaussianEye, simulate
from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, WidthCurve
from parfocal.focus import LockController, LockSettings, LockState, StageState, kalman_bound

MODEL = DefocusModel(WidthCurve(1.1, 0.25, 0.4), WidthCurve(1.1, -0.25, 0.4), 0.0, (-0.5, 0.5), 0.1)
SE_UM = 0.0073
STAGE = StageState(0.0, 0.0, 0.0)


def locked_run(conditions=None, on_frame=None, eye=None, **options):
    controller = LockController(LockSettings(**options), MODEL, (13, 13))
    conditions = conditions or BenchConditions(n_frames=1500)
    return controller, simulate(controller, eye or GaussianEye(SE_UM), conditions, on_frame)


def flags_of(run):
    return {flag for flags in run.flags for flag in flags}


@pytest.mark.parametrize("latency", [0, 1, 2, 3])
def test_the_focus_is_held_near_the_bound_at_any_known_latency(latency):
    conditions = BenchConditions(n_frames=4000, latency_frames=latency, ramp_um_per_s=0.02, ramp_turns_s=60)
    controller, run = locked_run(conditions, latency_frames=latency)
    bound_um = kalman_bound(SE_UM**2, 0.004**2, latency)
    assert run.rms_um() < 1.2 * bound_um
    assert controller.state is LockState.LOCKED
    assert np.mean(run.samples.state == "LOCKED") > 0.97


def test_gain_follows_the_light():
    _, bright = locked_run(BenchConditions(n_frames=3000, walk_um=0.0003), eye=GaussianEye(0.0016))
    assert np.std(bright.true_um[300:]) < 1.15 * kalman_bound(0.0016**2, 0.0003**2, 1)
    assert bright.rms_um() < 0.001


def test_the_original_law_runs_in_the_same_lock_and_holds_worse():
    conditions = BenchConditions(n_frames=4000, ramp_um_per_s=0.02, ramp_turns_s=60)
    original = LockController(LockSettings.of_the_original(), MODEL, (13, 13))
    theirs = simulate(original, GaussianEye(SE_UM), conditions)
    _, ours = locked_run(conditions)
    assert original.state is LockState.LOCKED
    assert ours.rms_um() < 0.9 * theirs.rms_um()


def test_the_setpoint_is_a_mean_and_knows_its_error():
    offs = []
    for seed in range(40):
        conditions = BenchConditions(n_frames=40, walk_um=0.0, stage_lag_s=0.0, seed=seed)
        controller, _ = locked_run(conditions, eye=GaussianEye(SE_UM, seed=seed))
        assert controller.setpoint_se_um == pytest.approx(SE_UM / 5)
        offs.append(controller.setpoint_um)
    assert np.std(offs) == pytest.approx(SE_UM / 5, rel=0.35)


def test_without_a_calibration_or_with_a_bad_one_it_does_not_engage():
    controller = LockController()
    assert controller.state is LockState.IDLE
    with pytest.raises(BadInputError, match="calibrate first"):
        controller.engage()
    assert controller.arm(replace(MODEL, usable_um=(-0.05, 0.5)))[0].code == "calibration_range"
    assert controller.state is LockState.IDLE
    assert controller.arm(MODEL) == ()
    assert controller.state is LockState.CALIBRATED_READY
    assert controller.step(GaussianEye()(0, 0.0, 0.0), STAGE).z_um is None


def test_a_spot_that_is_gone_while_the_sign_is_probed_begins_the_engagement_again():
    eye = GaussianEye(SE_UM)

    class Blinks:
        def __call__(self, frame, t_s, true_um):
            seen = eye(frame, t_s, true_um)
            return replace(seen, is_fit_ok=False, reason="dark") if 28 <= frame < 60 else seen

    controller, run = locked_run(BenchConditions(n_frames=400), eye=Blinks())
    assert "lost" in flags_of(run)
    assert not {"LOST", "FAULT"} & set(run.samples.state)
    assert run.samples.command_um[59] == pytest.approx(0.0)  # no probe without a spot
    assert controller.state is LockState.LOCKED
    assert run.rms_um() < 0.02


@pytest.mark.parametrize("seed", range(20))
def test_a_wrong_sign_is_caught_within_five_steps_and_a_third_of_a_micron(seed):
    conditions = BenchConditions(n_frames=200, stage_sign=-1.0, seed=seed)
    controller, run = locked_run(conditions, eye=GaussianEye(SE_UM, seed=seed))
    assert controller.state is LockState.FAULT
    assert "wrong_sign" in flags_of(run)
    moved = np.flatnonzero(np.diff(run.samples.command_um, prepend=0.0))
    fault = int(np.argmax(run.samples.state == "FAULT"))
    assert fault - moved[0] <= 5
    assert np.abs(run.stage_um).max() < 0.3
    assert run.samples.command_um[-1] == pytest.approx(0.0)  # the probe is taken back


@pytest.mark.parametrize("seed", range(8))
def test_a_wrong_sign_that_was_not_probed_for_is_a_runaway_within_a_third_of_a_micron(seed):
    conditions = BenchConditions(n_frames=300, stage_sign=-1.0, seed=seed)
    controller, run = locked_run(conditions, eye=GaussianEye(SE_UM, seed=seed), sign_probe=False)
    assert controller.state is LockState.FAULT
    assert "runaway" in flags_of(run)
    assert np.abs(run.true_um).max() < 0.3


@pytest.mark.parametrize(
    # a probe ends as soon as the response is surely too small: too soon, at times, to tell none from reversed
    ("slope", "codes"),
    [(0.0, {"no_response", "wrong_sign"}), (0.5, {"wrong_response"})],
)
def test_a_stage_that_does_not_do_as_calibrated_is_refused(slope, codes):
    controller, run = locked_run(BenchConditions(n_frames=200, stage_sign=slope))
    assert controller.state is LockState.FAULT
    assert codes & flags_of(run)
    controller.reset()
    assert controller.state is LockState.CALIBRATED_READY


def test_no_safeguard_speaks_on_clean_frames():
    controller, run = locked_run(BenchConditions(n_frames=20_000, ramp_um_per_s=0.02, ramp_turns_s=60))
    assert sum(bool(flags) for flags in run.flags) <= 2
    assert controller.state is LockState.LOCKED


def test_a_kick_is_flagged_at_once_and_taken_back():
    _, run = locked_run(BenchConditions(n_frames=1500, kicks=((800, 0.3),)))
    assert run.samples.state[800] == "DEGRADED"
    assert "kick" in {f for flags in run.flags[800:806] for f in flags}
    assert "RECOVERY" in run.samples.state[800:815]
    assert set(run.samples.state[830:]) == {"LOCKED"}
    assert np.abs(run.true_um[830:]).max() < 0.05


@pytest.mark.parametrize("kick_um", [1.3, -1.3])
def test_a_spot_kicked_out_of_sight_is_searched_for_and_found(kick_um):
    _, run = locked_run(BenchConditions(n_frames=1500, kicks=((700, kick_um),)))
    assert {"lost", "searching", "found"} <= flags_of(run)
    assert run.samples.state[-1] == "LOCKED"
    assert np.abs(run.true_um[1000:]).max() < 0.05
    assert np.abs(run.stage_um).max() < 5


def test_a_search_keeps_within_the_excursion_and_then_waits_where_it_last_was_good():
    conditions = BenchConditions(n_frames=1500, kicks=((700, 40.0),))
    controller, run = locked_run(conditions, max_abs_excursion_um=0.5)
    assert controller.state is LockState.LOST
    assert np.abs(run.stage_um).max() < 0.6
    assert run.samples.command_um[-1] == pytest.approx(run.samples.command_um[690], abs=0.05)


@pytest.mark.parametrize("options", [{}, {"stage_min_um": -0.2, "stage_max_um": 0.02}])
def test_neither_probe_nor_search_leaves_the_stages_range(options):
    conditions = BenchConditions(n_frames=1200, kicks=((700, 40.0),), walk_um=0.0, travel_um=(-0.3, 0.03))
    controller = LockController(LockSettings(**options), MODEL, (13, 13))
    low, high = (-0.2, 0.02) if options else (-0.3, 0.03)
    step, commands = controller.step, []

    def stepped(m, stage):
        command = step(m, stage)
        commands.append(command.z_um)
        return command

    controller.step = stepped
    simulate(controller, GaussianEye(SE_UM), conditions)
    sent = [z for z in commands if z is not None]
    assert min(sent) >= low
    assert max(sent) <= high
    assert min(sent) == pytest.approx(low)
    assert max(sent) == pytest.approx(high)


def test_what_another_z_cannot_mend_is_waited_for():
    eye = GaussianEye(SE_UM)

    def two_beads(frame, t_s, true_um):
        m = eye(frame, t_s, true_um)
        return replace(m, n_peaks=2) if 700 <= frame < 900 else m

    _, run = locked_run(eye=two_beads)
    assert "searching" not in flags_of(run)
    assert {"second_bead", "lost", "found"} <= flags_of(run)
    still = run.samples.command_um[702:899]
    assert np.ptp(still) == 0
    assert run.samples.state[-1] == "LOCKED"


def test_a_signal_hook_decides_what_counts_as_found():
    eye = GaussianEye(SE_UM)

    def shuttered(frame, t_s, true_um):
        m = eye(frame, t_s, true_um)
        return replace(m, photons=0.0) if 700 <= frame < 900 else m

    controller = LockController(LockSettings(), MODEL, (13, 13), is_found=lambda m: m.frame >= 1200)
    run = simulate(controller, shuttered, BenchConditions(n_frames=1500, walk_um=0.001))
    assert set(run.samples.state[800:1200]) == {"LOST"}
    assert run.samples.state[-1] == "LOCKED"


def test_a_stage_that_lags_is_waited_for_and_sent_again():
    conditions = BenchConditions(n_frames=1500, stalls=((600, 800),), ramp_um_per_s=0.05)
    _, run = locked_run(conditions)
    assert "stage_lag" in flags_of(run)
    assert "RECOVERY" in run.samples.state[600:810]
    assert set(run.samples.state[840:]) == {"LOCKED"}


def test_a_stage_that_never_comes_back_is_a_fault():
    conditions = BenchConditions(n_frames=1500, stalls=((600, 9999),), ramp_um_per_s=0.05)
    controller, run = locked_run(conditions)
    assert controller.state is LockState.FAULT
    assert flags_of(run) & {"stage_stalled", "runaway"}


def test_an_excursion_limit_is_never_passed_and_never_silent():
    conditions = BenchConditions(n_frames=1500, ramp_um_per_s=0.05)
    controller, run = locked_run(conditions, max_abs_excursion_um=0.5)
    assert controller.state is LockState.FAULT
    assert {"excursion_limited", "stuck_at_limit"} <= flags_of(run)
    assert np.abs(run.samples.command_um - run.samples.command_um[0]).max() <= 0.5 + 1e-9
    cut = ["excursion_limited" in flags for flags in run.flags]
    at_limit = np.isclose(np.abs(run.samples.command_um - run.samples.command_um[0]), 0.5)
    fault = int(np.argmax(run.samples.state == "FAULT"))
    assert all(c for c, a in zip(cut[:fault], at_limit[:fault]) if a)


def test_dropped_frames_are_bridged():
    conditions = BenchConditions(n_frames=3000, drop_share=0.2)
    _, run = locked_run(conditions)
    assert run.rms_um() < 1.3 * kalman_bound(SE_UM**2, 0.004**2, 1)


def test_a_repeated_frame_changes_nothing():
    controller = LockController(LockSettings(), MODEL)
    controller.engage()
    eye = GaussianEye()
    first = controller.step(eye(0, 0.0, 0.0), STAGE)
    again = controller.step(eye(0, 0.0, 0.3), STAGE)
    assert again.z_um is None
    assert again.flags == ("repeated_frame",)
    assert controller.step(eye(1, 0.0, 0.0), STAGE).error_um != 0.3
    assert first.state is again.state is LockState.LOCKING


def test_a_stage_fault_stops_the_lock():
    controller = LockController(LockSettings(), MODEL)
    controller.engage()
    command = controller.step(GaussianEye()(0, 0.0, 0.0), replace(STAGE, is_fault=True))
    assert (command.state, command.z_um, command.flags) == (LockState.FAULT, None, ("stage_fault",))
    assert controller.step(GaussianEye()(1, 0.0, 0.0), STAGE).flags == ("stage_fault",)
    with pytest.raises(BadInputError, match="reset it first"):
        controller.engage()


def test_bad_frames_at_engage_start_the_mean_anew_and_in_the_end_give_up():
    eye = GaussianEye(SE_UM)

    def flickering(frame, t_s, true_um):
        m = eye(frame, t_s, true_um)
        return replace(m, is_fit_ok=False) if frame % 20 == 0 else m

    controller, run = locked_run(eye=flickering)
    assert controller.state is LockState.CALIBRATED_READY
    assert "engage_timeout" in flags_of(run)
    assert np.ptp(run.stage_um) == 0


@pytest.mark.parametrize("law", ["kalman", "pi"])
def test_a_z_stack_while_locked_moves_the_focus_and_comes_back(law):
    places = {600: 0.1, 700: 0.1, 800: -0.3, 900: 0.1}

    def plan(frame, lock):
        if frame in places:
            lock.move_setpoint(places[frame])

    controller, run = locked_run(on_frame=plan, law=law)
    start_um = run.true_um[500:600].mean()
    for first, offset in ((620, 0.1), (720, 0.2), (820, -0.1), (920, 0.0)):
        assert run.true_um[first : first + 80].mean() - start_um == pytest.approx(offset, abs=0.01)
        assert np.mean(run.samples.state[first : first + 80] == "LOCKED") > 0.9
    assert run.samples.state[600] == "LOCKING"  # not yet there
    assert controller.state is LockState.LOCKED
    assert "step_limited" not in flags_of(run)
    with pytest.raises(BadInputError, match="outside the calibrated"):
        controller.move_setpoint(0.7)


def test_a_setpoint_move_does_not_count_as_an_excursion():
    def plan(frame, lock):
        if frame == 600:
            lock.move_setpoint(0.4)

    controller, run = locked_run(on_frame=plan, max_abs_excursion_um=0.3, walk_um_per_frame=0.004)
    assert controller.state is LockState.LOCKED
    assert "excursion_limited" not in flags_of(run)


def test_hold_leaves_the_stage_alone_and_resume_finds_back():
    def plan(frame, lock):
        if frame == 600:
            lock.hold()
        if frame == 700:
            lock.resume()

    controller, run = locked_run(BenchConditions(n_frames=1000, kicks=((650, 0.25),)), on_frame=plan)
    assert np.ptp(run.samples.command_um[600:700]) == 0
    assert set(run.samples.state[600:700]) == {"DEGRADED"}
    assert "LOCKING" in run.samples.state[700:720]
    assert set(run.samples.state[730:]) == {"LOCKED"}
    assert np.abs(run.true_um[730:]).max() < 0.05
    assert controller.state is LockState.LOCKED
    with pytest.raises(BadInputError, match="hold it first"):
        controller.resume()


def test_release_stops_and_a_new_engage_holds_where_it_is_then():
    controller, _ = locked_run(BenchConditions(n_frames=500))
    controller.release()
    assert controller.state is LockState.CALIBRATED_READY
    assert math.isnan(controller.setpoint_um)
    run = simulate(controller, GaussianEye(SE_UM), BenchConditions(n_frames=1000, seed=3))
    assert controller.state is LockState.LOCKED
    assert np.abs(run.true_um[300:]).max() < 0.06


def test_corrections_grow_from_nothing_after_engage():
    def largest_correction(ramp_s):
        kick = ((27, 0.04),)
        conditions = BenchConditions(n_frames=60, walk_um=0.0, stage_lag_s=0.0, kicks=kick)
        _, run = locked_run(
            conditions, eye=GaussianEye(0.001), engage_ramp_s=ramp_s, sign_probe=False, innovation_sigma=math.inf
        )
        return np.abs(np.diff(run.samples.command_um[:32])).max()

    assert largest_correction(2.0) < 0.3 * largest_correction(0.0)


def test_with_a_deadband_the_stage_rests():
    def n_moves(**options):
        _, run = locked_run(BenchConditions(n_frames=1500, walk_um=0.001), **options)
        return np.count_nonzero(np.diff(run.samples.command_um[300:]))

    assert n_moves(deadband_sigma=2.0) < 0.3 * n_moves()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("law", "pid"), ("kp", -1), ("max_step_um", 0), ("min_confidence_scale", 1.5), ("error_alpha", 1.0),
        ("latency_frames", 11), ("latency_frames", math.nan), ("stage_min_um", math.inf), ("fwhm_min_px", 30),
        ("walk_um_per_frame", 0.0), ("probe_max_um", 0.001),
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused_by_name(option, value):
    with pytest.raises(BadInputError, match=option):
        LockSettings(**{option: value})
