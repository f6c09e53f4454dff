"""An analysis in a process of its own has every run once: heard, half heard, missed, or done before it died."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import httpx
import numpy as np
import pytest
from bluesky import RunEngine

from parfocal.callbacks import FocusScores, WantedAnalysis, follow, publisher, replay, tiled_source, zmq_source
from parfocal.catalog import CatalogWriter, open_catalog
from parfocal.devices import simulated_microscope
from parfocal.errors import BadInputError
from parfocal.plans import z_burst, z_stack
from parfocal.session import start_session

SCORES = WantedAnalysis("focus_scores", {"score": "brenner"})
OTHER = WantedAnalysis("focus_scores", {"score": "tenengrad"})


@pytest.fixture(scope="module")
def proxy():
    """Bluesky's own proxy, a process; (where one publishes, where one listens)."""
    with tempfile.TemporaryDirectory() as folder:
        addresses = f"ipc://{folder}/in", f"ipc://{folder}/out"
        command = Path(sys.executable).with_name("bluesky-0MQ-proxy")
        process = subprocess.Popen([command, "--in-address", addresses[0], "--out-address", addresses[1]])
        yield addresses
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def session(served_folder):
    session = start_session(served_folder.root)
    yield session
    session.close()


@pytest.fixture(scope="module")
def microscope(session):
    microscope = simulated_microscope("microscope", sample="beads", height_px=32, width_px=32, realtime=False)
    session.use(microscope)
    yield microscope
    microscope.destroy()


class Wire:
    """Everything that leaves the session over 0MQ; a test says what of it gets lost."""

    def __init__(self, publish):
        self.publish = publish
        self.loses = lambda name, doc: False
        self.n_times = 1

    def __call__(self, name, doc):
        for _ in range(0 if self.loses(name, doc) else self.n_times):
            self.publish(name, doc)


@pytest.fixture
def wire(session, proxy):
    """Stands between the RunEngine and the publisher's socket."""
    sender = publisher(proxy[0])
    wire = Wire(sender)
    token = session.RE.subscribe(wire)
    yield wire
    session.RE.unsubscribe(token)
    sender.close()


class Following:
    """`follow` in a thread, as the command runs it in a process; ends with the `with`."""

    def __init__(self, folder, wanted=(SCORES,), source=None, since_s=None, wait=True, **kwargs):
        self.told, self.said = [], []
        self.until = threading.Event()
        self.since_s = time.time() if since_s is None else since_s
        self.folder, self.wanted, self.source, self.kwargs = folder, wanted, source, kwargs
        self.ready = threading.Event()
        if not wait:
            self.ready.set()
        self.error = None

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        assert self.ready.wait(30)
        return self

    def run(self):
        source = None
        if self.source is not None:

            def source(receive, notice, until, on_ready, say):
                def ready():
                    on_ready()
                    self.ready.set()

                self.source(receive, notice, until, ready, say)

        try:
            with open_catalog(self.folder) as catalog:
                follow(
                    catalog,
                    self.wanted,
                    source,
                    since_s=self.since_s,
                    until=self.until,
                    tell=self.told.append,
                    say=self.said.append,
                    show=(lambda state: self.ready.set()) if source is None else (lambda state: None),
                    **{"poll_s": 0.3, "patience_s": 1.0, **self.kwargs},
                )
        except Exception as error:
            self.error = error
        self.ready.set()

    def __exit__(self, *_):
        self.until.set()
        self.thread.join(60)
        if self.error is not None:
            raise self.error

    def wait_for(self, uid, n=1):
        until(lambda: sum(run.raw_uid == uid for run in self.told) >= n, f"{self.told} {self.said}")
        return [run for run in self.told if run.raw_uid == uid]


def until(condition, why="", timeout_s=60):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain: {why() if callable(why) else why}"
        time.sleep(0.05)


def results(catalog, uid, analysis="focus_scores"):
    """(exit status, mode) of each derived run of a raw run."""
    runs = [run for run in catalog.analyses_of(uid) if run.metadata["start"]["parfocal"]["analysis"] == analysis]
    return [(run.metadata["stop"]["exit_status"], run.metadata["start"]["parfocal"]["mode"]) for run in runs]


def take(session, plan):
    """Run a plan; return the uid of its run, when the catalog has it."""
    (uid,) = session.RE(plan)
    assert session.drain()
    return uid


@pytest.fixture
def heard_of(proxy, wire, served_folder):
    """A follower over 0MQ whose socket has met the publisher's."""

    def begin(**kwargs):
        heard = threading.Event()
        inner = zmq_source(proxy[1])

        def source(receive, notice, until, on_ready, say):
            def hear(name, doc):
                if doc.get("uid") == "probe":
                    heard.set()
                else:
                    receive(name, doc)

            def meet():
                def probe():
                    while not heard.is_set() and not until.is_set():
                        wire.publish("start", {"uid": "probe", "time": 0.0})
                        heard.wait(0.02)
                    on_ready()

                threading.Thread(target=probe).start()

            inner(hear, notice, until, meet, say)

        return Following(served_folder.root, source=source, **kwargs)

    return begin


def test_what_is_heard_is_analysed_as_it_goes_on_and_like_a_replay(session, microscope, heard_of, wire):
    analyses = (SCORES, WantedAnalysis("slice_audit"))
    with heard_of(wanted=analyses) as following:
        wire.n_times = 2  # Kafka may deliver twice
        stack = take(session, z_stack(microscope, 1, 0.5))
        burst = take(session, z_burst(microscope, 1, 0.5))
        told = following.wait_for(stack, 2) + following.wait_for(burst, 2)
    assert {(run.status, run.mode) for run in told} == {("done", "live")}, following.said
    catalog = session.catalog
    for uid in (stack, burst):
        assert results(catalog, uid) == results(catalog, uid, "slice_audit") == [("success", "live")]
        live = catalog.analyses_of(uid)[0]
        analysis = live.metadata["start"]["parfocal"]["analysis"]
        (again,) = replay(
            [uid],
            analysis,
            live.metadata["start"]["parfocal"]["parameters"],
            catalog=catalog,
            if_done="supersede",
        )
        stream = {"focus_scores": "scores", "slice_audit": "looks"}[analysis]
        key = {"focus_scores": "brenner", "slice_audit": "tenengrad"}[analysis]
        replayed = catalog.run(again.derived_uid)
        assert replayed.metadata["start"]["parfocal"]["supersedes"] == live.metadata["start"]["uid"]
        np.testing.assert_array_equal(live[stream][key].read(), replayed[stream][key].read())


LOST = {
    "an event": lambda name, doc: name == "event" and doc["seq_num"] == 3,
    "the descriptor": lambda name, doc: name == "descriptor",
    "the stop": lambda name, doc: name == "stop",
    "the last events": lambda name, doc: name == "event" and doc["seq_num"] > 3,
    "the start": lambda name, doc: name == "start",
}


@pytest.mark.long
def test_a_run_of_which_something_was_lost_is_taken_from_the_catalog_once(session, microscope, heard_of, wire):
    uids = {}
    with heard_of() as following:
        for what, loses in LOST.items():
            wire.loses = loses
            uids[what] = take(session, z_stack(microscope, 1, 0.5))
            wire.loses = lambda name, doc: False
            (told,) = following.wait_for(uids[what])
            assert (told.status, told.mode) == ("done", "replay"), what
        whole = take(session, z_stack(microscope, 1, 0.5))
        assert [run.mode for run in following.wait_for(whole)] == ["live"], "the next is heard again"
    for what, uid in uids.items():
        found = results(session.catalog, uid)
        assert found[-1] == ("success", "replay"), what
        assert found[:-1] in ([], [("abort", "live")]), "what was begun says that it did not come to its end"
        if found[:-1]:
            begun, good = session.catalog.analyses_of(uid)
            assert good.metadata["start"]["parfocal"]["supersedes"] == begun.metadata["start"]["uid"]


def test_who_comes_late_catches_up_and_who_comes_again_repeats_nothing(session, microscope, served_folder):
    since_s = time.time()
    missed = [take(session, z_stack(microscope, 1, 0.5)) for _ in range(2)]
    bare = take(session, bpp.run_wrapper(bps.null()))
    told = []
    once = partial(follow, session.catalog, [SCORES], since_s=since_s, once=True, tell=told.append)
    assert once().n_done == 2
    assert [(run.raw_uid, run.mode) for run in told] == [(uid, "replay") for uid in missed]
    assert once().n_done == 0
    assert results(session.catalog, bare) == []
    assert follow(session.catalog, [OTHER], since_s=since_s, once=True).n_done == 2, "other parameters, other runs"


@pytest.mark.parametrize("how", ["from the catalog", "live"])
def test_a_replay_and_a_follower_that_want_the_same_run_at_once_make_one_result(
    session, microscope, heard_of, how, monkeypatch
):
    slow = threading.Barrier(2)
    look = FocusScores.open

    def open_slowly(self, run):
        with contextlib.suppress(threading.BrokenBarrierError):
            slow.wait(1.0)  # both would be here at once, if both were let
        return look(self, run)

    monkeypatch.setattr(FocusScores, "open", open_slowly)
    catalog = session.catalog
    if how == "live":
        with heard_of() as following:
            uid = take(session, z_stack(microscope, 1, 0.5))
            (replayed,) = replay([uid], SCORES.name, SCORES.parameters, catalog=catalog)
            (told,) = following.wait_for(uid)
        assert (replayed.status, told.mode) == ("skipped", "live")
    else:
        since_s = time.time()
        uid = take(session, z_stack(microscope, 1, 0.5))
        told = []
        with ThreadPoolExecutor(2) as pool:
            a = pool.submit(follow, catalog, [SCORES], since_s=since_s, once=True, tell=told.append)
            b = pool.submit(replay, [uid], SCORES.name, SCORES.parameters, catalog=catalog)
            made = [a.result().n_done, int(b.result()[0].status == "done")]
        assert sorted(made) == [0, 1]
        assert b.result()[0].status in ("done", "skipped")
        assert len(told) == made[0]
    assert [status for status, _ in results(catalog, uid)] == ["success"]
    assert not list((catalog.folder.catalog / "claims").iterdir())


@pytest.mark.long
def test_a_run_that_is_under_way_waits_for_its_end(session, microscope, served_folder):
    since_s = time.time()
    told_once = []

    def stack(following):
        yield from bps.open_run({"parfocal": {"camera": "microscope_camera"}})
        yield from bps.trigger_and_read([microscope.camera, microscope.xyz.z])
        until(lambda: len(session.catalog.runs(since=since_s)) == 1)
        state = follow(session.catalog, [OTHER], since_s=since_s, once=True, tell=told_once.append)
        assert (state.n_done, told_once) == (0, []), "once does not wait"
        yield from bps.sleep(1.0)
        assert following.told == []
        yield from bps.trigger_and_read([microscope.camera, microscope.xyz.z])
        yield from bps.close_run()

    with Following(served_folder.root, since_s=since_s) as following:
        uid = take(session, bpp.stage_wrapper(stack(following), [microscope.camera]))
        (run,) = following.wait_for(uid)
    assert (run.status, run.mode) == ("done", "replay")
    assert results(session.catalog, uid) == [("success", "replay")]


def test_two_processes_do_not_follow_with_the_same(session, served_folder):
    with Following(served_folder.root), pytest.raises(BadInputError, match="another process follows"):
        follow(session.catalog, [SCORES], once=True)
    with pytest.raises(BadInputError, match="twice"):
        follow(session.catalog, [SCORES, SCORES], once=True)


@pytest.mark.long
def test_a_server_without_a_stream_is_asked_instead(session, microscope, served_folder):
    with Following(served_folder.root, source=tiled_source(session.catalog), wait=False) as following:
        until(lambda: following.said, "nothing was said")
        uid = take(session, z_stack(microscope, 1, 0.5))
        (run,) = following.wait_for(uid)
    assert run.status == "done"
    assert "has no stream; the catalog is asked every" in following.said[0]


@pytest.fixture
def streaming(tmp_path):
    """A real Tiled server that streams, in a process of its own: its address, and the folder that it may read."""
    frames, port = tmp_path / "data" / "frames", free_port()
    frames.mkdir(parents=True)
    (tmp_path / "tiled.yml").write_text(
        f"""
        authentication: {{single_user_api_key: secret}}
        streaming_cache: {{uri: memory}}
        media_types: {{BlueskyRun: {{application/json-seq: "bluesky_tiled_plugins.exporters:json_seq_exporter"}}}}
        trees:
          - path: /
            tree: catalog
            args:
              uri: sqlite:///{tmp_path}/catalog.db
              writable_storage: [{tmp_path}/arrays, "duckdb:///{tmp_path}/tables.duckdb"]
              readable_storage: [{frames}]
              init_if_not_exists: true
        """
    )
    tiled = Path(sys.executable).with_name("tiled")
    command = [tiled, "serve", "config", str(tmp_path / "tiled.yml"), "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    uri = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, (tmp_path / "log").read_text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{uri}/api/v1/").is_success

    until(answers, lambda: (tmp_path / "log").read_text(), timeout_s=150)
    yield uri, tmp_path / "data"
    process.kill()
    process.wait()


@pytest.mark.long
def test_the_stream_of_a_site_gives_word_of_runs(streaming, microscope):
    uri, folder = streaming
    with open_catalog(folder, uri=uri, api_key="secret") as catalog:
        engine = RunEngine({})
        writer = CatalogWriter(catalog)
        engine.subscribe(writer)
        own = microscope.camera.frames_root
        microscope.camera.frames_root = catalog.folder.frames
        stop, told, said, ready = threading.Event(), [], [], threading.Event()

        def source(receive, notice, until, on_ready, say):
            tiled_source(catalog)(receive, notice, until, lambda: (on_ready(), ready.set()), say)

        def run():
            # A minute between two looks at the catalog: what comes sooner came by the stream.
            follow(
                catalog, [SCORES], source, until=stop, tell=told.append, say=said.append, poll_s=6.0, since_s=0.0
            )

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(100), said
            time.sleep(1.0)
            (uid,) = engine(z_stack(microscope, 1, 0.5))
            until(lambda: told, lambda: said)
        finally:
            microscope.camera.frames_root = own
            stop.set()
            thread.join(60)
            writer.close()
        assert [(run.raw_uid, run.status, run.mode) for run in told] == [(uid, "done", "replay")]
        assert said == []
        assert told[0].behind_s < 5.0


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
