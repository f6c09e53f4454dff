"""Whatever an analysis does, the plan goes on, the derived run says what happened, and the next one is begun."""

import threading

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from ophyd.sim import det

from parfocal.callbacks import Analysis
from parfocal.devices import BurstSettings
from parfocal.frames import Frames
from support import Documents


class Means(Analysis):
    """A row a frame, and their number at the end; `fault` names where it raises."""

    name, version = "means", "1"
    columns = {  # noqa: RUF012
        "rows": {"mean": {"dtype": "number", "shape": []}},
        "summary": {"n": {"dtype": "integer", "shape": []}},
    }

    def __init__(self, fault="", gate=None, **kwargs):
        self.fault, self.gate = fault, gate
        super().__init__(**kwargs)

    def open(self, run):
        if self.fault == "open":
            raise RuntimeError("no calibration")
        self.n = 0
        return self

    def frame(self, frame):
        if self.gate is not None:
            self.gate.wait(10)
        self.n += 1
        if self.fault == "frame" and self.n == 2:
            raise ValueError("two is too many\nby one")
        if self.fault == "column" and self.n == 2:
            yield "unknown", {"mean": 0.0}
        yield "rows", {"mean": float(frame.pixels.mean())}

    def finish(self):
        if self.fault == "finish":
            raise ZeroDivisionError("nothing to divide by")
        yield "summary", {"n": self.n}

    @property
    def verdict(self):
        if self.fault == "verdict":
            raise LookupError("no such word")
        return "good"


@pytest.fixture
def derived():
    return Documents()


@pytest.fixture
def analysis_of(RE, camera, derived):
    """Subscribe an analysis that sees the camera's memory, and close it afterwards."""
    made = []

    def make(**kwargs):
        analysis = Means(frames=Frames(camera.ring), emit=derived, **kwargs)
        RE.subscribe(analysis)
        made.append(analysis)
        return analysis

    yield make
    for analysis in made:
        analysis.close()


def burst(camera, n):
    @bpp.stage_decorator([camera])
    @bpp.run_decorator()
    def inner():
        yield from bps.declare_stream(camera.burst, name="primary", collect=True)
        yield from bps.prepare(camera.burst, BurstSettings(n), wait=True)
        yield from bps.kickoff(camera.burst, wait=True)
        yield from bps.collect_while_completing([camera.burst], [camera.burst], stream_name="primary")

    return inner()


def test_rows_carry_the_frame_and_event_they_come_from(RE, camera, analysis_of, derived):
    analysis = analysis_of()
    (uid,) = RE(bp.count([camera], num=3, md={"sample": "slide 7"})).run_start_uids
    assert analysis.drain(5)
    (start,), (stop,) = derived.of("start"), derived.of("stop")
    assert start["parfocal"]["raw"] == {"uid": uid, "stream": "primary", "data_key": "camera"}
    assert (start["parfocal"]["analysis"], start["parfocal"]["mode"], start["sample"]) == (
        "means",
        "live",
        "slide 7",
    )
    rows = [event["data"] for event in derived.of("event")]
    assert rows[:3] == [{"mean": float(i), "raw_seq_num": i + 1, "raw_frame": i} for i in range(3)]
    assert rows[3] == {"n": 3}
    assert stop["num_events"] == {"rows": 3, "summary": 1}
    assert stop["parfocal"] == {"verdict": "good"}


def test_rows_of_a_burst_carry_its_frames(RE, camera, analysis_of, derived):
    analysis = analysis_of()
    RE(burst(camera, 50))
    assert analysis.drain(5)
    assert [event["data"]["raw_frame"] for event in derived.of("event")[:-1]] == list(range(50))


@pytest.mark.parametrize(
    ("fault", "reason", "n_rows"),
    [
        ("open", "RuntimeError: no calibration", 0),
        ("frame", "ValueError: two is too many", 1),
        ("column", "KeyError: 'unknown'", 1),
        ("finish", "ZeroDivisionError: nothing to divide by", 4),
        ("verdict", "LookupError: no such word", 4),
    ],
)
def test_an_exception_ends_the_derived_run_and_nothing_else(
    RE, camera, analysis_of, derived, documents, fault, reason, n_rows
):
    analysis = analysis_of(fault=fault)
    RE(bp.count([camera], num=4))
    assert analysis.drain(5)
    assert documents.of("stop")[0]["exit_status"] == "success", "the plan has not noticed"
    (stop,) = derived.of("stop")
    assert (stop["exit_status"], stop["reason"]) == ("fail", reason)
    assert stop["num_events"].get("rows", 0) == n_rows
    analysis.fault = ""
    RE(bp.count([camera], num=2))
    assert analysis.drain(5)
    assert derived.of("stop")[-1]["exit_status"] == "success", "the next run is analysed"


def test_a_listener_that_raises_does_not_end_the_analysis(RE, camera, analysis_of, derived):
    analysis = analysis_of()

    def clumsy(name, doc):
        if name == "stop":
            raise OSError("the window is closed")

    analysis.subscribe(clumsy)
    for _ in range(2):
        RE(bp.count([camera], num=2))
    assert analysis.drain(5), "the worker still works"
    assert len(derived.of("stop")) == 2


def in_pieces(documents, size):
    """Return a burst's documents as a slower camera gives them: a datum for every few frames."""
    for name, doc in documents:
        if name != "stream_datum":
            yield name, doc
            continue
        for start in range(doc["indices"]["start"], doc["indices"]["stop"], size):
            yield name, {**doc, "indices": {"start": start, "stop": start + size}}


@pytest.mark.parametrize("kind", ["events", "frames"])
def test_what_finds_the_queue_full_is_counted_and_said(RE, camera, analysis_of, derived, documents, kind):
    RE(bp.count([camera], num=20) if kind == "events" else burst(camera, 400))
    gate = threading.Event()
    analysis = analysis_of(gate=gate, queue_size=2)
    for name, doc in documents.all if kind == "events" else in_pieces(documents.all, 20):
        analysis(name, doc)  # returns at once, though the science stands still
    gate.set()
    assert analysis.drain(10)
    (stop,) = derived.of("stop")
    assert stop["exit_status"] == "fail"
    number, what = stop["reason"].split()[:2]
    assert what == kind
    assert int(number) > 0
    assert stop["num_events"].get("rows", 0) + int(number) == (20 if kind == "events" else 400)
    assert stop["reason"].endswith("replay the run to have them")


def test_a_sender_that_may_wait_loses_nothing(RE, camera, analysis_of, derived, documents):
    RE(bp.count([camera], num=20))
    analysis = analysis_of(queue_size=2, overflow="wait")
    for name, doc in documents.all:
        analysis(name, doc)
    assert analysis.drain(10)
    assert derived.of("stop")[0]["num_events"] == {"rows": 20, "summary": 1}


def test_a_run_without_images_has_no_analysis(RE, analysis_of, derived):
    analysis = analysis_of()
    RE(bp.count([det], num=3))
    assert analysis.drain(5)
    assert not derived.all


def test_an_analysis_of_an_analysis_is_not_begun(RE, camera, analysis_of, derived):
    analysis = analysis_of()
    RE(bp.count([camera], num=1))
    assert analysis.drain(5)
    n_documents = len(derived.all)
    for name, doc in list(derived.all):
        analysis(name, doc)
    assert analysis.drain(5)
    assert len(derived.all) == n_documents
