"""Stages judge the sections of a run when it has ended, and their decisions come to the ledger of a user."""

import json
from itertools import count

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from parfocal.callbacks import SectionParameters, SectionStages, SliceLedgerFiles, ledger_of, volumes_of
from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.frames import FrameRing, Frames
from parfocal.slices import SliceLedger
from support import Documents

SIDE, DEPTH = 48, 3
NOISE = count(100)
FRAME = {"dtype": "array", "shape": [1, SIDE, SIDE], "external": "STREAM:"}


def section(seed=None):
    """Planes of one sample, a little different each time; with `seed`, of nothing at all."""
    rng = np.random.default_rng(0 if seed is None else seed)
    if seed is not None:
        return rng.normal(100, 10, (DEPTH, SIDE, SIDE)).astype(np.float32)
    texture = gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 2.0)
    fresh = np.random.default_rng(next(NOISE)).normal(0, 1, (DEPTH, SIDE, SIDE))
    return (500 + 400 * texture / texture.std() + 2 * fresh).astype(np.float32)


class Taken:
    """A run as its documents tell it, and the pixels behind it."""

    def __init__(self, width=SIDE, **about):
        self.frame = {**FRAME, "shape": [1, SIDE, width]}
        self.pixels, self.documents, self.n_audits = [], [], 0
        about = {"camera": "camera", "axes": {"x": "x", "y": "y", "z": "z"}, **about}
        self("start", uid="raw00000-run", time=1.0, plan_name="acquire_sections", parfocal=about)
        for name, keys in (("primary", {"camera": self.frame, "camera_frame": {}}), ("audit", {})):
            self("descriptor", uid=name, run_start="raw00000-run", name=name, data_keys=keys, configuration={})
        self(
            "stream_resource", uid="r", data_key="camera", uri="file://localhost/nowhere", run_start="raw00000-run"
        )

    def __call__(self, name, /, **doc):
        self.documents.append((name, doc))

    def image(self, number, volume, name="", attempt=1, off_um=0.0, **point):
        for plane, pixels in enumerate(volume):
            index = len(self.pixels)
            self.pixels.append(pixels)
            data = {
                "camera_frame": index,
                "x": 10.0 * number + off_um,
                "x_setpoint": 10.0 * number,
                "z": plane * 2.0,
            }
            data |= {"y": 0.0, "y_setpoint": 0.0, "point_position": number, "point_position_name": name}
            data |= {"point_plane": plane, "point_attempt": attempt, **{f"point_{k}": v for k, v in point.items()}}
            self("event", uid=f"e{index}", descriptor="primary", seq_num=index + 1, time=2.0, data=data)

    def judge(self, slice_id, attempt, reason=""):
        self.n_audits += 1
        told = {"slice_id": slice_id, "attempt": attempt, "accepted": int(not reason), "reason": reason}
        data = {f"judge_{key}": value for key, value in told.items()} | {"judge_frame": len(self.pixels) - 1}
        self("event", uid=f"a{self.n_audits}", descriptor="audit", seq_num=self.n_audits, time=2.0, data=data)

    def through(self, parameters=None, *listeners, frames_root=None):
        """Send all of it through the stages; return what they say."""
        derived = Documents()
        frames = Frames(FrameRing(1), remote=lambda _, index: self.pixels[index])
        stages = SectionStages(
            parameters, emit=derived, frames=frames, mode="replay", overflow="wait", frames_root=frames_root
        )
        for listener in listeners:
            stages.subscribe(listener)
        self("stop", uid="s", run_start="raw00000-run", time=9.0, exit_status="success")
        for name, doc in self.documents:
            stages(name, doc)
        assert stages.close()
        return derived


def rows(derived, stream):
    (uid,) = [d["uid"] for d in derived.of("descriptor") if d["name"] == stream]
    return [e["data"] for e in derived.of("event") if e["descriptor"] == uid]


def said(derived):
    (stop,) = derived.of("stop")
    assert stop["exit_status"] == "success", stop["reason"]
    return stop["parfocal"]["verdict"]


def test_stages_find_what_is_wrong_with_the_sections_of_a_run():
    run = Taken(audit={"auditor": "judge"})
    for number in range(10):
        is_noise = 5 <= number <= 7
        if number == 3:
            run.image(number, section(3)[:1], attempt=1)
            run.judge("03", 1, "blurred")
        run.image(
            number,
            section(number if is_noise else None)[:1],
            attempt=1 + (number == 3),
            off_um=900.0 * (number == 2),
        )
        run.judge(f"{number:02d}", 1 + (number == 3))
    derived = run.through()
    assert said(derived) == "some_excluded"
    ledger = ledger_of(derived.all).rows
    assert [sid for sid, row in ledger.items() if row["auto_excluded"]] == ["05", "06", "07", "08"]
    assert [sid for sid, row in ledger.items() if row["rehomed"]] == ["02"]
    assert ledger["03"]["notes"] == "attempt 1: blurred"
    assert ledger["03"]["quality_score"] > 0.9 > 0.5 > ledger["06"]["quality_score"]
    frame_of = {row["slice_id"]: (row["frame"], row["attempt"]) for row in rows(derived, "planes")}
    assert (frame_of["02"], frame_of["03"], frame_of["04"]) == ((2, 1), (4, 2), (5, 1))
    numbers = {(r["stage"], r["slice_id"]): json.loads(r["json"]) for r in rows(derived, "metrics")}
    assert numbers["register", "04"]["z_correlation"] > 0.9
    assert numbers["detect-rehoming", "02"]["x_shift_mm"] == pytest.approx(0.9)
    assert numbers["acquire_sections", "03"] == {"attempts": 2, "rejected": 1}


def test_a_section_of_which_no_attempt_was_accepted_is_not_used_and_nothing_is_registered_to_it():
    run = Taken(audit={"auditor": "judge"})
    for number in range(4):
        run.image(number, section()[:1])
        run.judge(f"{number:02d}", 1, "moved" if number == 1 else "")
    derived = run.through()
    row = ledger_of(derived.all).rows["01"]
    assert (row["use"], row["auto_excluded"], row["auto_exclude_reason"]) == (False, True, "moved")
    registered = [r["slice_id"] for r in rows(derived, "metrics") if r["stage"] == "register"]
    assert registered == ["02", "03"]


def test_the_ledger_comes_back_from_the_documents_and_as_a_file(tmp_path):
    run = Taken()
    for number in range(3):
        run.image(number, section())
    files = SliceLedgerFiles(tmp_path)
    derived = run.through(None, files)
    assert said(derived) == "all_used"
    ledger = ledger_of(derived.all)
    (uid,) = [doc["uid"] for doc in derived.of("start")]
    assert {event.run_uid for event in ledger.events} == {uid}
    assert {event.stage for event in ledger.events} == {"generate", "detect-rehoming", "assess", "exclude"}
    told = [{k: v if v == v else None for k, v in row.items()} for row in rows(derived, "slices")]
    as_text = {True: "true", False: "false", None: ""}
    for row in ledger.rows.values():
        written = told.pop(0)
        for column, value in row.items():
            is_score = column in ("quality_score", "galvo_confidence")
            assert written[column] == (value if is_score else as_text.get(value, value)), column
    assert SliceLedger.read(files.written[-1]).rows == ledger.rows
    with pytest.raises(BadInputError, match="has no verdicts on slices"):
        ledger_of(run.documents)


@pytest.mark.parametrize(
    ("parameters", "ids", "volumes"),
    [
        (SectionParameters(), ["00", "01"], [0, 1]),
        (SectionParameters(other=1), ["00", "01"], [2, 3]),
        (SectionParameters(sections="time_point", other=1, channel="red"), ["00", "01", "02"], [1, 3, 5]),
    ],
)
def test_a_section_is_a_position_or_a_time_point_and_others_are_named_as_passed_over(parameters, ids, volumes):
    run = Taken()
    for time_point in range(3):
        for number in range(2):
            run.image(number, section(), name=f"well {number}", time_point=time_point, channel="red")
    derived = run.through(parameters)
    assert [row["slice_id"] for row in rows(derived, "slices")] == ids
    assert [row["frame"] // DEPTH for row in rows(derived, "planes")][::DEPTH] == volumes
    messages = [row["message"] for row in rows(derived, "messages") if row["stage"] == "gather"]
    passed = 6 * DEPTH - len(ids) * DEPTH
    assert f"{passed} frames are of other time points, positions, tiles or channels" in messages
    assert any("numbered by position: 'well 0'" in m for m in messages) == (parameters.sections == "position")


def test_one_section_alone_is_scored_by_nobody_and_that_is_said():
    run = Taken()
    run.image(0, section())
    derived = run.through()
    assert said(derived) == "incomplete"
    told = {row["stage"]: row["message"] for row in rows(derived, "messages")}
    assert told["register"] == "not done: register: 1 section(s), expected two or more"
    assert "which was not done" in told["exclude"]


def test_a_stage_that_there_is_not_is_refused_before_anything_begins():
    with pytest.raises(BadInputError, match="no stage 'mend', there are: generate, fix-galvo, detect-rehoming"):
        SectionStages(SectionParameters(stages="assess, mend"))


def with_way_back(volume, n_extra, shift_lines):
    """Return a section whose tile ends in the galvo's way back, rolled away from there."""
    tile = 1000 + volume / 8
    tile[:, -n_extra:] -= 700
    return tile, np.roll(tile, -shift_lines, axis=1)


def test_stages_make_volumes_that_the_derived_run_refers_to(tmp_path):
    run = Taken(audit={"auditor": "judge"})
    good, rolled = with_way_back(section(), 8, 11)
    for number in range(7):
        run.image(number, {1: rolled, 4: section(4)}.get(number, good), off_um=3.0 * (number == 5))
        run.judge(f"{number:02d}", 1, "moved" if number == 4 else "")
    parameters = SectionParameters(stages="all", n_extra=8, n_held_out=0, sub_pixel=False)
    derived = run.through(parameters, frames_root=tmp_path)
    ledger, made = ledger_of(derived.all).rows, volumes_of(derived.all)
    told = {(row["stage"], row["slice_id"]): row for row in rows(derived, "volumes")}
    assert said(derived) == "some_excluded", rows(derived, "messages")
    assert list(told) == [("fix-galvo", "01"), ("interpolate", "04"), ("align", ""), ("stack", "")]
    assert list(made) == [row["stream"] for row in told.values()]
    assert all(tmp_path in path.parents for path in made.values())
    assert ledger["01"]["notes"] == "galvo fix applied: 11 lines"
    np.testing.assert_array_equal(read_ome_zarr(made["rolled_01"])[0], good)
    assert (ledger["04"]["use"], ledger["04"]["interpolated"]) == (False, True)
    aligned = read_ome_zarr(made["aligned"])[0]
    assert aligned.shape == (7 * DEPTH, SIDE, SIDE)
    for number in (0, 1, 2, 3, 5, 6):
        np.testing.assert_array_equal(aligned[DEPTH * number : DEPTH * (number + 1)], good)
    assert told["align", ""]["voxel_z_um"] == 2.0
    assert {event.stage for event in ledger_of(derived.all).events} >= {"fix-galvo", "interpolate"}


def test_where_a_stage_said_it_was_is_where_its_sections_are_laid(tmp_path):
    run = Taken(width=40)
    whole = section()
    at = [0, 3, 5]
    for number, x in enumerate(at):
        run.image(number, whole[:, :, x : x + 40], off_um=float(x))
    derived = run.through(SectionParameters(stages="align", steps="stage"), frames_root=tmp_path)
    assert said(derived) == "all_used", rows(derived, "messages")
    aligned = read_ome_zarr(volumes_of(derived.all)["aligned"])[0]
    for number, x in enumerate(at):
        np.testing.assert_array_equal(
            aligned[DEPTH * number : DEPTH * (number + 1), :, x : x + 40], whole[:, :, x : x + 40]
        )


def test_a_volume_that_cannot_be_made_says_why_and_leaves_nothing(tmp_path):
    run = Taken()
    run.image(0, section())
    derived = run.through(SectionParameters(stages="fix-galvo, align, stack"), frames_root=tmp_path)
    assert said(derived) == "incomplete"
    told = {row["stage"]: row["message"] for row in rows(derived, "messages")}
    assert "n_extra" in told["fix-galvo"]
    assert "goes by the steps of `register`, which was not done" in told["align"]
    assert volumes_of(derived.all) == {}
    assert not list(tmp_path.iterdir())
