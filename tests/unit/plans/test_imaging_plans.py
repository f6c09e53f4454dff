"""What the plans promise, on devices of a few lines and on ophyd's own simulated ones."""

import threading
import time

import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted
from ophyd.sim import SynAxis, SynGauss

from parfocal.devices import Auditor
from parfocal.errors import BadInputError
from parfocal.plans import positions, run_mda, tile_scan, time_lapse, z_burst, z_stack
from parfocal.slices import Verdict


def column(documents, key, stream="primary"):
    return documents.column(key, stream)


def test_a_stack_is_centred_where_z_stands_and_z_is_put_back(RE, microscope, stage, documents):
    stage.at["z"] = 20.0
    RE(z_stack(microscope, 2, 1))
    assert column(documents, "stage_z") == [18, 19, 20, 21, 22]
    assert column(documents, "stage_z_setpoint") == [18, 19, 20, 21, 22]
    assert column(documents, "point_plane") == [0, 1, 2, 3, 4]
    assert stage.at["z"] == 20.0


def test_a_range_of_nothing_is_one_plane(RE, microscope, documents):
    RE(z_stack(microscope, 0, 1))
    assert len(documents.of("event")) == 1


def test_the_start_document_says_what_will_be_done(RE, microscope, documents):
    RE(z_stack(microscope, 1, 0.5, md={"sample": "slide 7"}))
    (start,) = documents.of("start")
    assert start["plan_name"] == "z_stack"
    assert start["sample"] == "slide 7"
    assert start["num_points"] == 5
    assert start["shape"] == [5]
    assert start["hints"]["dimensions"] == [[["stage_z"], "primary"]] or start["hints"]["dimensions"] == [
        (["stage_z"], "primary")
    ]
    assert start["detectors"] == ["camera"]
    assert start["instrument"] == "bench"
    assert start["parfocal"]["axes"] == {"x": "stage_x", "y": "stage_y", "z": "stage_z"}


def test_the_light_is_on_for_frames_and_off_afterwards(RE, microscope, lamp, documents):
    RE(z_stack(microscope, 1, 1, channels=["green", "red"]))
    assert column(documents, "light_on") == [1] * 6
    assert column(documents, "light_channel") == ["green"] * 3 + ["red"] * 3
    assert not lamp.is_on


@pytest.mark.parametrize("end", ["abort", "stop"])
def test_whatever_happens_z_is_restored_and_the_light_is_off(RE, microscope, source, stage, lamp, end):
    stage.at["z"] = 5.0

    source.at_frame[3] = RE.request_pause
    with pytest.raises(RunEngineInterrupted):
        RE(z_stack(microscope, 3, 1))
    assert lamp.is_on
    getattr(RE, end)()
    assert stage.at["z"] == 5.0
    assert not lamp.is_on


def test_a_failure_aborts_with_its_reason_and_leaves_everything_safe(
    RE, microscope, source, stage, lamp, documents
):
    source.fail_at = {3}
    with pytest.raises(FailedStatus):
        RE(z_stack(microscope, 3, 1))
    (stop,) = documents.of("stop")
    assert stop["exit_status"] == "fail"
    assert "no frame" in stop["reason"]
    assert column(documents, "failure_action", "failures") == ["abort"]
    assert stage.at["z"] == 0
    assert not lamp.is_on


def test_a_position_that_fails_is_skipped_and_the_documents_say_so(RE, microscope, source, documents):
    source.fail_at = {4}
    RE(positions(microscope, [[0, 0], [10, 0], [20, 0]], 1, 1, on_error="skip"))
    assert documents.of("stop")[0]["exit_status"] == "success"
    assert column(documents, "failure_position", "failures") == [1]
    assert column(documents, "failure_action", "failures") == ["skip"]
    assert "no frame" in column(documents, "failure_reason", "failures")[0]
    assert column(documents, "stage_x") == [0, 0, 0, 10, 20, 20, 20]


def test_a_position_that_fails_is_tried_again_as_a_whole(RE, microscope, source, documents):
    source.fail_at = {4}
    RE(positions(microscope, [[0, 0], [10, 0]], 1, 1, on_error="retry", retries=1))
    assert column(documents, "failure_action", "failures") == ["retry"]
    assert column(documents, "stage_x") == [0, 0, 0, 10, 10, 10, 10]
    assert column(documents, "point_attempt") == [1, 1, 1, 1, 2, 2, 2]


def test_retries_are_bounded_and_then_it_is_skipped(RE, microscope, source, documents):
    source.fail_at = {4, 5, 6}
    RE(positions(microscope, [[0, 0], [10, 0], [20, 0]], 1, 1, on_error="retry", retries=2))
    assert column(documents, "failure_action", "failures") == ["retry", "retry", "skip"]
    assert column(documents, "stage_x")[-3:] == [20, 20, 20]


def test_a_run_in_which_nothing_worked_fails(RE, microscope, source, documents):
    source.fail_at = set(range(20))
    with pytest.raises(Exception, match="all 2 position visits failed"):
        RE(positions(microscope, [[0, 0], [10, 0]], on_error="skip"))
    assert documents.of("stop")[0]["exit_status"] == "fail"


def test_a_time_lapse_visits_each_position_at_each_time(RE, microscope, documents):
    RE(time_lapse(microscope, 2, 0.5, 1, 1, positions_um=[[0, 0], [10, 0]]))
    assert column(documents, "point_time_point") == [0] * 6 + [1] * 6
    assert column(documents, "point_position") == ([0] * 3 + [1] * 3) * 2
    times = column(documents, "camera_t_s")
    assert times[6] - times[0] > 0.3


def test_a_pause_in_the_wait_does_not_start_the_wait_over(RE, microscope, documents):
    threading.Timer(1.3, RE.request_pause).start()
    with pytest.raises(RunEngineInterrupted):
        RE(time_lapse(microscope, 2, 2.0))
    began = time.monotonic()
    RE.resume()
    assert time.monotonic() - began < 1.6
    assert len(documents.of("event")) == 2


def test_tiles_cover_the_field_with_their_overlap(RE, microscope, documents):
    RE(tile_scan(microscope, 2, 2, 0.5))
    xs, ys = column(documents, "stage_x"), column(documents, "stage_y")
    assert max(xs) - min(xs) == pytest.approx(0.3)  # 6 px of 0.1 um, half of it
    assert max(ys) - min(ys) == pytest.approx(0.8)
    assert column(documents, "point_tile") == [0, 1, 2, 3]


def test_an_exposure_is_set_and_recorded(RE, microscope, source, documents):
    RE(z_stack(microscope, 1, 1, exposure_s=0.003))
    assert source.settings.exposure_s == 0.003
    assert column(documents, "point_exposure_s") == [0.003] * 3


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (lambda m: z_stack(m, 200, 50), "stage_z: cannot move to -200 um, soft limits are -100 to 100 um"),
        (lambda m: z_stack(m, 1, 0), "a step above 0"),
        (lambda m: z_stack(m, 1, 1, channels=["violet"]), "no channel 'violet' on bench, there are green, red"),
        (lambda m: z_stack(m, 1, 1, exposure_s=0.0), "above 0"),
        (lambda m: positions(m, []), "the list is empty"),
        (lambda m: positions(m, [[0, 0], [1]]), r"position 1 is \[1\]"),
        (lambda m: positions(m, [[0, 0], [float("nan"), 1]]), "position 1"),
        (lambda m: time_lapse(m, 0), "1 time or more"),
        (lambda m: tile_scan(m, 2, 2, 1.5), "overlap"),
        (lambda m: run_mda(m, {"channels": [{"config": "x", "exposure": "long"}]}), "channels.exposure"),
        (lambda m: run_mda(m, {"stage_positions": [{"x": 0, "y": 0, "z": 999}]}), "stage_z: cannot move to 999"),
        (lambda m: run_mda(m, {"autofocus_plan": {"axes": ["p"]}, "stage_positions": [{"x": 0}]}), "no `probe`"),
        (
            lambda m: run_mda(
                m,
                {"autofocus_plan": {"axes": ["p"], "autofocus_motor_offset": 9}, "stage_positions": [{"x": 0}]},
                probe=m.camera,
            ),
            "autofocus_motor_offset",
        ),
        (
            lambda m: run_mda(m, {"keep_shutter_open_across": ["z"], "channels": ["green"]}),
            "keep_shutter_open_across",
        ),
        (lambda m: run_mda(m, {}), "no events"),
        (lambda m: run_mda(m, "missing.yaml"), "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(RE, microscope, stage, documents, plan, words):
    with pytest.raises(BadInputError, match=words) as error:
        RE(plan(microscope))
    assert "\n" not in str(error.value)
    assert not stage.moves
    assert not documents.of("start")


def test_a_sequence_of_channels_and_planes_runs_in_its_own_order(RE, microscope, documents):
    sequence = {
        "axis_order": "tpzc",
        "stage_positions": [{"x": 1, "y": 2, "z": 3, "name": "a"}, {"x": 4, "y": 5}],
        "channels": [{"config": "green", "exposure": 2}, {"config": "red", "exposure": 4}],
        "z_plan": {"range": 2, "step": 1},
    }
    RE(run_mda(microscope, sequence))
    assert column(documents, "stage_z") == [2, 2, 3, 3, 4, 4, -1, -1, 0, 0, 1, 1]
    assert column(documents, "point_channel") == ["green", "red"] * 6
    assert column(documents, "point_exposure_s") == [0.002, 0.004] * 6
    assert column(documents, "point_position_name")[:6] == ["a"] * 6


def test_plans_take_any_readable_and_any_movable(RE, documents):
    motor = SynAxis(name="motor")
    detector = SynGauss("detector", motor, "motor", center=0, Imax=1)
    motor.set(1.0)
    RE(z_stack(detector, 2, 1, z=motor))
    assert column(documents, "motor") == [-1, 0, 1, 2, 3]
    assert max(column(documents, "detector")) == column(documents, "detector")[1]
    assert motor.position == 1.0


def test_a_burst_without_hardware_z_is_refused_unless_at_one_plane(RE, microscope, documents):
    with pytest.raises(BadInputError, match="cannot move z by itself"):
        RE(z_burst(microscope, 1, 1))
    RE(z_burst(microscope, n_frames=20))
    assert max(d["indices"]["stop"] for d in documents.of("stream_datum")) == 20


def test_autofocus_shifts_all_planes_of_its_position_and_of_no_other(RE, microscope, source, stage, documents):
    """Truth is made here: the score peaks 0.8 um above where the sequence says position 0 is, 0.4 below at 1."""

    def judge(pixels):
        focus = 10.8 if stage.at["x"] == 0 else 19.6
        return Verdict(True, "", float(np.exp(-(((stage.at["z"] - focus) / 1.5) ** 2))))

    probe = Auditor("probe", microscope.camera, judge)
    sequence = {
        "stage_positions": [{"x": 0, "y": 0, "z": 10}, {"x": 50, "y": 0, "z": 20}],
        "z_plan": {"range": 2, "step": 1},
        "time_plan": {"interval": 0, "loops": 2},
        "autofocus_plan": {"axes": ["p"]},
    }
    RE(run_mda(microscope, sequence, probe=probe))
    z_um = column(documents, "stage_z_setpoint")
    assert z_um[:3] == pytest.approx([9.8, 10.8, 11.8], abs=0.01)
    assert z_um[3:6] == pytest.approx([18.6, 19.6, 20.6], abs=0.01)
    assert z_um[6:9] == pytest.approx(z_um[:3], abs=0.01), "the next time point starts from what was found"
    assert len(column(documents, "probe_score", "autofocus")) == 4 * 9


def test_autofocus_that_does_not_bracket_focus_leaves_z_alone(RE, microscope, stage, documents):
    probe = Auditor("probe", microscope.camera, lambda pixels: Verdict(True, "", stage.at["z"] + 50))
    sequence = {"stage_positions": [{"x": 0, "y": 0, "z": 10}], "autofocus_plan": {"axes": ["p"]}}
    RE(run_mda(microscope, sequence, probe=probe))
    assert column(documents, "stage_z") == [10]
