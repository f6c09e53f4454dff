"""Pauses, aborts, stops and Ctrl-C, with the whole path of a frame: events, frames and rows agree afterwards."""

import signal
import sys
import threading
import time

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
import zarr
from bluesky.utils import Msg, RunEngineInterrupted

from parfocal.callbacks import FocusScores
from parfocal.devices import Backend, Microscope
from parfocal.frames import path_of
from parfocal.plans import z_burst, z_stack
from parfocal.session import start_session
from support import CountingSource, Documents, InstantStage, Lamp


@pytest.fixture
def session(data):
    session = start_session(data, analyses=[FocusScores])
    yield session
    if session.RE.state != "idle":
        session.RE.halt()
    session.close()


@pytest.fixture
def bench(session):
    source, stage, lamp = CountingSource((16, 12)), InstantStage(), Lamp()
    microscope = session.use(Microscope(name="microscope", backend=Backend("bench", source, stage, lamp)))
    yield microscope
    microscope.destroy()


@pytest.fixture
def documents(session):
    documents = Documents()
    session.RE.subscribe(documents)
    return documents


def hard_pause_in_event(plan, command, event):
    """Pause at once after a message of the nth event, as somebody who presses Ctrl-C twice does."""
    seen = {"events": 0, "paused": False}

    def then():
        yield Msg("pause", defer=False)

    def pause(msg):
        seen["events"] += msg.command == "trigger"
        if seen["events"] == event and msg.command == command and not seen["paused"]:
            seen["paused"] = True
            return None, then()
        return None, None

    return bpp.plan_mutator(plan, pause)


def check_that_all_agree(session, documents, exit_status):
    """Events = frames = rows; frame n of the catalog is the one that the event speaks of."""
    assert session.drain(30), session.writer.last_error
    (start,), (stop,) = documents.of("start"), documents.of("stop")
    assert stop["exit_status"] == exit_status
    primary = {d["uid"] for d in documents.of("descriptor") if d["name"] == "primary"}
    events = [e for e in documents.of("event") if e["descriptor"] in primary]
    frames = [e["data"]["camera_frame"] for e in events]
    assert frames == list(range(len(events)))
    run = session.catalog.run(start["uid"])
    assert run.metadata["stop"]["exit_status"] == exit_status
    stream = run["primary"]
    rows = stream.read()
    assert rows["camera_frame"].values.tolist() == frames
    assert rows["camera"].shape == (len(events), 16, 12)
    assert np.asarray(stream["seq_num"].read()).tolist() == [e["seq_num"] for e in events]
    (resource,) = documents.of("stream_resource")
    array = zarr.open_array(path_of(resource["uri"]), mode="r")
    np.testing.assert_array_equal(array[:], rows["camera"].values)
    return rows


@pytest.mark.parametrize("where", ["trigger", "wait", "create", "read", "save"])
def test_a_pause_anywhere_in_an_event_loses_and_doubles_nothing(session, bench, documents, where):
    with pytest.raises(RunEngineInterrupted):
        session.RE(hard_pause_in_event(z_stack(bench, 3, 1), where, 4))
    session.RE.resume()
    rows = check_that_all_agree(session, documents, "success")
    planes = rows["point_plane"].values.tolist()
    assert sorted(set(planes)) == list(range(7)), "every plane was taken"
    # a pause right after a save comes before the checkpoint: that plane is taken again, with the same seq_num
    assert len(planes) == (8 if where == "save" else 7)


@pytest.mark.parametrize("where", ["trigger", "wait", "read", "save"])
@pytest.mark.parametrize(("end", "exit_status"), [("abort", "abort"), ("stop", "success")])
def test_a_run_ended_in_the_middle_of_an_event_holds_what_was_saved(
    session, bench, documents, where, end, exit_status
):
    with pytest.raises(RunEngineInterrupted):
        session.RE(hard_pause_in_event(z_stack(bench, 3, 1), where, 4))
    getattr(session.RE, end)()
    rows = check_that_all_agree(session, documents, exit_status)
    assert len(rows["camera_frame"]) == (4 if where == "save" else 3)
    assert not bench.backend.light.is_on
    assert bench.xyz.z.position == 0


def test_halting_leaves_the_run_for_recover_and_the_camera_usable(session, bench, documents):
    with pytest.raises(RunEngineInterrupted):
        session.RE(hard_pause_in_event(z_stack(bench, 3, 1), "trigger", 4))
    session.RE.halt()
    session.RE(z_stack(bench, 1, 1))
    assert [s["exit_status"] for s in documents.of("stop")] == ["abort", "success"]
    assert session.drain(30)
    for start, n_events in zip(documents.of("start"), (3, 3)):
        rows = session.catalog.run(start["uid"])["primary"].read()
        assert rows["camera"].shape[0] == n_events


def test_a_burst_that_is_paused_and_resumed_has_every_frame_once(session, bench, documents):
    bench.backend.camera.at_frame[30] = session.RE.request_pause
    with pytest.raises(RunEngineInterrupted):
        session.RE(z_burst(bench, n_frames=60))
    session.RE.resume()
    assert session.drain(30), session.writer.last_error
    stream = session.catalog.run(documents.of("start")[0]["uid"])["primary"]
    datums = [
        d
        for d in documents.of("stream_datum")
        if d["stream_resource"] == documents.of("stream_resource")[0]["uid"]
    ]
    stop = max(d["indices"]["stop"] for d in datums)
    assert stop >= 60
    for key in ("camera", "camera_z_um", "camera_t_s"):
        assert stream[key].read().shape[0] == stop, key
    # the counting camera never repeats a number: what was thrown away at the pause is not in between
    assert np.all(np.diff(stream["camera"].read()[:, 0, 0].astype(int)) > 0)


def test_pauses_at_random_moments_lose_and_double_nothing(session, bench, documents):
    """Not at a message of our choice: whenever the other thread happens to ask."""
    rng = np.random.default_rng(3)
    session.RE.subscribe(lambda *_: None)

    def ask():
        while session.RE.state != "running":  # a slow start, or a slow way back from a pause
            time.sleep(0.001)
        session.RE.request_pause()

    def ask_later():
        timer = threading.Timer(float(rng.uniform(0.02, 0.1)), ask)
        timer.daemon = True
        timer.start()
        return timer

    timer, n_pauses = ask_later(), 0
    try:
        session.RE(z_stack(bench, 40, 0.2))  # a second: longer than the pauses may wait
    except RunEngineInterrupted:
        n_pauses += 1
    while session.RE.state == "paused":
        timer.join()
        if n_pauses < 4:
            timer = ask_later()
        try:
            session.RE.resume()
        except RunEngineInterrupted:
            n_pauses += 1
    timer.join()
    assert n_pauses == 4
    rows = check_that_all_agree(session, documents, "success")
    assert sorted(set(rows["point_plane"].values.tolist())) == list(range(401))


AT_A_PROMPT = """
import sys
from bluesky.utils import RunEngineInterrupted
from parfocal.devices import Backend, Microscope
from parfocal.plans import z_stack
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

session = start_session(sys.argv[1])
lamp, stage = Lamp(), InstantStage()
microscope = session.use(Microscope(name="microscope", backend=Backend("bench", CountingSource(), stage, lamp)))
session.RE.subscribe(lambda name, doc: print(doc["uid"], flush=True), "start")
session.RE.subscribe(lambda name, doc: print("event\\n", end="", flush=True), "event")
try:
    session.RE(z_stack(microscope, 5000, 1.0))
except RunEngineInterrupted:
    print("state", session.RE.state, lamp.is_on, flush=True)
    session.RE.abort()
print("after", session.RE.state, lamp.is_on, stage.at["z"], session.close(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to another process is POSIX")
def test_ctrl_c_twice_pauses_at_once_and_the_run_can_be_ended(program, data, catalog):
    process = program(data, code=AT_A_PROMPT)
    uid = process.stdout.readline().strip()
    for _ in range(30):
        assert process.stdout.readline() == "event\n"
    process.send_signal(signal.SIGINT)
    threading.Event().wait(0.2)  # the RunEngine counts presses that are 0.1 s apart
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    lines = out.splitlines()
    assert "state paused True" in lines, err
    assert "after idle False 0.0 True" in lines, err
    run = catalog.run(uid)
    assert run.metadata["stop"]["exit_status"] == "abort"
    n_events = 30 + lines.count("event")
    rows = run["primary"].read()
    assert rows["camera"].shape[0] == len(rows["camera_frame"]) == n_events


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to another process is POSIX")
def test_ctrl_c_ends_a_command_and_closes_its_run(program, data, catalog):
    before = set(catalog.runs(plan="time_lapse")["uid"])
    process = program("demo", "--data", data, "--seed", 8, "--no-puncta")
    while not (started := set(catalog.runs(plan="time_lapse")["uid"]) - before):
        assert process.poll() is None, process.stderr.read()
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error: interrupted" in err
    assert "Traceback" not in err
    (uid,) = started
    run = catalog.run(uid)
    assert run.metadata["stop"]["exit_status"] == "abort"
    assert "interrupted" in run.metadata["stop"]["reason"]
    n_events = run.metadata["stop"]["num_events"].get("primary", 0)
    assert n_events < 117
    if n_events:
        rows = run["primary"].read(["camera_frame", "light_on"])
        assert rows["camera_frame"].values.tolist() == list(range(n_events))


def test_two_runs_in_one_run_engine_do_not_mix(session, bench, documents):
    """A nested run with its own camera array: each row finds its own frame."""
    other = Microscope(
        name="other",
        backend=Backend("other", CountingSource((8, 8)), InstantStage(), Lamp()),
        part_prefix="other_",
    )
    session.use(other)

    def nested():
        yield from bps.open_run(md={"purpose": "outer"})
        yield from bps.stage_all(bench.camera)
        for _ in range(2):
            yield from bps.trigger_and_read([bench.camera])
            yield from bpp.set_run_key_wrapper(z_stack(other, 1, 1), "inner")
        yield from bps.unstage_all(bench.camera)
        yield from bps.close_run()

    session.RE(nested())
    assert session.drain(30), session.writer.last_error
    outer, *inner = [start["uid"] for start in documents.of("start")]
    assert session.catalog.run(outer)["primary"].read()["camera"].shape == (2, 16, 12)
    for uid in inner:
        assert session.catalog.run(uid)["primary"].read()["other_camera"].shape == (3, 8, 8)
    other.destroy()
