"""A bad slice is taken again while it is still under the objective, and every attempt is kept."""

import threading

import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from parfocal.callbacks import SliceLedgerFiles
from parfocal.devices import Auditor, simulated_microscope
from parfocal.devices.simulated import PlantedFault, planted_faults
from parfocal.errors import BadInputError
from parfocal.optics import Disturbance, OffCentreLamp, straight_path
from parfocal.plans import acquire_sections, z_stack_audited
from parfocal.slices import SliceLedger, Verdict

PLACES = [[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]]


def column(documents, key, stream="audit"):
    return documents.column(key, stream)


def rejecting(microscope, frames, reason="blurred", **kwargs):
    """An auditor that rejects the n-th frames it is asked about."""
    asked = iter(range(10_000))

    def judge(pixels):
        bad = next(asked) in frames
        return Verdict(not bad, reason if bad else "", float(bad))

    return Auditor("audit", microscope.camera, judge, **kwargs)


def test_a_rejected_section_is_taken_again_before_the_next_and_all_attempts_are_kept(RE, microscope, documents):
    RE(acquire_sections(microscope, PLACES, refocus="never", auditor=rejecting(microscope, {1, 2})))
    assert column(documents, "audit_slice_id") == ["00", "01", "01", "01", "02", "03"]
    assert column(documents, "audit_attempt") == [1, 1, 2, 3, 1, 1]
    assert column(documents, "audit_accepted") == [1, 0, 0, 1, 1, 1]
    assert column(documents, "audit_frame") == column(documents, "camera_frame", "primary") == [0, 1, 2, 3, 4, 5]
    assert column(documents, "point_position_name", "primary") == ["00", "01", "01", "01", "02", "03"]
    assert column(documents, "point_attempt", "primary") == [1, 1, 2, 3, 1, 1]
    assert column(documents, "stage_x", "primary") == [0, 10, 10, 10, 20, 30]


def test_attempts_are_bounded_and_the_last_verdict_stands(RE, microscope, documents, tmp_path):
    ledgers = SliceLedgerFiles(tmp_path / "ledgers")
    RE.subscribe(ledgers)
    RE(acquire_sections(microscope, PLACES, None, 2, "never", auditor=rejecting(microscope, {1, 2, 3})))
    assert column(documents, "audit_attempt") == [1, 1, 2, 1, 2, 1]
    (path,) = ledgers.written
    assert path == tmp_path / "ledgers" / documents.of("start")[0]["uid"][:8] / "slice_config.csv"
    rows = SliceLedger.read(path).rows
    assert {k: row["use"] for k, row in rows.items()} == {"00": True, "01": False, "02": True, "03": True}
    assert rows["01"]["auto_excluded"] is True
    assert rows["01"]["auto_exclude_reason"] == "blurred"
    assert rows["01"]["notes"] == "attempt 1: blurred; attempt 2: blurred"
    assert rows["02"]["notes"] == "attempt 1: blurred"
    (event,) = [e for e in SliceLedger.read(path).history("01") if "use" in e.changes]
    assert (event.stage, event.run_uid) == ("acquire_sections", documents.of("start")[0]["uid"])


@pytest.mark.parametrize(
    ("refocus", "reason", "n_planes"), [("always", "moved", 5), ("blurred", "moved", 0), ("blurred", "blurred", 5)]
)
def test_a_retake_is_refocused_first(RE, microscope, stage, documents, refocus, reason, n_planes):
    auditor = rejecting(microscope, {1}, reason)
    plan = acquire_sections(microscope, PLACES[:3], None, 2, refocus, 4.0, 5, False, auditor=auditor)
    RE(plan)
    searched = column(documents, "stage_z", "autofocus")
    # Frames of this bench are flat: no focus is found, and it is looked for twice as far.
    assert searched == ([-4, -2, 0, 2, 4, -8, -6, -4, -2, 0, 2, 4, 6, 8] if n_planes else [])
    assert column(documents, "stage_z", "primary") == [0, 0, 0, 0]


def test_what_was_agreed_stands_in_the_start_document(RE, microscope, documents):
    auditor = rejecting(microscope, set(), timeout_s=3.0, on_timeout="reject")
    RE(
        acquire_sections(
            microscope, PLACES, ["a", "b", "c", "d"], 4, "blurred", auditor=auditor, md={"sample": "s"}
        )
    )
    (start,) = documents.of("start")
    audit = start["parfocal"]["audit"]
    assert (audit["timeout_s"], audit["on_timeout"], audit["max_attempts"], audit["refocus"]) == (
        3.0,
        "reject",
        4,
        "blurred",
    )
    assert start["sample"] == "s"
    assert start["plan_args"]["slice_ids"] == ["a", "b", "c", "d"]
    assert start["num_points"] == 4


@pytest.mark.parametrize(("policy", "attempts"), [("accept", [1, 1]), ("reject", [1, 2, 1, 2])])
def test_a_judge_that_hangs_does_not_stop_the_plan_and_its_policy_decides(
    RE, microscope, documents, policy, attempts
):
    hold = threading.Event()
    auditor = Auditor(
        "audit", microscope.camera, lambda _: hold.wait() and Verdict(True), timeout_s=0.02, on_timeout=policy
    )
    try:
        RE(acquire_sections(microscope, PLACES[:2], None, 2, "never", auditor=auditor))
    finally:
        hold.set()
    assert column(documents, "audit_attempt") == attempts
    assert set(column(documents, "audit_timed_out")) == {1}


def test_a_judge_that_must_not_be_late_ends_the_run_and_leaves_everything_safe(
    RE, microscope, stage, lamp, documents
):
    hold = threading.Event()
    stage.at["z"] = 7.0
    auditor = Auditor("audit", microscope.camera, lambda _: hold.wait(), timeout_s=0.02, on_timeout="fail")
    try:
        with pytest.raises(FailedStatus):
            RE(acquire_sections(microscope, PLACES, auditor=auditor))
    finally:
        hold.set()
    (stop,) = documents.of("stop")
    assert (stop["exit_status"], "no verdict within" in stop["reason"]) == ("fail", True)
    assert not lamp.is_on
    assert stage.at["z"] == 7.0


def test_a_frame_that_fails_is_an_attempt_and_the_documents_say_so(RE, microscope, source, documents):
    source.fail_at = {1}
    RE(acquire_sections(microscope, PLACES, refocus="never", auditor=rejecting(microscope, set())))
    assert column(documents, "failure_position_name", "failures") == ["01"]
    assert column(documents, "failure_action", "failures") == ["retry"]
    assert column(documents, "point_attempt", "primary") == [1, 2, 1, 1]


@pytest.mark.parametrize("on_error", ["abort", "skip"])
def test_a_section_of_which_no_frame_can_be_had_ends_the_run_or_is_left_out(
    RE, microscope, source, lamp, documents, on_error
):
    source.fail_at = {1, 2}
    plan = acquire_sections(
        microscope, PLACES, None, 2, "never", on_error=on_error, auditor=rejecting(microscope, set())
    )
    if on_error == "abort":
        with pytest.raises(FailedStatus):
            RE(plan)
    else:
        RE(plan)
        assert column(documents, "audit_slice_id") == ["00", "02", "03"]
    assert column(documents, "failure_action", "failures") == ["retry", on_error]
    assert not lamp.is_on


@pytest.mark.parametrize("end", ["resume", "abort", "stop"])
def test_a_pause_costs_no_frame_and_no_verdict_and_an_end_leaves_everything_safe(
    RE, microscope, source, stage, lamp, documents, end
):
    stage.at["z"] = 5.0
    source.at_frame[2] = RE.request_pause
    with pytest.raises(RunEngineInterrupted):
        RE(acquire_sections(microscope, PLACES, refocus="never", auditor=rejecting(microscope, {1})))
    getattr(RE, end)()
    frames = column(documents, "camera_frame", "primary")
    assert frames == list(range(len(frames)))
    assert set(column(documents, "audit_frame")) <= set(frames)
    assert not lamp.is_on
    assert stage.at["z"] == 5.0
    if end == "resume":
        assert column(documents, "audit_slice_id") == ["00", "01", "01", "02", "03"]
        assert column(documents, "audit_frame") == frames


@pytest.mark.parametrize(
    ("places", "kwargs", "words"),
    [
        ([], {}, "list is empty"),
        ([[0]], {}, "section 0 is"),
        ([[0, 0, 500]], {}, "soft limits"),
        ([[0, 0]], {"slice_ids": ["a", "b"]}, "one each"),
        ([[0, 0], [1, 1]], {"slice_ids": ["a", "a"]}, "all different"),
        ([[0, 0]], {"max_attempts": 0}, "max_attempts=0"),
        ([[0, 0]], {"max_attempts": "3"}, "max_attempts=3"),
        ([[0, "x"]], {}, "section 0 is"),
        ([5], {}, "section 0 is"),
        ([[0, 0]], {"exposure_s": -1}, "exposure_s=-1"),
        ([[0, 0]], {"channel": "nope"}, "no channel 'nope'"),
        ([[0, 0]], {"refocus_planes": 3}, "5 or more planes"),
        ([[0, 0]], {"judge": {"blur": 3}}, "no setting 'blur'"),
        ([[0, 0]], {"judge": {"blur_k": -1}}, "a number above 0"),
        ([[0, 0]], {"expected": {"sharpness": 3}}, "expectation of sharpness"),
        ([[0, 0]], {"auditor": "audit"}, "is no auditor of camera"),
        ([[0, 0]], {"judge_timeout_s": 0}, "a time above 0"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(
    RE, microscope, stage, documents, places, kwargs, words
):
    with pytest.raises((BadInputError, ValueError), match=words):
        RE(acquire_sections(microscope, places, **kwargs))
    assert not stage.moves
    assert not documents.of("start")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"step_um": "fine"}, "in steps of fine um"),
        ({"half_range_um": float("nan")}, "nan um"),
        ({"exposure_s": 0}, "exposure_s=0"),
    ],
)
def test_a_stack_that_cannot_be_taken_is_refused_before_anything_moves(
    RE, microscope, stage, documents, kwargs, words
):
    with pytest.raises(BadInputError, match=words):
        RE(z_stack_audited(microscope, **kwargs))
    assert not stage.moves
    assert not documents.of("start")


# -- on a sample whose images are formed by diffraction ------------------------------------------------


@pytest.fixture
def simulated(tmp_path):
    microscope = simulated_microscope("microscope", seed=1, height_px=192, width_px=192, realtime=False)
    microscope.camera.frames_root = tmp_path
    yield microscope
    microscope.destroy()


FAULTS = {
    1: PlantedFault("blur", kick_um=6.0),
    4: PlantedFault("shading", disturbance=Disturbance(illumination=OffCentreLamp(0, 0, 90))),
    5: PlantedFault("motion", disturbance=Disturbance(straight_path((0.0, 1.5, 2.0)))),
}


def test_blurred_moved_and_shaded_sections_are_replaced_by_good_ones(RE, simulated, documents):
    world = simulated.backend.camera.world
    places = [[31.2 * k, 0.0, world.scene.focus_um(31.2 * k, 0.0)] for k in range(7)]
    for number, fault in FAULTS.items():
        world.plant(*places[number][:2], fault)
    off_um = []

    def watch(name, doc):
        if name == "event" and "point_position" in doc["data"]:
            off_um.append(world.true_defocus_um())

    RE.subscribe(watch)
    RE(acquire_sections(simulated, places, exposure_s=0.05))
    last, first = {}, {}
    for sid, accepted, reason, frame in zip(
        *(column(documents, f"audit_{key}") for key in ("slice_id", "accepted", "reason", "frame")), strict=True
    ):
        first.setdefault(sid, {})[frame] = (accepted, reason)  # what was said last of each frame
        last[sid] = (accepted, frame)
    for number, fault in FAULTS.items():
        said = next(iter(first[f"{number:02d}"].values()))
        assert said[0] == 0
        assert said[1].startswith({"blur": "blurred", "motion": "moved", "shading": "shaded"}[fault.kind])
    # The second of all slices passed, with nothing to compare it with; so the third was out of focus too.
    assert {sid for sid, frames in first.items() if len(frames) > 1} == {"01", "02", "04", "05"}
    assert all(accepted for accepted, _ in last.values())
    assert max(abs(off_um[frame]) for _, frame in last.values()) < 2.0, "in focus, the kick undone"
    provisional = column(documents, "audit_provisional")
    assert provisional[0] == 1
    assert provisional[-1] == 0


def test_only_the_planes_that_a_twitch_has_spoilt_are_taken_again(RE, simulated, documents):
    simulated.camera.exposure_s.put(0.05)
    world = simulated.backend.camera.world
    world.twitch((0.0, 2.0, 2.0), 0.2, start_s=world.now_s() + 0.4)
    RE(z_stack_audited(simulated, 5.0, 0.5))
    planes = column(documents, "point_plane", "primary")
    again = planes[21:]
    assert planes[:21] == list(range(21))
    assert 2 <= len(again) <= 5
    assert again == list(range(again[0], again[0] + len(again)))
    z_um = np.array(column(documents, "stage_z", "primary"))
    assert np.allclose(z_um[21:], z_um[again], atol=0.02)
    by_frame = dict(zip(column(documents, "audit_frame"), column(documents, "audit_accepted"), strict=True))
    spoilt = {frame for frame, accepted in by_frame.items() if not accepted}
    assert spoilt == set(again)
    assert max(column(documents, "progress_retaken")) == len(again)


def test_planted_faults_are_drawn_by_share_and_kind():
    faults = planted_faults(300, 0.2, seed=4)
    assert len(faults) == 60
    assert 0 not in faults
    kinds = [fault.kind for fault in faults.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"blur": 20, "motion": 20, "shading": 20}
    assert planted_faults(300, 0.2, seed=4) == faults
    with pytest.raises(BadInputError, match="share"):
        planted_faults(10, 1.2)
