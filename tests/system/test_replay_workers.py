"""Many runs on two processes of a Dask cluster, by its address; one is killed with a result half written."""

import json
import os
import signal
import threading
import time
from collections import Counter

import numpy as np
import pytest

from parfocal.callbacks import replay
from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.catalog._log import read_header, read_log
from parfocal.devices import Backend, Microscope
from parfocal.plans import z_stack
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

distributed = pytest.importorskip("distributed", reason="Dask is not installed: parfocal[dask]")

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
N_RUNS, N_PLANES = 8, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight stacks of one sample, and one of another."""
    folder = DataFolder(tmp_path_factory.mktemp("many") / "data")
    session = start_session(folder.root)
    microscope = Microscope(name="microscope", backend=Backend("bench", CountingSource(), InstantStage(), Lamp()))
    session.use(microscope)
    for n in range(N_RUNS + 1):
        sample = {"name": "many", "n": n} if n < N_RUNS else "other"
        session.RE(z_stack(microscope, (N_PLANES - 1) / 2, 1.0, md={"sample": sample}))
    assert session.drain(60)
    microscope.destroy()
    session.close()
    yield folder
    stop_server(folder)


@pytest.fixture(scope="module")
def scheduler():
    """The address of two workers, each a process that shares nothing with this one but the disk."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def kill_in_the_midst_of_a_result(folder, killed):
    """Kill the first worker whose log of a derived run has rows and no end."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and not killed:
        for path in folder.wal.glob("*.jsonl"):
            try:
                names = [entry.name for entry in read_log(path)]
                header = read_header(path)
            except FileNotFoundError:  # that one is in the catalog
                continue
            if "event" in names and "stop" not in names and header.pid != os.getpid():
                os.kill(header.pid, signal.SIGKILL)
                killed.append(path.stem)
                return
        time.sleep(0.001)


def test_a_worker_that_is_killed_loses_no_run_and_doubles_none(folder, scheduler):
    killed, came = [], []
    killer = threading.Thread(target=kill_in_the_midst_of_a_result, args=(folder, killed))
    with open_catalog(folder) as catalog:
        uids = list(catalog.runs(where=["sample.name=many", "sample.n>=0"])["uid"])
        assert len(uids) == N_RUNS
        killer.start()
        done = replay(uids, "focus_scores", catalog=catalog, scheduler=scheduler, on_result=came.append)
        killer.join()
        assert killed, "no worker was caught in the midst of a result"
        assert [one.uid for one in done] == uids
        assert {one.status for one in done} == {"done"}, [one.reason for one in done]
        assert sorted(one.uid for one in came) == sorted(uids)

        starts = [run.metadata["start"] for run in catalog.analysis.values()]
        ends = {run.metadata["start"]["uid"]: run.metadata["stop"] for run in catalog.analysis.values()}
        good = [one for one in starts if ends[one["uid"]]["exit_status"] == "success"]
        assert Counter(one["parfocal"]["raw"]["uid"] for one in good) == dict.fromkeys(uids, 1)
        assert {one["uid"] for one in good} == {one.derived_uid for one in done}
        for one in good:
            rows = catalog.run(one["uid"])["scores"]["raw_frame"].read()
            np.testing.assert_array_equal(rows, np.arange(N_PLANES))

        (half,) = killed
        assert ends[half]["exit_status"] == "abort"
        assert [one["uid"] for one in good if one["parfocal"].get("supersedes") == half]
        assert not list(folder.wal.glob("*.jsonl")), "nothing is left to recover"
        again = replay(uids, "focus_scores", catalog=catalog, scheduler=scheduler)
        assert {one.status for one in again} == {"skipped"}


def test_the_command_asks_by_any_key_and_says_what_became_of_each(folder, scheduler, parfocal):
    asked = ["replay", "--data", folder.root, "--scheduler", scheduler, "--analysis", "focus_scores"]
    said = parfocal(
        *asked, "-p", "score=brenner", "--where", "sample.n<3", "--where", "sample.name=many", "--json"
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert [one["status"] for one in told] == ["done"] * 3
    plain = parfocal(*asked, "-p", "score=brenner", "--where", "sample.n<=3")
    assert plain.out.splitlines()[-1] in ("3 skipped, 1 done", "1 done, 3 skipped")


def test_a_scheduler_that_does_not_answer_is_said_in_a_line(folder, parfocal):
    said = parfocal("replay", "--data", folder.root, "--scheduler", "tcp://127.0.0.1:9", "--where", "sample.n=0")
    assert said.code == 2
    assert "no scheduler answers there" in said.complaint
