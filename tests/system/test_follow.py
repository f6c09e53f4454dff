"""`parfocal analyze --follow` beside a microscope in another process, killed twice: each run has one result."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from parfocal.catalog import open_catalog

N_RUNS, N_PLANES = 6, 40

ACQUIRE = """
import sys, time
from parfocal.devices import Backend, Microscope
from parfocal.plans import z_stack
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

class SlowSource(CountingSource):
    def snap(self, timeout_s):
        time.sleep(0.05)
        return super().snap(timeout_s)

session = start_session(sys.argv[1], publish=sys.argv[2])
microscope = Microscope(name="microscope", backend=Backend("bench", SlowSource((64, 64)), InstantStage(), Lamp()))
session.use(microscope)
for n in range(int(sys.argv[3])):
    print(session.RE(z_stack(microscope, float(sys.argv[4]) / 2 - 0.5, 1.0))[0], flush=True)
assert session.close(120)
"""


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


def results(folder, uids):
    """By raw run and analysis: how many derived runs ended how."""
    with open_catalog(folder) as catalog:
        return {
            (uid, analysis): Counter(
                (run.metadata.get("stop") or {}).get("exit_status", "open")
                for run in catalog.analyses_of(uid)
                if run.metadata["start"]["parfocal"]["analysis"] == analysis
            )
            for uid in uids
            for analysis in ("focus_scores", "slice_audit")
        }


@pytest.mark.long
def test_killed_and_begun_again_it_neither_repeats_nor_skips_a_run(program, command, data, proxy):
    asked = ["analyze", "--follow", "--analysis", "focus_scores", "--analysis", "slice_audit", "--json"]
    asked += ["-p", "slice_audit.tile_px=32", "--data", data, "--from", proxy[1]]
    acquiring = program(data, proxy[0], N_RUNS, N_PLANES, code=ACQUIRE)
    told = []
    for n_before_kill in (1, 2):
        follower = program(*asked)
        for _ in range(n_before_kill):
            line = follower.stdout.readline()
            assert line, follower.stderr.read()
            told.append(json.loads(line))
        time.sleep(0.7)  # in the midst of the next
        follower.send_signal(signal.SIGKILL)
        rest, _ = follower.communicate(timeout=10)
        told += [json.loads(line) for line in rest.splitlines() if line.endswith("}")]
    follower = program(*asked)
    out, err = acquiring.communicate(timeout=300)
    assert acquiring.returncode == 0, err
    uids = out.split()
    assert len(uids) == N_RUNS
    end_s = time.monotonic() + 240
    while any(found["success"] < 1 for found in results(data, uids).values()):
        assert time.monotonic() < end_s, results(data, uids)
        time.sleep(2)
    follower.send_signal(signal.SIGINT)
    rest, said = follower.communicate(timeout=120)
    assert follower.returncode == 0, said
    told += [json.loads(line) for line in rest.splitlines()]

    again = command("analyze", "--once", *asked[2:-2])
    assert (again.code, again.out) == (0, ""), "nothing is owed"
    for which, found in results(data, uids).items():
        assert found["success"] == 1, f"{which}: {found}"
        assert set(found) <= {"success", "abort"}
    assert {run["status"] for run in told} == {"done"}
    lines = Counter((run["raw_uid"], run["analysis"]) for run in told)
    assert set(lines.values()) == {1}, "a result is told once"
    assert {run["mode"] for run in told} == {"live", "replay"}
