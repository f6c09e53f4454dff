"""`parfocal queue watch`: over documents that a session publishes, and beside the real RE Manager."""

import contextlib
import json
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("bluesky_queueserver_api", reason="extra `queue` is not installed")

from parfocal.callbacks import FocusScores
from parfocal.catalog import DataFolder, stop_server
from parfocal.devices import Backend, Microscope
from parfocal.plans import z_stack
from parfocal.queue import NightWatch, connect, start_queue, stop_queue
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp


@pytest.fixture
def proxy():
    """Bluesky's own proxy, a process; (where one publishes, where one listens)."""
    with tempfile.TemporaryDirectory() as folder:  # names of sockets are short, pytest's folders are not
        addresses = f"ipc://{folder}/in", f"ipc://{folder}/out"
        command = Path(sys.executable).with_name("bluesky-0MQ-proxy")
        process = subprocess.Popen([command, "--in-address", addresses[0], "--out-address", addresses[1]])
        yield addresses
        process.kill()
        process.wait()


@pytest.fixture
def prompt(data, proxy):
    """A session as at a prompt, that publishes; what it images with stands by at `gate`."""
    session = start_session(data, analyses=[FocusScores], publish=proxy[0], in_thread=True)
    source = CountingSource((16, 12))
    microscope = Microscope(name="microscope", backend=Backend("bench", source, InstantStage(), Lamp()))
    session.use(microscope)
    microscope.camera.timeout_s = 120  # a process of its own takes its time to start
    yield session, microscope, source
    session.close()
    microscope.destroy()


def eventually(look, is_so, timeout_s=30.0):
    """Return what a look gives once it is so."""
    until_s, pause = time.monotonic() + timeout_s, threading.Event()
    while not is_so(seen := look()):
        assert time.monotonic() < until_s, seen
        pause.wait(0.05)
    return seen


def lines_of(process):
    """Return a function that gives the next line that a process prints, as JSON."""
    lines = queue.Queue()
    thread = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True)
    thread.start()
    return lambda: json.loads(lines.get(timeout=30))


@pytest.mark.long  # after other tests its process outlived Ctrl-C by 20 s, not each time: not understood
def test_a_line_of_json_comes_at_each_change_and_ctrl_c_ends_it_cleanly(prompt, proxy, data, program):
    session, microscope, source = prompt
    source.at_frame[3] = source.gate.clear  # the fifth frame waits
    plan = threading.Thread(target=session.RE, args=(z_stack(microscope, 4, 1, md={"sample": "embryo 7"}),))
    with NightWatch(DataFolder(data), proxy[1], with_queue=False) as watch:
        plan.start()
        waiting = eventually(lambda: watch.view.run, lambda run: run is not None and run.n_done == 4)
        assert (waiting.sample, waiting.n_expected) == ("embryo 7", 9)
        # One who comes in the middle reads in the run's log what was before.
        process = program("queue", "watch", "--data", data, "--documents", proxy[1], "--json")
        next_line = lines_of(process)
        line = next_line()
        assert (line["run"]["n_done"], line["run"]["plan_name"], line["run"]["is_running"]) == (4, "z_stack", True)
        assert line["catalog"]["state"] == "ok"
        assert line["queue"] is None
        source.gate.set()
        while line["run"]["is_running"] or not line["analyses"]["focus_scores"]["n_ended"]:
            line = next_line()
        assert (line["run"]["n_done"], line["run"]["exit_status"]) == (9, "success")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read().strip() == "error: interrupted"
        eventually(lambda: watch.view, lambda view: view.n_runs == 1 and view.n_frames == 9)
    plan.join(5)


def test_a_command_has_ended_soon_after_its_last_word(command):
    looks_last = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()))"  # first in, last out
    said = command(code=f"{looks_last}; from parfocal.cli import main; main(['--version'])")
    assert int(said.out.split()[-1]) > 1000, "Python collects cycles among all modules before it ends"


def test_a_snapshot_is_drawn_and_says_where_there_is_no_queue(parfocal, tmp_path):
    data = tmp_path / "never used"  # another test's folder may hold logs of a run that was cut off
    said = parfocal("queue", "watch", "--data", data, "--once")
    assert said.code == 0
    assert "no queue runs" in said.out
    assert "parfocal queue start" in said.out.replace("\n", " ").replace("│", "")
    plain = json.loads(parfocal("queue", "watch", "--data", data, "--once", "--json").out)
    assert plain["run"] is None
    assert plain["queue"]["away"]


# -- beside the real queue -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with a running queue: real Redis, real RE Manager, real worker."""
    folder = DataFolder(tmp_path_factory.mktemp("night"))
    start_queue(folder, policy=None)  # nobody else decides what is done about a failure
    yield folder
    stop_queue(folder, now=True)
    with contextlib.suppress(Exception):
        stop_server(folder)


def add(client, name, *args, **kwargs):
    reply = client.item_add({"item_type": "plan", "name": name, "args": ["microscope", *args], "kwargs": kwargs})
    assert reply["success"], reply


@pytest.mark.long
def test_a_night_is_seen_as_it_goes_its_worker_dies_and_its_queue_comes_back(folder, program):
    from parfocal.queue import running_queue

    info = running_queue(folder)
    with NightWatch(folder) as watch, connect(info) as client:
        assert watch.settle().queue.has_worker
        add(client, "inject_fault", "stage_stall", after_frames=3)
        add(client, "z_stack", 2, 1)
        client.queue_start()
        failed = eventually(lambda: watch.view, lambda view: view.n_failed == 1, 60)
        assert [fault.kind for fault in failed.faults] == ["injected", "run_failed"]
        assert re.match("stage_z stalled at", failed.faults[1].what)

        client.wait_for_idle(timeout=30)
        client.queue_clear()
        add(client, "time_lapse", 2000, 0.2, 1, 1, md={"sample": "embryo 7"})
        client.queue_start()
        running = eventually(
            lambda: watch.view, lambda view: view.run.plan_name == "time_lapse" and view.run.n_done > 5, 60
        )
        assert running.run.sample == "embryo 7"
        # The manager has begun with an item a moment before its engine has.
        eventually(lambda: watch.view.queue, lambda queue: queue.running and queue.engine == "running")
        assert watch.view.queue.running == "time_lapse"

        # Of a manager's two children the worker is the one that came last.
        worker = max(psutil.Process(info.manager_pid).children(), key=lambda process: process.create_time())
        worker.kill()
        client.environment_destroy()
        gone = eventually(lambda: watch.view, lambda view: view.run.exit_status == "cut off", 60)
        assert "cut off: its worker is gone" in [fault.what for fault in gone.faults]

    with NightWatch(folder) as watch:
        stop_queue(folder)
        eventually(lambda: watch.view.queue, lambda queue: "parfocal queue start" in (queue.away if queue else ""))
        start_queue(folder, policy=None)
        eventually(lambda: watch.view.queue, lambda queue: not queue.away and queue.has_worker, 60)
        with connect(running_queue(folder)) as client:
            client.queue_clear()
            add(client, "positions", [[0, 0]])
            client.queue_start()
        # Before, it shows the time-lapse, which nobody has closed.
        back = eventually(
            lambda: watch.view.run,
            lambda run: run is not None and run.plan_name == "positions" and not run.is_running,
            60,
        )
        assert back.exit_status == "success"
