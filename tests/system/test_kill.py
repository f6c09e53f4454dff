"""The process dies in the middle of a run, without a word: what had happened is in the catalog after `recover`."""

import json
import signal
import time

import numpy as np
import pytest
import zarr

from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.frames import path_of

# Says on stdout which events it has emitted, so that the test knows what must survive.
ACQUIRE = """
import sys, time
from parfocal.devices import Backend, Microscope
from parfocal.plans import z_burst, z_stack
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

class SlowSource(CountingSource):
    def snap(self, timeout_s):
        time.sleep(0.004)
        return super().snap(timeout_s)

def say(name, doc):
    if name == "start":
        print(doc["uid"], flush=True)
    elif name == "event":
        print("event", doc["seq_num"], doc["data"]["camera_frame"], flush=True)
    elif name == "stream_datum" and "burst" in sys.argv:
        print("event", doc["indices"]["stop"], doc["indices"]["stop"], flush=True)

session = start_session(sys.argv[1])
microscope = Microscope(name="microscope", backend=Backend("bench", SlowSource((64, 64)), InstantStage(), Lamp()))
session.use(microscope)
session.RE.subscribe(say)
if "burst" in sys.argv:
    session.RE(z_burst(microscope, n_frames=2000, md={"sample": "killed"}))
else:
    session.RE(z_stack(microscope, 99.5, 1.0, md={"sample": "killed"}))
"""


@pytest.fixture
def own_folder(tmp_path):
    """A data folder whose server the test may stop."""
    folder = DataFolder(tmp_path / "data")
    yield folder.root
    stop_server(folder)


def kill_after(process, n_events):
    """Read what the process says until `n_events` were emitted, kill it -9; return uid and what it said."""
    uid = process.stdout.readline().strip()
    said = []
    while len(said) < n_events:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said.append(tuple(int(word) for word in line.split()[1:]))
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=10)
    whole_lines = rest[: rest.rfind("\n") + 1].splitlines()
    return uid, said + [tuple(int(word) for word in line.split()[1:]) for line in whole_lines]


def recover(parfocal, folder, uid):
    """`parfocal recover --json`, and what it says of one run."""
    said = parfocal("recover", "--data", folder, "--json")
    assert said.code == 0, said.err
    return {run["uid"]: run for run in json.loads(said.out)}.get(uid)


@pytest.mark.parametrize("server", [pytest.param("alive", marks=pytest.mark.long), "gone too"])
def test_every_event_and_frame_before_a_kill_is_in_the_catalog(request, program, parfocal, server):
    folder = request.getfixturevalue("data" if server == "alive" else "own_folder")
    uid, said = kill_after(program(folder, code=ACQUIRE), 90)
    assert len(said) < 200, "the run was over before the kill"
    if server == "gone too":
        stop_server(folder)

    one = recover(parfocal, folder, uid)
    assert (one["outcome"], one["exit_status"]) == ("written", "abort")
    assert len(said) <= one["n_events"] <= len(said) + 1, "an event may have been emitted but not printed"

    with open_catalog(folder) as catalog:
        run = catalog.run(uid)
        stop = run.metadata["stop"]
        assert stop["exit_status"] == "abort"
        assert "process ended before the run did" in stop["reason"]
        events = run["primary"].read()
        n_events = one["n_events"]
        assert np.asarray(run["primary"]["seq_num"].read()).tolist() == list(range(1, n_events + 1))
        assert events["camera_frame"].values.tolist()[: len(said)] == [frame for _, frame in said]
        assert events["stage_z"].values.tolist() == [-99.5 + i for i in range(n_events)]
        # frame n is filled with n
        np.testing.assert_array_equal(events["camera"][:, 0, 0], np.arange(n_events))
        table = catalog.runs(uid=uid, sample="killed")
        assert (table["exit_status"].tolist(), table["n_events"].tolist()) == (["abort"], [n_events])
        (uri,) = [doc["uri"] for name, doc in catalog.documents(run) if name == "stream_resource"]

        # On disk: what events speak of, and the one exposure that had no event yet; nothing preallocated is left.
        array = zarr.open_array(path_of(uri), mode="r")
        assert array.shape[0] == n_events + one["n_frames_without_event"]
        assert one["n_frames_without_event"] <= 1
        assert array[:, 0, 0].tolist() == list(range(array.shape[0]))

        assert recover(parfocal, folder, uid) is None, "the second time there is nothing to do"
        assert catalog.runs(uid=uid)["n_events"].tolist() == [n_events]


def test_the_frames_of_a_burst_before_a_kill_are_in_the_catalog(program, parfocal, data, catalog):
    uid, said = kill_after(program(data, "burst", code=ACQUIRE), 9)
    one = recover(parfocal, data, uid)
    assert one["exit_status"] == "abort"
    n_announced = min(said[-3:])[0]
    stream = catalog.run(uid)["primary"]
    pixels = stream["camera"].read()
    assert n_announced <= len(pixels) < 2000
    np.testing.assert_array_equal(pixels[:, 0, 0], np.arange(len(pixels)))
    t_s = np.asarray(stream["camera_t_s"].read())
    assert len(t_s) >= n_announced
    assert np.all(np.diff(t_s[:n_announced].ravel()) > 0)


def test_a_run_that_is_still_going_is_left_alone(program, parfocal, data, catalog):
    process = program(data, code=ACQUIRE)
    uid = process.stdout.readline().strip()
    process.stdout.readline()
    assert recover(parfocal, data, uid)["outcome"] == "running"
    assert process.poll() is None
    process.communicate(timeout=60)  # it ends without waiting for the catalog
    deadline_s = time.monotonic() + 60
    while catalog.runs(uid=uid)["exit_status"].tolist() != ["success"]:
        recover(parfocal, data, uid)
        assert time.monotonic() < deadline_s
    assert catalog.runs(uid=uid)["n_events"].tolist() == [200]
