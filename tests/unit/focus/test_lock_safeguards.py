"""Each safeguard fires on its own failure, is quiet on clean data, and recovers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.fitting import DefocusModel, WidthCurve
from parfocal.focus import LockSettings, Measurement, StageState
from parfocal.focus import _safeguards_quality as quality
from parfocal.focus._commands_under_way import CommandsUnderWay
from parfocal.focus._lock_engage import Engagement, SignProbe
from parfocal.focus._safeguards_motion import Deadband, MotionLimits, StageLag, StuckAtLimit
from parfocal.focus._safeguards_response import InnovationGate, ResponseSlope, Runaway
from parfocal.focus._safeguards_target import LostTarget, ZSearch

GOOD = Measurement(0, 0.0, 0.01, 0.007, 6.0, 6.0, 4000.0, 10.0, 1.4, 1.4, excess_deviance=1.0, peak_fraction=0.2)
MODEL = DefocusModel(WidthCurve(1.1, 0.25, 0.4), WidthCurve(1.1, -0.25, 0.4), 0.0, (-0.5, 0.5), 0.1)


def gates(**options):
    return quality.QualityGates(LockSettings(**options), (-0.5, 0.5), (13, 13))


def learnt(n=50):
    g = gates()
    for _ in range(n):
        assert g.judge(GOOD) == ()
    return g


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("fit_failed", {"is_fit_ok": False, "z_um": math.nan, "reason": "no spot"}),
        ("fit_failed", {"z_um": math.nan}),
        ("saturated", {"peak_fraction": 0.99}),
        ("low_signal", {"photons": 20.0}),
        ("low_signal", {"photons": 900.0}),
        ("low_signal", {"photons": math.nan}),
        ("too_bright", {"photons": 6000.0}),
        ("edge_of_roi", {"x_px": 1.5}),
        ("edge_of_roi", {"y_px": 11.0}),
        ("edge_of_roi", {"y_px": math.nan}),
        ("second_bead", {"n_peaks": 2}),
        ("implausible_width", {"sigma_x_px": 9.0, "sigma_y_px": 9.0}),
        ("implausible_width", {"sigma_x_px": 4.5, "sigma_y_px": 1.0}),
        ("implausible_width", {"sigma_x_px": math.nan}),
        ("outside_calibration", {"z_um": 0.51}),
        ("outside_calibration", {"z_um": -0.51}),
        ("imprecise", {"z_se_um": 0.2}),
        ("poor_fit", {"excess_deviance": 9.0}),
    ],
)
def test_a_gate_fires_on_its_failure_alone_and_recovers(code, change):
    g = learnt()
    fired = [alarm.code for alarm in g.judge(replace(GOOD, **change))]
    assert code in fired
    assert set(fired) <= {code, "low_signal", "imprecise", "outside_calibration", "edge_of_roi"}
    assert all(alarm.reason for alarm in g.judge(replace(GOOD, **change)))
    assert [a.code for a in g.judge(GOOD)] == []


def test_gates_are_quiet_on_clean_noise():
    rng = np.random.default_rng(0)
    g = gates()
    n = 20_000
    photons, z, deviance = rng.normal(4000, 90, n), rng.normal(0, 0.01, n), rng.normal(3, 1.1, n)
    objections = sum(
        bool(g.judge(replace(GOOD, photons=photons[k], z_um=z[k], excess_deviance=deviance[k]))) for k in range(n)
    )
    assert objections <= 2


def test_bleaching_is_followed_and_a_shutter_is_not():
    g = learnt()
    for k in range(3000):
        assert g.judge(replace(GOOD, photons=4000 * 0.2 ** (k / 3000))) == ()
    for _ in range(200):
        assert g.judge(replace(GOOD, photons=100.0))
    assert [a.code for a in g.judge(replace(GOOD, photons=800.0))] == ["unsteady"]
    assert g.judge(replace(GOOD, photons=800.0)) == ()


def test_a_bright_bead_may_fit_badly_as_long_as_it_always_did():
    g = gates()
    for k in range(100):
        assert g.judge(replace(GOOD, photons=1e5, excess_deviance=800.0 + (-1) ** k * 20)) == ()
    assert [a.code for a in g.judge(replace(GOOD, photons=1e5, excess_deviance=1100.0))] == ["poor_fit"]


def test_a_bead_that_comes_near_slowly_is_not_got_used_to():
    g = learnt(300)
    fired = [bool(g.judge(replace(GOOD, excess_deviance=1 + 0.01 * k))) for k in range(1000)]
    assert not any(fired[:400])
    assert all(fired[700:])


def test_the_domain_of_a_calibration_has_no_way_round():
    loose = LockSettings.of_the_original()
    g = quality.QualityGates(loose, (-0.5, 0.5), None)
    assert [a.code for a in g.judge(replace(GOOD, z_um=0.6))] == ["outside_calibration"]


def test_one_good_frame_among_bad_ones_does_not_steer():
    g = learnt()
    for _ in range(5):
        g.judge(replace(GOOD, n_peaks=2))
    assert [a.code for a in g.judge(GOOD)] == ["unsteady"]
    assert g.judge(GOOD) == ()


def test_confidence_falls_with_light_fit_and_passes():
    g = learnt()
    best = g.confidence(GOOD)
    assert 0.9 < best <= 1
    assert g.confidence(replace(GOOD, photons=2000.0)) < best - 0.1
    assert g.confidence(replace(GOOD, excess_deviance=20.0)) < best - 0.3
    assert g.confidence(replace(GOOD, is_fit_ok=False, photons=math.nan)) < 0.3


@pytest.mark.parametrize(
    ("code", "model"),
    [
        ("calibration_range", replace(MODEL, usable_um=(-0.05, 0.5))),
        (
            "calibration_span",
            DefocusModel(WidthCurve(1.1, 0.01, 2), WidthCurve(1.1, -0.01, 2), 0, (-0.15, 0.15), 0.1),
        ),
        (
            "calibration_slope",
            DefocusModel(WidthCurve(1.1, 0.01, 2), WidthCurve(1.1, -0.01, 2), 0, (-0.5, 0.5), 0.1),
        ),
    ],
)
def test_a_calibration_that_tells_too_little_does_not_arm(code, model):
    assert code in [alarm.code for alarm in quality.arming_alarms(model, LockSettings())]
    assert quality.arming_alarms(MODEL, LockSettings()) == ()


STAGE = StageState(0.0, 0.0, 0.0, -10.0, 10.0)


@pytest.mark.parametrize(
    ("code", "options", "target", "lands"),
    [
        ("step_limited", {}, 0.4, 0.25),
        ("slew_limited", {"max_slew_rate_um_per_s": 1.0}, -0.2, -0.1),
        ("excursion_limited", {"max_abs_excursion_um": 0.1}, 0.2, 0.1),
        ("stage_limited", {"stage_max_um": 0.05}, 0.2, 0.05),
        ("stage_limited", {"stage_min_um": -0.05}, -0.2, -0.05),
    ],
)
def test_a_limit_cuts_and_says_so(code, options, target, lands):
    limits = MotionLimits(LockSettings(**options))
    limits.centre_um = 0.0
    z_um, alarms = limits.limited(target, 0.0, STAGE, 0.1)
    assert z_um == pytest.approx(lands)
    assert [alarm.code for alarm in alarms] == [code]
    assert limits.limited(0.01, 0.0, STAGE, 0.1) == (0.01, ())


def test_the_stages_own_limits_count():
    limits = MotionLimits(LockSettings())
    stage = StageState(9.9, 9.9, 0.0, -10.0, 10.0)
    assert limits.limited(10.1, 9.9, stage, 0.1)[0] == 10.0


def test_being_stuck_at_a_limit_is_a_fault_and_a_moment_of_it_is_not():
    stuck = StuckAtLimit(30)
    assert all(stuck.judge(k % 30 != 29) is None for k in range(3000))
    codes = [stuck.judge(True) for _ in range(30)]
    assert codes[-2] is None
    assert codes[-1] is not None
    assert stuck.judge(False) is None


def test_the_dynamic_deadband_grows_with_noise_and_not_with_drift():
    s = LockSettings(command_deadband_um=0.002, dynamic_deadband_coeff=1.5)
    rng = np.random.default_rng(0)
    noisy, drifting = Deadband(s), Deadband(s)
    for k in range(60):
        of_noise = noisy.width_um(rng.normal(0, 0.01), 0.004)
        of_drift = drifting.width_um(0.01 * k, 0.004)
    assert 0.01 < of_noise < 0.03
    assert of_drift == pytest.approx(0.002 + 1.5 * 1.4826 * 0.01 / math.sqrt(2))
    assert Deadband(LockSettings(deadband_sigma=2.0)).width_um(0.1, 0.004) == pytest.approx(0.008)
    assert Deadband(LockSettings()).width_um(0.1, 0.004) == 0


def test_a_lag_is_seen_and_left_again():
    lag = StageLag(LockSettings())
    assert all(lag.judge(0.05) is None for _ in range(1000))
    assert all(lag.judge(0.3) is None for _ in range(4))
    assert lag.judge(0.3).code == "stage_lag"
    assert lag.judge(0.15) is not None  # not half-way there
    assert lag.judge(0.05) is None
    assert not lag.is_lagging


def test_a_stage_that_never_comes_has_stalled():
    lag = StageLag(LockSettings())
    nudges = 0
    for _ in range(305):
        lag.judge(0.5)
        nudges += lag.is_time_to_nudge
    assert lag.has_stalled
    assert nudges == 21


def test_commands_show_after_their_latency():
    sent = CommandsUnderWay(1)
    sent.note(0, 5.0)
    sent.send(0, 6.0)
    sent.note(1, 6.0)
    assert [sent.at_um(k) for k in (0, 1, 2, 3)] == [5.0, 5.0, 6.0, 6.0]
    part = CommandsUnderWay(1.25)
    part.note(0, 5.0)
    part.send(0, 6.0)
    assert [part.at_um(k) for k in (1, 2, 3)] == [5.0, 5.75, 6.0]


def test_a_frame_is_settled_once_the_stage_has_stood_for_the_latency():
    """Exposures of 8 ms, one of latency; sent at 20 ms, which took 1 ms."""
    sent = CommandsUnderWay(1)
    sent.note(0, 5.0, 0.0)
    sent.send(1, 6.0)
    sent.note(2, 6.0, 0.020, 0.001)
    sent.send(2, 6.0)  # to the same place again: it stands still
    sent.note(3, 6.0, 0.030, 0.001)
    middles_s = (0.0149, 0.0151, 0.020, 0.0239, 0.0319, 0.0321)
    assert [sent.is_settled(t, 0.008) for t in middles_s] == [True, False, False, False, False, True]
    assert sent.is_settled(math.nan, math.nan), "of unknown time"


def test_a_frame_is_not_settled_that_a_command_may_have_reached_before_it_was_known_to_be_sent():
    sent = CommandsUnderWay(1)
    sent.note(0, 5.0, 0.0)
    sent.send(1, 6.0)
    sent.note(2, 6.0, 0.050, 0.030)  # the driver, or a busy machine, took 30 ms
    assert [sent.is_settled(t, 0.008) for t in (0.015, 0.025, 0.045, 0.063)] == [True, False, False, True]


@pytest.mark.parametrize("seed", range(5))
def test_a_probe_finds_the_whole_response_of_a_stage_that_lags(seed):
    """Commands answer a frame 1.5 ms after its end, the stage takes 4 ms; frames follow each other."""
    period_s, exposure_s, lag_s = 0.0085, 0.008, 0.004
    rng = np.random.default_rng(seed)
    engagement, sent = Engagement(LockSettings()), CommandsUnderWay(1)
    at_um, target_um, commanded_s, step = 0.0, 0.0, -1.0, None
    for k in range(200):
        begin_s = k * period_s
        seen_um = target_um + (at_um - target_um) * math.exp(-(begin_s + exposure_s / 2 - commanded_s) / lag_s)
        z_um = (seen_um if begin_s + exposure_s / 2 > commanded_s else at_um) + rng.normal(0, 0.005)
        m = Measurement(k, begin_s + exposure_s / 2, z_um, 0.005, 6, 6, 4000, 10, 1.4, 1.4, exposure_s=exposure_s)
        stage = StageState(target_um, target_um, commanded_s)
        sent.note(k, target_um, commanded_s)
        step = engagement.step(m, stage, sent.at_um(k, m.t_s, exposure_s), (), sent.is_settled(m.t_s, exposure_s))
        if step.outcome not in ("going", "found"):
            break
        if step.z_um is not None:
            sent.send(k, step.z_um)
            moved_s = begin_s + exposure_s + 0.0015
            at_um = target_um + (at_um - target_um) * math.exp(-(moved_s - commanded_s) / lag_s)
            target_um, commanded_s = step.z_um, moved_s
    assert step.outcome == "ready"
    assert engagement.probe.response.slope == pytest.approx(1, abs=3 * engagement.probe.response.se)


def test_the_stage_is_right_about_what_it_was_sent():
    sent = CommandsUnderWay(0)
    sent.note(0, 5.0)
    sent.send(0, 6.0)
    sent.note(1, 5.9)  # cut on its way
    assert sent.at_um(1) == 5.9
    sent.note(2, 5.9)
    sent.note(3, 4.0)  # somebody else moved it
    assert (sent.at_um(2), sent.at_um(3)) == (5.9, 4.0)
    assert sent.lag_um(4, 4.0) == 0
    assert sent.lag_um(4, 4.5) == pytest.approx(0.5)


def response(slope, n, gain=0.3, se=0.007, walk=0.004, seed=0, latency=1):
    """Close a loop on a stage that the focus follows by `slope`; return the safeguard and when it fired."""
    rng = np.random.default_rng(seed)
    runaway = Runaway(0.2, 4.0)
    stage, drift, sent = 0.0, 0.0, [0.0] * (latency + 1)
    for k in range(n):
        drift += rng.normal(0, walk)
        stage = sent[-1 - latency]
        z = drift + slope * stage + rng.normal(0, se)
        if runaway.judge(z, se, stage) is not None:
            return runaway, k, abs(drift + slope * stage)
        sent.append(sent[-1] - gain * z)
    return runaway, None, abs(drift + slope * stage)


@pytest.mark.parametrize("seed", range(10))
def test_a_stage_of_the_wrong_sign_runs_away_and_is_caught(seed):
    _, fired, away_um = response(-1.0, 400, seed=seed)
    assert fired is not None
    assert away_um < 0.3


@pytest.mark.parametrize("seed", range(3))
def test_a_stage_that_does_nothing_is_caught(seed):
    assert response(0.0, 2000, seed=seed)[1] is not None


@pytest.mark.parametrize("latency", [0, 1, 2])
def test_a_good_loop_is_never_called_a_runaway(latency):
    runaway, fired, _ = response(1.0, 60_000, gain=0.2, latency=latency)
    assert fired is None
    assert runaway.response.slope == pytest.approx(1, abs=4 * runaway.response.se)


def test_the_response_is_unbiased_in_a_closed_loop_where_plain_regression_gives_nothing():
    rng = np.random.default_rng(1)
    found = ResponseSlope()
    sent, drift, z_all, stage_all = [0.0, 0.0], 0.0, [], []
    for _ in range(40_000):
        drift += rng.normal(0, 0.004)
        stage = sent[-2]
        z = drift + 0.8 * stage + rng.normal(0, 0.007)
        found.update(z, 0.007, stage)
        sent.append(sent[-1] - 0.25 * z)
        z_all.append(z)
        stage_all.append(stage)
    assert found.slope == pytest.approx(0.8, abs=0.06)
    assert found.se < 0.02
    assert abs(np.polyfit(stage_all, z_all, 1)[0]) < 0.1


def test_a_kick_does_not_pass_for_a_response():
    rng = np.random.default_rng(2)
    found = ResponseSlope()
    for k in range(400):
        stage = 0.03 * ((k // 5) % 2)
        found.update(stage + (0.5 if k > 200 else 0.0) + rng.normal(0, 0.007), 0.007, stage)
    assert found.slope == pytest.approx(1, abs=4 * found.se)


@pytest.mark.parametrize(("slope", "code"), [(-1, "wrong_sign"), (0.1, "no_response"), (0.5, "wrong_response")])
@pytest.mark.parametrize("seed", range(5))
def test_a_probe_finds_a_wrong_response(slope, code, seed):
    assert probe(slope, seed)[0].code == code


@pytest.mark.parametrize("seed", range(40))
def test_a_probe_passes_a_right_response(seed):
    alarm, n = probe(1.0, seed)
    assert alarm is None
    assert n < 60


def probe(slope, seed, se=0.007, walk=0.004):
    rng = np.random.default_rng(seed)
    found = SignProbe(LockSettings())
    drift, stage = 0.0, [0.0, 0.0]
    for _ in range(25):
        drift += rng.normal(0, walk)
        found.response.update(drift + rng.normal(0, se), se, 0.0)
    found.begin(0.0, se)
    for k in range(200):
        stage.append(found.next_um())
        drift += rng.normal(0, walk)
        found.response.update(drift + slope * stage[-2] + rng.normal(0, se), se, stage[-2])
        is_over, alarm = found.judge()
        if is_over:
            return alarm, k
    raise AssertionError("the probe never ended")


def test_a_probe_in_too_much_noise_says_that_it_cannot_tell():
    assert probe(1.0, 0, se=0.1, walk=0.05)[0].code == "probe_inconclusive"


def test_one_wild_measurement_is_refused_and_three_that_agree_are_a_kick():
    gate = InnovationGate(5.0, 3)
    assert gate.judge(0.5, 0.007, 0.0, 0.004).code == "unexpected"
    assert gate.judge(0.01, 0.007, 0.0, 0.004) is None
    codes = [gate.judge(0.5 + e, 0.007, 0.0, 0.004).code for e in (0.0, 0.01, -0.01)]
    assert codes == ["unexpected", "unexpected", "kick"]
    mean, se = gate.jump()
    assert mean == pytest.approx(0.5)
    assert se == pytest.approx(0.007 / math.sqrt(3))


def test_small_steps_to_one_side_are_a_kick_together():
    gate = InnovationGate(5.0, 3)
    codes = [gate.judge(z, 0.03, 0.0, 0.0) for z in (0.02, -0.02, 0.1, 0.11, 0.1)]
    assert codes[:4] == [None] * 4
    assert codes[4].code == "kick"
    assert gate.jump()[0] == pytest.approx(0.31 / 3)


def test_wild_measurements_that_disagree_are_no_kick():
    gate = InnovationGate(5.0, 3)
    codes = {gate.judge(z, 0.007, 0.0, 0.004).code for z in (0.5, -0.4, 0.3, -0.5, 0.45)}
    assert codes == {"unexpected"}


def test_the_innovation_gate_is_quiet_on_clean_noise():
    rng = np.random.default_rng(3)
    gate = InnovationGate(5.0, 3)
    assert sum(gate.judge(z, 0.007, 0.0, 0.0) is not None for z in rng.normal(0, 0.007, 100_000)) <= 2


def test_a_target_is_lost_after_so_many_frames_and_not_before():
    lost = LostTarget(20)
    assert all(lost.judge(k % 20 == 0) is None for k in range(1000))
    lost.reset()
    assert [lost.judge(False) is None for _ in range(20)] == [True] * 19 + [False]
    assert lost.judge(True) is None


def test_a_search_looks_both_ways_farther_each_time_and_within_its_limits():
    search = ZSearch(0.2, 1.0, 2, 3)
    search.begin(5.0, 4.3, 5.7)
    places = [search.next_um() for _ in range(2 * 11 * 3)]
    assert places[:12] == pytest.approx([5.0] * 3 + [5.2] * 3 + [4.8] * 3 + [5.4] * 3)
    assert min(places) == pytest.approx(4.3)
    assert max(places) == pytest.approx(5.7)
    assert search.is_over
    assert search.next_um() == 5.0


def test_at_a_z_where_the_lock_was_not_yet_the_sweep_tells_how_badly_a_spot_may_fit():
    """A diffraction spot fits four times worse at focus than beside it, so three times is not enough there."""
    told = quality.QualityGates(LockSettings(), (-0.5, 0.5), (13, 13), 70 / 4000)
    untold = gates()
    for g in (told, untold):
        for _ in range(50):
            assert g.judge(replace(GOOD, excess_deviance=17.0)) == ()
    elsewhere = replace(GOOD, z_um=0.3, excess_deviance=70.0)
    assert [a.code for a in untold.judge(elsewhere)] == ["poor_fit"]
    assert told.judge(elsewhere) == ()
    assert [a.code for a in told.judge(replace(elsewhere, excess_deviance=300.0))] == ["poor_fit"]
