"""An analysis in a process of its own has every run once: heard, half heard, missed, or done before it died."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest

from parfocal.callbacks import WantedAnalysis, follow, replay, zmq_source
from parfocal.catalog import open_catalog
from parfocal.devices import simulated_microscope
from parfocal.plans import z_burst, z_stack
from parfocal.session import start_session

SCORES = WantedAnalysis("focus_scores", {"score": "brenner"})
ROOT = Path(__file__).parents[2]


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
def session(served_folder, proxy):
    session = start_session(served_folder.root, publish=proxy[0])
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

    def __call__(self, name, doc):
        if not self.loses(name, doc):
            self.publish(name, doc)


@pytest.fixture
def wire(session):
    """Stands between the RunEngine and the publisher's socket."""
    wire = Wire(session.publisher)
    token = session.RE.subscribe(wire)
    yield wire
    session.RE.unsubscribe(token)


class Following:
    """`follow` in a thread, as the command runs it in a process; ends with the `with`."""

    def __init__(self, folder, wanted=(SCORES,), source=None, since_s=None, **kwargs):
        self.told, self.said = [], []
        self.until = threading.Event()
        self.since_s = time.time() if since_s is None else since_s
        self.folder, self.wanted, self.source, self.kwargs = folder, wanted, source, kwargs
        self.ready = threading.Event()
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


def joined(wire, following):
    """Wait until what is published is heard: sockets that have just met lose what is sent first."""
    heard = threading.Event()
    original = following

    end_s = time.monotonic() + 10
    while not heard.is_set() and time.monotonic() < end_s:
        wire.publish("start", {"uid": "probe", "time": 0.0, "parfocal": {"raw": {}}})
        heard.wait(0.05)
        if original:
            break


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


def test_what_is_heard_is_analysed_as_it_goes_on_and_like_a_replay(session, microscope, heard_of):
    analyses = (SCORES, WantedAnalysis("slice_audit"))
    with heard_of(wanted=analyses) as following:
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
        key = {"focus_scores": "score", "slice_audit": "tenengrad"}[analysis]
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


@pytest.mark.parametrize("what", LOST)
def test_a_run_of_which_something_was_lost_is_taken_from_the_catalog_once(
    session, microscope, heard_of, wire, what
):
    with heard_of() as following:
        wire.loses = LOST[what]
        uid = take(session, z_stack(microscope, 1, 0.5))
        wire.loses = lambda name, doc: False
        (told,) = following.wait_for(uid)
        whole = take(session, z_stack(microscope, 1, 0.5))
        assert [run.mode for run in following.wait_for(whole)] == ["live"], "the next is heard again"
    assert (told.status, told.mode) == ("done", "replay")
    found = results(session.catalog, uid)
    assert found[-1] == ("success", "replay")
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
    other = WantedAnalysis("focus_scores", {"score": "tenengrad"})
    assert follow(session.catalog, [other], since_s=since_s, once=True).n_done == 2, "other parameters, other runs"


def test_a_run_that_is_under_way_waits_for_its_end(session, microscope, served_folder):
    began, go_on = threading.Event(), threading.Event()

    def stack():
        yield from bps.open_run({"parfocal": {"camera": "microscope_camera"}})
        yield from bps.trigger_and_read([microscope.camera, microscope.xyz.z])
        began.set()
        while not go_on.is_set():
            yield from bps.sleep(0.05)
        yield from bps.trigger_and_read([microscope.camera, microscope.xyz.z])
        yield from bps.close_run()

    uids = []
    thread = threading.Thread(
        target=lambda: uids.extend(session.RE(bpp.stage_wrapper(stack(), [microscope.camera])))
    )
    since_s = time.time()
    thread.start()
    assert began.wait(20)
    try:
        until(lambda: len(session.catalog.runs(since=since_s)) == 1)
        told = []
        state = follow(session.catalog, [SCORES], since_s=since_s, once=True, tell=told.append)
        assert (state.n_done, told) == (0, []), "once does not wait"
        with Following(served_folder.root, since_s=since_s) as following:
            time.sleep(0.5)
            assert following.told == []
            go_on.set()
            thread.join(30)
            (run,) = following.wait_for(uids[0])
    finally:
        go_on.set()
        thread.join(30)
    assert (run.status, run.mode) == ("done", "replay")
    assert results(session.catalog, uids[0]) == [("success", "replay")]
