"""The queue as people run it: Redis, RE Manager, worker, proxy and Tiled server, each a process of its own."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from parfocal.catalog import DataFolder, open_catalog, stop_server

pytest.importorskip("bluesky_queueserver_api", reason="extra `queue` is not installed")
if sys.platform == "win32":
    pytest.skip("no Redis of its own on Windows", allow_module_level=True)

from parfocal.callbacks import listen
from parfocal.queue import connect, end_running_plan, find_queue, new_profile, start_queue, stop_queue, wait_until
from parfocal.queue._place import read_place, sockets_folder
from parfocal.queue._processes import processes_of

zmq = pytest.importorskip("zmq")

# Six processes that import for seconds each: on a busy machine they wait for one another.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def new_folder(tmp_path_factory):
    """`new_folder()`: a data folder; its queue and its server end with the test."""
    made = []

    def make() -> DataFolder:
        made.append(DataFolder(tmp_path_factory.mktemp("night")))
        return made[-1]

    yield make
    for folder in made:
        clean_up(folder)


@pytest.fixture(scope="module")
def night_folder(tmp_path_factory):
    folder = DataFolder(tmp_path_factory.mktemp("night"))
    yield folder
    clean_up(folder)


@pytest.fixture
def night(night_folder, command):
    """A data folder whose queue was started by a command, which has ended since; nothing is in the queue."""
    if find_queue(night_folder) is None:
        said = command("queue", "start", "--data", night_folder.root, "--json", timeout_s=300)
        assert said.code == 0, said.err
        assert json.loads(said.out)["was_running"] is False
    with connect(find_queue(night_folder)) as client:
        client.queue_clear()
        client.history_clear()
    return night_folder


def clean_up(folder):
    place = read_place(folder)
    try:
        stop_queue(folder, now=True)
    finally:
        stop_server(folder)
        if place is not None:
            assert not list(processes_of(place.queue_id))
            shutil.rmtree(sockets_folder(place), ignore_errors=True)


def write(folder, text):
    file = folder.root / "plan.yml"
    file.write_text(text)
    return file


def idle(client, timeout_s=120):
    status = wait_until(client, lambda s: s["manager_state"] == "idle" and not s["items_in_queue"], timeout_s)
    assert status is not None, client.status(reload=True)


def hear(folder, until):
    """Return a list that documents of the folder's queue are put into, once somebody listens."""
    heard, ready = [], threading.Event()
    threading.Thread(
        target=listen,
        args=(find_queue(folder).documents_out, lambda name, doc: heard.append((name, doc)), until),
        kwargs={"on_ready": ready.set},
        daemon=True,
    ).start()
    assert ready.wait(10)
    return heard


def test_a_queue_outlives_the_command_that_started_it(night, parfocal):
    folder = night
    status = json.loads(parfocal("queue", "status", "--data", folder.root, "--json").out)
    assert {
        name: status[name] for name in ("running", "manager", "environment", "catalog", "redis", "documents")
    } == {
        "running": True,
        "manager": "idle",
        "environment": "idle",
        "catalog": "answers",
        "redis": "answers",
        "documents": "answers",
    }
    said = parfocal("queue", "status", "--data", folder.root)
    assert f"export QSERVER_ZMQ_CONTROL_ADDRESS='{find_queue(folder).control_address}'" in said.out
    again = parfocal("queue", "start", "--data", folder.root)
    assert again.out.startswith(f"runs already, as process {status['info']['manager_pid']}")
    other = parfocal("queue", "start", "--data", folder.root, "--profile", "micromanager")
    assert (other.code, "stop it first" in other.complaint) == (2, True)


def test_only_its_owner_gets_in(night):
    folder = night
    info = find_queue(folder)
    for file in (folder.root / "queue.json", folder.root / "queue" / "keys.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = (read_place(folder).private_key, read_place(folder).redis_password)
    listening = set()
    for process in processes_of(info.queue_id):
        assert not any(secret in word for secret in secrets for word in process.cmdline())
        listening |= {c.laddr.ip for c in process.net_connections("inet") if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
    for address in (info.documents_in, info.documents_out):
        assert stat.S_IMODE(Path(address.removeprefix("ipc://")).parent.stat().st_mode) == 0o700
    stranger = zmq.curve_keypair()[0].decode()
    with connect(replace(info, public_key=stranger), timeout_s=1) as client, pytest.raises(TimeoutError):
        client.status(reload=True)


def test_a_file_with_a_fault_adds_nothing(night, parfocal):
    folder = night
    file = write(
        folder, "- {name: z_burst, args: [microscope]}\n- {name: z_stak}\n- {name: z_stack, args: [microscop]}\n"
    )
    said = parfocal("queue", "add", file, "--data", folder.root)
    assert said.code == 2
    first, second = (line for line in said.err.splitlines() if line.startswith("error: "))
    assert first.startswith(f"error: {file} item 2 (z_stak): there is no such plan")
    assert second.startswith(f"error: {file} item 3 (z_stack): microscope is 'microscop'; a device was expected")
    assert parfocal("queue", "list", "--data", folder.root).out == "the queue is empty\n"


def test_queued_plans_run_and_are_in_the_catalog_and_on_the_wire(night, parfocal):
    folder = night
    file = write(
        folder,
        """
- name: z_burst
  args: [microscope]
  kwargs: {n_frames: 3}
  meta: {sample: slide 7}
  repeat: 2
  on_failure: retry
- name: z_stack
  args: [microscope, 1, 1]
""",
    )
    dry = parfocal("queue", "add", file, "--dry-run", "--data", folder.root)
    assert dry.out == "3 plans could be added\n", dry.err
    assert json.loads(parfocal("queue", "list", "--json", "--data", folder.root).out)["waiting"] == []
    until = threading.Event()
    heard = hear(folder, until)
    added = parfocal("queue", "add", file, "--run", "--data", folder.root)
    assert added.out == "3 plans were added\n", added.err
    with connect(find_queue(folder)) as client:
        idle(client)
        done = client.history_get()["items"]
    assert [item["result"]["exit_status"] for item in done] == ["completed"] * 3
    uids = [uid for item in done for uid in item["result"]["run_uids"]]
    with open_catalog(folder) as catalog:
        wait_for(lambda: catalog.runs(uid=uids[2])["exit_status"].tolist() == ["success"])
        bursts = catalog.runs(sample="slide 7", plan="z_burst")
        assert sorted(bursts["uid"]) == sorted(uids[:2])
        start = catalog.run(uids[0]).metadata["start"]
        assert start["parfocal"].items() >= {"from": "plan.yml item 1", "on_failure": "retry"}.items()
        assert start["parfocal"]["camera"] == "camera", "what the plan says of itself stays"
        wait_for(lambda: len(catalog.analyses_of(catalog.run(uids[2]))) == 1)
    wait_for(lambda: sum(name == "stop" for name, _ in heard) >= 4)
    until.set()
    starts = [doc["uid"] for name, doc in heard if name == "start"]
    assert [uid for uid in starts if uid in uids] == uids
    assert len(starts) > len(uids), "derived runs too"


def wait_for(is_so, timeout_s=60):
    tick = threading.Event()
    for _ in range(int(timeout_s / 0.1)):
        if is_so():
            return
        tick.wait(0.1)
    assert is_so()


def test_other_clients_get_in_with_what_status_says(night, parfocal):
    folder = night
    exports = dict(
        line.strip().removeprefix("export ").split("=", 1)
        for line in parfocal("queue", "status", "--data", folder.root).out.splitlines()
        if "export" in line
    )
    environment = {**os.environ, **{name: value.strip("'") for name, value in exports.items()}}
    qserver = Path(sys.executable).with_name("qserver")
    done = subprocess.run([qserver, "status"], env=environment, capture_output=True, text=True, timeout=60)
    assert "'manager_state': 'idle'" in done.stdout, done.stdout + done.stderr
    code = """
from bluesky_queueserver_api import BPlan
from bluesky_queueserver_api.zmq import REManagerAPI
RM = REManagerAPI()
print(RM.item_add(BPlan("z_burst", "microscope", n_frames=2), user_group="operator")["success"])
try:
    RM.item_add(BPlan("z_burst", "microscope", n_frames=2), user_group="observer")
except RM.RequestFailedError as error:
    print("observer:", *str(error).split())
print(len(RM.devices_allowed(user_group="observer")["devices_allowed"]))
RM.queue_clear()
RM.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    first, second, third = done.stdout.splitlines()
    assert (first, third) == ("True", "1"), done.stderr
    assert second.startswith("observer: ")
    assert "not in the list of allowed plans" in second


def test_an_aborted_plan_puts_things_back_and_waits_again(night, parfocal):
    folder = night
    file = write(
        folder, "- {name: time_lapse, args: [microscope, 100, 0.5]}\n- {name: z_burst, args: [microscope]}\n"
    )
    until = threading.Event()
    heard = hear(folder, until)
    assert parfocal("queue", "add", file, "--run", "--data", folder.root).code == 0
    wait_for(lambda: any(name == "event" for name, _ in heard))
    assert parfocal("queue", "pause", "--data", folder.root).code == 0
    with connect(find_queue(folder)) as client:
        assert wait_until(client, lambda s: s["manager_state"] == "paused", 30)
        assert parfocal("queue", "resume", "--data", folder.root).code == 0
        assert wait_until(client, lambda s: s["manager_state"] == "executing_queue", 30)
        n_events = len(heard)
        wait_for(lambda: len(heard) > n_events)
        said = parfocal("queue", "abort", "--data", folder.root)
        assert said.code == 0, said.err
        listed = json.loads(parfocal("queue", "list", "--json", "--data", folder.root).out)
        assert [item["name"] for item in listed["waiting"]] == ["time_lapse", "z_burst"]
        assert listed["done"][-1]["result"]["exit_status"] == "aborted"
        wait_for(lambda: any(name == "stop" and doc["exit_status"] == "abort" for name, doc in heard))
        until.set()
        assert parfocal("queue", "abort", "--data", folder.root).complaint == "no plan runs"
        assert parfocal("queue", "clear", "--data", folder.root).out == "2 plans were taken out\n"
        assert "the queue is empty" in parfocal("queue", "run", "--data", folder.root).complaint


def test_a_stopped_queue_leaves_no_process_and_no_document_behind(night, parfocal):
    folder = night
    info = find_queue(folder)
    file = write(folder, "- {name: z_stack, args: [microscope, 2, 0.5], repeat: 2, meta: {sample: last}}\n")
    assert parfocal("queue", "add", file, "--run", "--data", folder.root).code == 0
    with connect(info) as client:
        assert wait_until(client, lambda s: s["running_item_uid"] is not None, 30)
    said = parfocal("queue", "stop", "--data", folder.root)
    assert (said.code, said.out) == (0, "stopped\n"), said.err
    assert not list(processes_of(info.queue_id))
    assert find_queue(folder) is None
    assert not (folder.root / "queue.json").exists()
    assert not Path(info.documents_out.removeprefix("ipc://")).parent.exists()
    assert list(folder.wal.glob("*.jsonl")) == []
    with open_catalog(folder) as catalog:
        runs = catalog.runs(sample="last")
        assert set(runs["exit_status"]) == {"success"}
        assert len(catalog.analyses_of(catalog.run(runs["uid"].iloc[0]))) == 1
    assert parfocal("queue", "stop", "--data", folder.root).out == "no queue was running\n"
    assert "no queue runs" in parfocal("queue", "list", "--data", folder.root).complaint


@pytest.mark.long
def test_what_waits_is_there_after_a_stop_a_kill_and_a_second_queue_beside_it(new_folder):
    first, second = new_folder(), new_folder()
    infos = [start_queue(first), start_queue(second)]
    ours = [{info.control_address, info.info_address, info.redis, info.documents_out} for info in infos]
    assert not ours[0] & ours[1]
    item = {"item_type": "plan", "name": "z_burst", "args": ["microscope"], "kwargs": {"n_frames": 2}}
    with connect(infos[0]) as client, connect(infos[1]) as other:
        client.item_add_batch([item, item])
        assert other.queue_get()["items"] == []
    assert stop_queue(first)
    info = start_queue(first)
    assert (info.control_address, info.public_key, info.documents_out) == (
        infos[0].control_address,
        infos[0].public_key,
        infos[0].documents_out,
    ), "clients that are open go on"
    # Killed without a word: Redis, proxy and worker are orphans, which the next start ends first.
    psutil.Process(info.manager_pid).kill()
    wait_for(lambda: find_queue(first) is None)
    info = start_queue(first)
    with connect(info) as client:
        assert len(client.queue_get()["items"]) == 2
        client.queue_start()
        idle(client)
        assert [one["result"]["exit_status"] for one in client.history_get()["items"]] == ["completed"] * 2
    with connect(infos[1]) as other:
        assert other.status(reload=True)["worker_environment_state"] == "idle"


@pytest.mark.long
def test_a_startup_file_that_fails_says_why_and_leaves_nothing_running(new_folder, parfocal):
    folder = new_folder()
    path = new_profile("mine", folder=folder)
    (path / "devices.yml").write_text(
        "parfocal.devices.simulated_microscope:\n- name: microscope\n  sample: cheese\n"
    )
    said = parfocal("queue", "start", "--profile", "mine", "--data", folder.root)
    assert said.code == 2
    assert f"the startup file of {path} failed" in said.complaint
    assert "cheese" in said.complaint
    assert not list(processes_of(read_place(folder).queue_id))
    shutil.rmtree(path)
    new_profile("mine", folder=folder)
    assert parfocal("queue", "start", "--profile", "mine", "--data", folder.root).code == 0


@pytest.mark.long
def test_a_plan_that_is_waited_for_too_long_goes_on(new_folder, parfocal):
    folder = new_folder()
    info = start_queue(folder)
    file = write(folder, "- {name: time_lapse, args: [microscope, 60, 1.0]}\n")
    assert parfocal("queue", "add", file, "--run", "--data", folder.root).code == 0
    with connect(info) as client:
        assert wait_until(client, lambda s: s["running_item_uid"] is not None, 30)
        assert "runs on" in parfocal("queue", "stop", "--timeout", "1", "--data", folder.root).complaint
        status = client.status(reload=True)
        assert (status["manager_state"], status["queue_stop_pending"]) == ("executing_queue", True)
        assert parfocal("queue", "run", "--data", folder.root).out == "goes on after this plan\n"
        assert end_running_plan(client) == ""
    assert parfocal("queue", "stop", "--now", "--data", folder.root).out == "stopped\n"
