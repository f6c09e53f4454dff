"""Live and replayed, an analysis says the same; and nothing it does can hurt the plan."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.utils import Msg, RunEngineInterrupted
from bluesky_tiled_plugins import TiledWriter
from typer.testing import CliRunner

from parfocal.callbacks import (
    ANALYSES,
    Analysis,
    FocusScores,
    SliceParameters,
    analysis_named,
    evidence_of,
    grids_of,
    judge_slices,
    ledger_of,
    metrics_of,
    replay,
    stored_looks,
    volumes_of,
)
from parfocal.catalog import remote_frames
from parfocal.catalog._log import HEADER, encode_line, log_path
from parfocal.catalog._writer import delete_run
from parfocal.cli import commands
from parfocal.devices import simulated_microscope
from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.frames import FrameRing, Frames
from parfocal.imaging import adjacent_ncc, band_limited, tile_grids
from parfocal.plans import (
    acquire_sections,
    calibrate_focus,
    characterize_camera,
    image_puncta,
    time_lapse,
    z_burst,
    z_stack,
    z_stack_audited,
)
from parfocal.session import start_session
from parfocal.slices import SliceLedger
from parfocal.slices.ledger import read_metrics
from parfocal.slices.selection import RULES


@pytest.fixture(scope="module")
def session(served_folder):
    """One session, RunEngine and writer; each test has the analyses look on that it asks about."""
    session = start_session(served_folder.root)
    yield session
    session.close()


@pytest.fixture
def microscope(session):
    microscope = simulated_microscope("microscope", sample="beads", height_px=64, width_px=64, realtime=False)
    session.use(microscope)
    yield microscope
    microscope.destroy()


@contextmanager
def looking_on(session, *names, parameters=None):
    """Have these analyses look on: each writes its own run, which costs the catalog about a second."""
    made = [analysis_named(n, parameters, emit=session.writer) for n in names]
    for one in made:
        one.frames_root = session.catalog.folder.frames
    watching = {session.RE.subscribe(one): one for one in made}
    yield
    for token, analysis in watching.items():
        session.RE.unsubscribe(token)
        assert analysis.close()


def tables(run):
    """Everything a derived run says, but for uids and times; of a repeated event, the last."""
    said = {}
    for stream in run:
        data = run[stream].read()
        columns = {str(k): np.asarray(data[k]) for k in data}
        rows = columns.get("raw_seq_num", np.arange(len(next(iter(columns.values())))))
        last = sorted({int(seq_num): row for row, seq_num in enumerate(rows)}.values())
        times = {"time", "labels_after_s", *(k for k in columns if k.startswith("ts_"))}
        said[stream] = {k: repr(v[last].tolist()) for k, v in columns.items() if k not in times}
    return said


def start_of(run):
    return run.metadata["start"]["parfocal"]


def repeated(microscope):
    """A stack in which one event is repeated: paused between save and the next checkpoint."""
    camera, z = microscope.camera, microscope.xyz.z
    yield from bps.open_run({"plan_name": "repeated", "parfocal": {"camera": "camera", "axes": {"z": "stage_z"}}})
    for n, z_um in enumerate(np.linspace(-2, 2, 7)):
        yield Msg("checkpoint")
        yield from bps.mv(z, z_um)
        yield from bps.trigger_and_read([camera, z])
        if n == 3:
            yield from bps.pause()
    yield from bps.close_run()


RUNS = {
    "stack": lambda m: z_stack(m, 2, 0.5),
    "time-lapse": lambda m: time_lapse(m, 2, 0.0, 1, 0.5, positions_um=[[0, 0], [20, 0]]),
    "burst": lambda m: z_burst(m, 2, 0.5),
    "plain bp.scan": lambda m: bp.scan([m.camera], m.xyz.z, -1, 1, 7),
    "repeated event": lambda m: bpp.stage_wrapper(repeated(m), [m.camera]),
}


SWEEPS = {"sweep": lambda m: calibrate_focus(m, exposure_s=0.01, settle_s=0.0)}
SECTIONS = {
    "sections": lambda m: acquire_sections(m, [[0, 0], [20, 0], [40, 0]], max_attempts=2, refocus_planes=5),
    "audited stack": lambda m: z_stack_audited(m, 2, 0.5),
}
PUNCTA = {"puncta": lambda m: image_puncta(m, n_frames=12, exposure_s=0.02, focus_locked=False)}
RUNS_OF = {
    "focus_scores": RUNS,
    "focus_calibration": SWEEPS,
    "section_stages": {"sections": SECTIONS["sections"], "stacks": RUNS["time-lapse"]},
    "slice_audit": {k: RUNS[k] for k in ("burst",)} | SECTIONS,
    "nuclei": {"stack": RUNS["stack"]},
    "puncta": {"burst": RUNS["burst"]} | PUNCTA,
    "characterization": {"camera": lambda m: characterize_camera(m, n_dark=16, n_flat=8, n_levels=4)},
}
# Stages that write files, in the same few streams; and what needs no network.
PARAMETERS = {
    ("section_stages", "stacks"): {"stages": "all", "steps": "stage", "n_held_out": 0},
    ("nuclei", "stack"): {"backend": "watershed"},
    ("puncta", "puncta"): {"batch_frames": 5, "drift": "fiducials"},
}
TABLES = {
    ("nuclei", "stack"): ("objects",),
    ("puncta", "puncta"): ("localizations", "tracks", "track_points", "drift"),
}
SERVED = {"section_stages": ("aligned", "stacked"), "nuclei": ("labels_0",), "puncta": ("image_0",)}


# What is heard of the same streams by another analysis in `make test`.
LONG = {
    ("section_stages", "stacks"),
    ("slice_audit", "burst"),
    ("puncta", "burst"),
}


def kinds():
    for name in ANALYSES:
        for kind in RUNS_OF[name]:
            marks = [pytest.mark.long] if (name, kind) in LONG else []
            yield pytest.param(name, kind, marks=marks, id=f"{name}-{kind}")


@pytest.mark.parametrize(("name", "kind"), list(kinds()))
def test_live_and_replayed_results_are_equal(session, microscope, name, kind):
    parameters = PARAMETERS.get((name, kind), {})
    with looking_on(session, name, parameters=parameters):
        try:
            session.RE(RUNS_OF[name][kind](microscope))
        except RunEngineInterrupted:
            session.RE.resume()
    assert session.drain(60)
    uid = session.catalog.raw[-1].metadata["start"]["uid"]
    (live,) = [a for a in session.catalog.analyses_of(uid) if start_of(a)["analysis"] == name]
    (done,) = replay([uid], name, parameters, catalog=session.catalog, writer=session.writer, if_done="supersede")
    assert done.status == "done", done.reason
    assert session.writer.drain(60)
    again = session.catalog.run(done.derived_uid)
    assert tables(live) == tables(again)
    assert tables(live), "an analysis that says nothing proves nothing"
    different = {k for k in start_of(live) if start_of(live)[k] != start_of(again).get(k)}
    assert different == {"mode"}
    assert start_of(again)["supersedes"] == live.metadata["start"]["uid"]
    assert live.metadata["stop"]["parfocal"] == again.metadata["stop"]["parfocal"]
    if parameters:
        volumes_are_served(session, live, again, SERVED[name])
    for key in TABLES.get((name, kind), ()):
        table, same = (session.catalog.read_table(r.metadata["start"]["uid"], key) for r in (live, again))
        assert table.equals(same), key
        assert table.num_rows > 0


def volumes_are_served(session, live, again, streams):
    """Each run has volumes of its own in the data folder, and the catalog gives their pixels."""
    made = [volumes_of(run) for run in (live, again)]
    for stream in streams:
        assert session.catalog.folder.frames in made[0][stream].parents
        assert made[0][stream] != made[1][stream]
        ours = [read_ome_zarr(of[stream])[0] for of in made]
        assert np.array_equal(*ours)
        assert np.array_equal(np.asarray(live[stream]["volume"].read()), ours[0])


def test_what_a_queue_says_of_an_item_stands_beside_what_the_plan_says(session, microscope):
    starts = []
    token = session.RE.subscribe(lambda name, doc: starts.append(doc), "start")
    session.RE(z_stack(microscope, 1, 1), parfocal={"on_failure": "retry"}, sample="slide 7")
    session.RE.unsubscribe(token)
    (start,) = starts
    assert start["sample"] == "slide 7"
    assert start["parfocal"]["on_failure"] == "retry"
    assert start["parfocal"]["camera"] == microscope.camera.name
    assert start["parfocal"]["axes"]["z"] == microscope.xyz.z.name


def test_a_repeated_event_counts_once_and_the_last_wins(session, microscope):
    with looking_on(session, "focus_scores"):
        with pytest.raises(RunEngineInterrupted):
            session.RE(RUNS["repeated event"](microscope))
        session.RE.resume()
    session.drain(60)
    run = session.catalog.raw[-1]
    frames = np.asarray(run["primary"].read()["camera_frame"]).tolist()
    assert frames == list(range(8)), "both frames are kept, and the stream reads"
    analysis = next(a for a in session.catalog.analyses_of(run) if start_of(a)["analysis"] == "focus_scores")
    assert np.asarray(analysis["stacks"].read()["n_planes"]).tolist() == [7]


def as_it_was_written(run, uid):
    """Documents of an audit as they were when its correlations were arrays."""
    for name, doc in run.documents():
        doc = {key: value for key, value in doc.to_dict().items() if key != "object_keys"}
        if name == "start":
            doc["uid"] = uid
        elif "run_start" in doc:
            doc["run_start"] = uid
        for columns in filter(None, (doc.get("data_keys"), doc.get("data"), doc.get("timestamps"))):
            for side in ("ncc_before", "ncc_after"):
                beside = [columns.pop(key) for key in sorted(columns) if key.startswith(f"{side}_")]
                if beside and name == "descriptor":
                    columns[side] = {"source": "parfocal", "dtype": "array", "shape": [len(beside)]}
                elif beside:
                    columns[side] = beside if columns is doc["data"] else beside[0]
        yield name, doc


def test_audits_are_read_that_were_written_with_other_columns(session, microscope):
    with looking_on(session, "slice_audit"):
        session.RE(z_stack(microscope, 1, 0.5))
    session.drain(60)
    [audit] = session.catalog.analyses_of(session.catalog.raw[-1])
    uid = str(uuid4())
    writer = TiledWriter(session.catalog.analysis)  # which keeps small arrays in the table
    for name, doc in as_it_was_written(audit, uid):
        writer(name, doc)
    old = session.catalog.analysis[uid]
    assert np.asarray(old["looks"].read()["grid_ncc"]).dtype.kind == "U", "as they were kept"
    for now, then in zip(stored_looks(audit), stored_looks(old), strict=True):
        np.testing.assert_array_equal((then.before, then.after), (now.before, now.after))
    for name, grid in grids_of(audit).items():
        np.testing.assert_array_equal(grids_of(old)[name], grid)
    np.testing.assert_array_equal(evidence_of(old).adjacent, evidence_of(audit).adjacent)


def test_rules_run_again_on_a_stored_audit_without_its_pixels(session, microscope):
    with looking_on(session, "slice_audit"):
        session.RE(z_stack(microscope, 2, 0.5))
    session.drain(60)
    audits = session.catalog.analyses_of(session.catalog.raw[-1])
    audit = next(a for a in audits if start_of(a)["analysis"] == "slice_audit")
    looks = stored_looks(audit)
    told = audit["slices"].read()
    again = [(one.plane, int(verdict.accepted), verdict.reason) for one, _, verdict in judge_slices(looks)]
    assert again == list(
        zip(*(np.asarray(told[key]).tolist() for key in ("plane", "accepted", "reason")), strict=True)
    )
    camera = microscope.camera
    uri = next(d["uri"] for n, d in session.catalog.documents(-1) if n == "stream_resource")
    frames = np.stack([camera.ring.get(uri, k) for k in range(9)])
    smooth = [band_limited(frame) for frame in frames]
    grids, evidence = grids_of(audit), evidence_of(audit)
    assert grids["laplacian"] == pytest.approx(tile_grids(frames).laplacian)
    assert grids["ncc"][1:] == pytest.approx(tile_grids(frames).ncc)
    assert np.isnan(grids["ncc"][0]).all()
    assert evidence.adjacent == pytest.approx(adjacent_ncc(smooth), abs=1e-5)
    assert evidence.skip == pytest.approx(adjacent_ncc(smooth, gap=2), abs=1e-5)
    assert evidence.z_um == pytest.approx(np.arange(-2, 2.1, 0.5), abs=0.02)
    assert RULES["peak_relative"](evidence).keep.any()
    strict = SliceParameters(stack_least_drop=1e-9, stack_k=1e-3)
    assert sum(v.accepted for *_, v in judge_slices(looks, strict)) < len(again)
    # The same numbers by Tiled's own client, one tile though it is.
    told = audit["looks"].read()
    for name, grid in grids.items():
        assert grid.shape == (9, 1, 1)
        np.testing.assert_array_equal(audit["looks"][f"grid_{name}"].read(), grid)
        np.testing.assert_array_equal(told[f"grid_{name}"], grid)
    np.testing.assert_array_equal(told["ncc_before_1"], [one.before[0] for one in looks])
    with pytest.raises(BadInputError, match="no derived run of slice_audit"):
        stored_looks(session.catalog.raw[-1])


def test_the_command_line_writes_the_ledger_that_a_run_comes_to(session, microscope, tmp_path):
    with looking_on(session, "slice_audit", "section_stages"):
        uid = session.RE(SECTIONS["sections"](microscope))[0]
    session.drain(60)
    (stages,) = [a for a in session.catalog.analyses_of(uid) if start_of(a)["analysis"] == "section_stages"]
    data, program = ["--data", str(session.catalog.folder.root)], commands()
    folder = tmp_path / "metrics"
    ways = ([], ["--analysis", "slice_audit"], ["--analysis", "section_stages", "--metrics", str(folder)])
    for number, options in enumerate(ways):
        out = tmp_path / f"{number}.csv"
        said = CliRunner().invoke(program, ["slices", "ledger", uid, str(out), *options, *data])
        assert said.exit_code == 0, said.output
        ledger = SliceLedger.read(out)
        assert list(ledger.rows) == ["00", "01", "02"]
        used = [sid for sid, row in ledger.rows.items() if row["use"] and not row["auto_excluded"]]
        assert f"{len(used)} of 3 slices to use" in said.output
    assert ledger.rows == ledger_of(stages).rows
    assert {event.stage for event in ledger.events} >= {"generate", "acquire_sections", "assess"}
    numbers = read_metrics(folder)
    assert numbers == metrics_of(stages)
    assert numbers["01"]["register"]["registered_to"] == "00"


def test_what_was_done_is_skipped_and_other_parameters_are_another_result(session, microscope):
    with looking_on(session, "focus_scores"):
        uid = session.RE(z_stack(microscope, 1, 0.5))[0]
    session.drain(60)
    (again,) = replay([uid], "focus_scores", catalog=session.catalog)
    assert again.status == "skipped"
    (other,) = replay([uid], "focus_scores", {"score": "brenner"}, catalog=session.catalog)
    assert other.status == "done"
    (same,) = replay([uid], "focus_scores", {"score": "brenner"}, catalog=session.catalog)
    assert (same.status, same.derived_uid) == ("skipped", other.derived_uid)
    found = session.catalog.runs(analysis="focus_scores", parameters={"score": "brenner"})
    assert other.derived_uid in set(found["uid"])
    assert session.catalog.raw_of(other.derived_uid).metadata["start"]["uid"] == uid


def test_frames_come_from_memory_from_disk_and_through_the_server_alike(session, microscope):
    uid = session.RE(z_stack(microscope, 1, 0.5))[0]
    session.drain(60)
    uri = next(d["uri"] for n, d in session.catalog.documents(uid) if n == "stream_resource")
    memory = microscope.camera.ring.get(uri, 3)
    disk = Frames(FrameRing(1)).read(uri, 3)
    elsewhere = Frames(FrameRing(1), remote=remote_frames(session.catalog, uid))
    elsewhere._store = lambda *_: (_ for _ in ()).throw(OSError("not on this machine"))
    assert np.array_equal(memory, disk)
    assert np.array_equal(memory, elsewhere.get(uri, 3))
    with pytest.raises(BadInputError, match="none of the runs"):
        elsewhere.get(uri + "x", 0)


class Broken(Analysis):
    """Its science raises at the third frame."""

    name, version = "broken", "1"

    def open(self, run):
        return self

    columns = {"rows": {"mean": {"dtype": "number", "shape": []}}}  # noqa: RUF012
    verdict = ""

    def frame(self, frame):
        if frame.seq_num == 3:
            raise ValueError("no such thing\nas a third frame")
        yield "rows", {"mean": float(frame.pixels.mean())}

    def finish(self):
        return ()


def test_an_exception_in_an_analysis_is_recorded_and_never_touches_the_plan(session, microscope):
    broken = Broken(emit=session.writer)
    token = session.RE.subscribe(broken)
    uid = session.RE(z_stack(microscope, 1, 0.5))[0]
    session.RE.unsubscribe(token)
    assert broken.close()
    session.drain(60)
    assert session.catalog.run(uid).metadata["stop"]["exit_status"] == "success"
    (derived,) = [a for a in session.catalog.analyses_of(uid) if start_of(a)["analysis"] == "broken"]
    stop = derived.metadata["stop"]
    assert (stop["exit_status"], stop["reason"]) == ("fail", "ValueError: no such thing")
    assert len(derived["rows"].read()["mean"]) == 2


def test_a_full_queue_is_said_and_mended_by_replay(session, microscope):
    emitted = []
    slow = FocusScores(emit=lambda name, doc: emitted.append((name, doc)), queue_size=3)
    (uid,) = session.RE(z_stack(microscope, 2, 0.5))
    session.drain(60)
    documents = list(session.catalog.documents(uid))
    with slow._changed:  # the worker cannot take a document while they come
        for name, doc in documents:
            slow(name, doc)
    slow.close()
    stop = [doc for name, doc in emitted if name == "stop"]
    assert stop
    assert stop[0]["exit_status"] == "fail"
    assert "found the queue full; replay the run" in stop[0]["reason"]


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        (
            "fokus",
            {},
            "there are: characterization, focus_calibration, focus_scores, nuclei, puncta, section_stages, "
            "slice_audit",
        ),
        ("focus_scores", {"scor": 1}, "there are: score, noise"),
        ("focus_scores", {"score": "sharp"}, "none of laplacian_variance"),
        ("focus_scores", {"log_sigma_px": "wide"}, "is no float"),
        ("section_stages", {"min_quality": "good"}, "is no float"),
        ("section_stages", {"keep_gaps": "perhaps"}, "is neither true nor false"),
    ],
)
def test_an_unknown_analysis_or_parameter_is_refused(name, parameters, words):
    with pytest.raises(BadInputError, match=words):
        analysis_named(name, parameters)


def test_a_parameter_comes_as_text_from_the_command_line():
    given = {"min_quality": "auto", "keep_gaps": "no", "n_extra": "40", "stages": "all"}
    with contextlib.closing(analysis_named("section_stages", given)) as stages:
        how = stages.parameters
    assert (how.min_quality, how.keep_gaps, how.n_extra) == ("auto", False, 40)


@pytest.mark.long
@pytest.mark.parametrize("processes", [False, True])
def test_many_runs_on_a_dask_cluster_give_what_one_process_gives(session, microscope, processes):
    distributed = pytest.importorskip("distributed")
    uids = [session.RE(z_stack(microscope, 1, 0.5))[0] for _ in range(2)]
    session.drain(60)
    parameters = {"score": "vollath_f4", "log_sigma_px": 1.0 + processes}
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=processes, dashboard_address=":0"
    ) as cluster:
        done = replay(
            uids, "focus_scores", parameters, catalog=session.catalog, scheduler=cluster.scheduler_address
        )
    assert [d.status for d in done] == ["done", "done"]
    here = replay(uids, "focus_scores", parameters, catalog=session.catalog, if_done="supersede")
    for there, ours in zip(done, here, strict=True):
        assert tables(session.catalog.run(there.derived_uid)) == tables(session.catalog.run(ours.derived_uid))


def written_by_a_process_that_is_gone(session, uid, *, whole):
    """Take a good result out of the catalog and put it into the log of a process that has ended."""
    run = session.catalog.run(uid)
    documents = [(name, doc) for name, doc in session.catalog.documents(run) if whole or name != "stop"]
    gone = {"pid": 2**22 + 1, "process_started_s": 0.0, "host": socket.gethostname(), "opened_s": 0.0}
    path = log_path(session.catalog.folder.wal, uid)
    path.write_bytes(b"".join(encode_line(name, doc) for name, doc in [(HEADER, gone), *documents]))
    delete_run(session.catalog.shelf("analysis"), uid)


def test_what_a_killed_replay_left_counts_where_it_is_whole_and_is_superseded_where_it_is_not(session, microscope):
    uid = session.RE(z_stack(microscope, 1, 0.5))[0]
    session.drain(60)
    again = partial(replay, [uid], "focus_scores", {"log_sigma_px": 1.25}, catalog=session.catalog)
    (first,) = again()
    written_by_a_process_that_is_gone(session, first.derived_uid, whole=True)
    (second,) = again()
    assert (second.status, second.derived_uid) == ("skipped", first.derived_uid)
    written_by_a_process_that_is_gone(session, first.derived_uid, whole=False)
    (third,) = again()
    assert third.status == "done"
    assert start_of(session.catalog.run(third.derived_uid))["supersedes"] == first.derived_uid
    assert session.catalog.run(first.derived_uid).metadata["stop"]["exit_status"] == "abort"
    assert not log_path(session.catalog.folder.wal, first.derived_uid).exists()


def test_two_replays_at_once_make_one_result(session, microscope):
    uid = session.RE(z_stack(microscope, 1, 0.5))[0]
    session.drain(60)
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(replay, [uid], "focus_scores", {"log_sigma_px": 1.75}, catalog=session.catalog)
            for _ in range(2)
        ]
        found = [one.result()[0] for one in asked]
    assert sorted(one.status for one in found) == ["done", "skipped"]
    assert len({one.derived_uid for one in found}) == 1


def test_replays_of_the_same_runs_in_another_order_do_not_wait_for_each_other(session, microscope):
    uids = [session.RE(z_stack(microscope, 1, 0.5))[0] for _ in range(2)]
    session.drain(60)
    again = partial(replay, analysis="focus_scores", parameters={"log_sigma_px": 2.25}, catalog=session.catalog)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(again, order) for order in (uids, uids[::-1])]
        found = [result for one in asked for result in one.result(60)]
    assert sorted(one.status for one in found) == ["done", "done", "skipped", "skipped"]


def test_a_run_that_goes_on_is_not_replayed(session, microscope):
    said = []

    def stack():
        yield from bps.open_run({"parfocal": {"camera": "microscope_camera"}})
        yield from bps.trigger_and_read([microscope.camera])
        assert session.drain(60)
        (uid,) = session.catalog.runs(limit=1)["uid"]
        said.extend(replay([uid], "focus_scores", {"log_sigma_px": 2.5}, catalog=session.catalog))
        yield from bps.close_run()

    session.RE(bpp.stage_wrapper(stack(), [microscope.camera]))
    assert (said[0].status, said[0].derived_uid) == ("failed", "")
    assert "goes on" in said[0].reason


def test_segment_of_a_run_is_its_derived_run_and_is_not_done_twice(session, microscope):
    uid = session.RE(RUNS["stack"](microscope))[0]
    session.drain(60)
    data, program = ["--data", str(session.catalog.folder.root), "--json"], commands()
    asked = ["segment", uid[:8], "--backend", "watershed"]
    first, again = (json.loads(CliRunner().invoke(program, [*asked, *data]).output) for _ in range(2))
    assert (first["status"], again["status"]) == ("done", "skipped")
    assert again["derived_run"] == first["derived_run"]
    assert first["verdict"].endswith("nuclei")
    refused = CliRunner().invoke(program, [*asked, "--axes", "ZYX", *data])
    assert refused.exit_code != 0
    assert "--axes is for files" in str(refused.exception)


def test_segment_of_a_run_tells_each_of_its_stacks(session, microscope):
    places_um = [[0.0, 0.0], [50.0, 0.0]]
    (uid,) = session.RE(time_lapse(microscope, 1, 0.0, 3.0, 1.5, positions_um=places_um))
    session.drain(60)
    asked = ["segment", uid[:8], "--backend", "watershed", "--data", str(session.catalog.folder.root)]
    said = CliRunner().invoke(commands(), asked)
    facts = json.loads(CliRunner().invoke(commands(), [*asked, "--json"]).output)
    assert [row["position"] for row in facts["stacks"]] == [0, 1]
    assert sum(row["n_objects"] for row in facts["stacks"]) == int(facts["verdict"].split()[0])
    assert all((row["mean_doubt"] is None) == (row["n_objects"] == 0) for row in facts["stacks"])
    for row in facts["stacks"]:
        (line,) = (line for line in said.output.splitlines() if line.strip().startswith(row["labels"]))
        assert line.split()[5] == str(row["n_objects"])


def test_segment_of_a_run_is_told_links_and_restoration_and_says_what_came_of_them(session, microscope):
    uid = session.RE(RUNS["stack"](microscope))[0]
    session.drain(60)
    asked = ["segment", uid[:8], "--backend", "watershed", "--data", str(session.catalog.folder.root)]
    more = ["--option", "max_distance_z=1", "--option", "fill_gaps=false", "--restoration", "auto"]
    facts = json.loads(CliRunner().invoke(commands(), [*asked, *more, "--json"]).output)
    kept = session.catalog.run(facts["derived_run"]).metadata["start"]["parfocal"]["parameters"]
    assert (kept["max_distance_z"], kept["fill_gaps"], kept["min_overlap_ratio"]) == (1, False, 0.3)
    (stack,) = facts["stacks"]
    assert stack["restoration_asked"] == "auto"
    assert f"SNR {stack['snr']:.1f}" in stack["restoration_why"]
    said = CliRunner().invoke(commands(), [*asked, *more]).output
    assert f"labels_0: restoration {stack['restoration']} ({stack['restoration_why']})" in said
    for refused, complaint in [
        (["--option", "level=0.4"], "--option level is for files; of a run: min_overlap_ratio, max_distance_z"),
        (["--option", "max_distance_z=0"], "max_distance_z is 0, expected 1 or more planes"),
        (["--option", "min_overlap_ratio=much"], "min_overlap_ratio='much' is no float"),
        (["--option", "max_distance_z=1.5"], "max_distance_z=1.5 is no int"),
        (["--denoiser", "nlm"], "--denoiser is for files"),
        (["--weights", "net"], "--weights is for files"),
        (["--backend", "external"], "the backend external is for files, not for runs"),
        (["--backend", "cellpose", "--weights", "gone"], "gone: no such file, expected Cellpose 3 weights"),
    ]:
        if "cellpose" in refused:
            pytest.importorskip("cellpose", reason="Cellpose is not installed: parfocal[cellpose]")
        ended = CliRunner().invoke(commands(), [*asked, *refused])
        assert ended.exit_code != 0
        assert complaint in str(ended.exception)
        assert "\n" not in str(ended.exception)
