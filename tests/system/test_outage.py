"""The catalog's server goes away during a run and comes back: the plan goes on, and nothing is missing."""

import threading
import time

import numpy as np
import pytest

from parfocal.callbacks import FocusScores
from parfocal.catalog import CatalogHealth, DataFolder, ensure_server, stop_server
from parfocal.devices import Backend, Microscope
from parfocal.plans import time_lapse
from parfocal.session import start_session
from support import CountingSource, Documents, InstantStage, Lamp


@pytest.fixture
def session(tmp_path):
    folder = DataFolder(tmp_path / "data")
    session = start_session(folder.root, analyses=[FocusScores])
    yield session
    if session.RE.state != "idle":
        session.RE.halt()
    session.close(10)
    stop_server(folder)


@pytest.mark.parametrize("outage_s", [4.0, pytest.param(30.0, marks=[pytest.mark.long, pytest.mark.timeout(240)])])
def test_a_run_goes_on_at_its_pace_while_the_catalog_is_gone(session, outage_s):
    folder, interval_s = session.catalog.folder, 0.1
    microscope = session.use(
        Microscope(name="microscope", backend=Backend("bench", CountingSource((32, 32)), InstantStage(), Lamp()))
    )
    documents = Documents()
    session.RE.subscribe(documents)
    emitted_s, health = [], []
    session.RE.subscribe(lambda name, doc: emitted_s.append(time.monotonic()), "event")
    session.writer.health.subscribe(lambda value, **_: health.append((time.monotonic(), CatalogHealth(value))))

    began = threading.Event()
    session.RE.subscribe(lambda name, doc: doc["seq_num"] == 10 and began.set(), "event")
    asked_s, gone_s = [], []

    def outage():
        began.wait(30)
        asked_s.append(time.monotonic())
        stop_server(folder)
        gone_s.append(time.monotonic())
        threading.Event().wait(outage_s)
        gone_s.append(time.monotonic())
        ensure_server(folder)

    thread = threading.Thread(target=outage)
    thread.start()
    n_times = int((outage_s + 4) / interval_s)
    session.RE(time_lapse(microscope, n_times, interval_s, md={"sample": "outage"}))
    thread.join(60)

    from_s, until_s = gone_s
    gaps_s = np.diff(emitted_s)
    during = [gap for gap, at in zip(gaps_s, emitted_s[1:]) if from_s < at < until_s]
    before = [gap for gap, at in zip(gaps_s, emitted_s[1:]) if at < from_s]
    assert len(during) > outage_s / interval_s / 3, "most of the outage was within the run"
    # not a measure of speed: a plan that waited for the server would stand still for as long as it is gone
    assert max(during) < outage_s / 2
    assert np.median(during) < 3 * np.median(before) + 0.02

    assert session.drain(60), session.writer.last_error
    deadline_s = time.monotonic() + 10
    while session.writer.health.get() != CatalogHealth.OK and time.monotonic() < deadline_s:
        threading.Event().wait(0.05)
    # from when it was asked to stop: the writer may notice before `stop_server` is back
    seen = [value for at, value in health if at > asked_s[0]]
    assert CatalogHealth.DOWN in seen, "the health signal says that the catalog is gone"
    assert seen[-1] == CatalogHealth.OK, "and that it is back"

    assert not list(folder.wal.glob("*.jsonl")), "nothing is left to recover"
    run = session.catalog.run(documents.of("start")[0]["uid"])
    assert run.metadata["stop"]["exit_status"] == "success"
    rows = run["primary"].read()
    assert rows["point_time_point"].values.tolist() == list(range(n_times))
    np.testing.assert_array_equal(rows["camera"][:, 0, 0], np.arange(n_times))
    (analysis,) = session.catalog.analyses_of(run)
    assert analysis["scores"].read()["raw_frame"].values.tolist() == list(range(n_times))
    microscope.destroy()


def test_a_run_that_ends_while_the_catalog_is_gone_waits_in_its_log(session, parfocal):
    folder = session.catalog.folder
    microscope = session.use(
        Microscope(name="microscope", backend=Backend("bench", CountingSource(), InstantStage(), Lamp()))
    )
    stop_server(folder)
    session.RE(time_lapse(microscope, 5, 0.0, md={"sample": "offline"}))
    began_s = time.monotonic()
    assert not session.close(1), "it says that the catalog does not hold everything"
    assert time.monotonic() - began_s < 20
    assert len(list(folder.wal.glob("*.jsonl"))) == 2, "the run and its analysis"
    said = parfocal("recover", "--data", folder.root)
    assert said.code == 0, said.err
    assert said.out.count("recovered: ") == 2
    said = parfocal("runs", "--data", folder.root, "--sample", "offline", "--json")
    assert said.out.count('"exit_status":"success"') == 1
    microscope.destroy()
