"""Each check finds its fault, says it in a line, and says what to do."""

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time

import pytest

from parfocal.catalog import DataFolder, write_private
from parfocal.cli import main
from parfocal.devices import CharacterizationShelf
from parfocal.doctor import (
    Check,
    check_clock,
    check_database,
    check_disk_rate,
    check_drivers,
    check_folder,
    check_future,
    check_gpu,
    check_logs,
    check_memory,
    check_pixel_size,
    check_private,
    check_processor,
    check_profile,
    check_queue,
    check_redis,
    check_server,
    check_space,
    check_versions,
    examine,
)
from parfocal.doctor._check import looked_at
from parfocal.focus import Characterization
from parfocal.queue import QueueInfo, new_profile, write_queue_file


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path / "data").make()


def only(checks):
    (check,) = checks
    assert "\n" not in check.found + check.advice
    assert check.state == "ok" or check.advice, f"{check} does not say what to do"
    return check


def states(checks):
    return {check.name: check.state for check in checks}


def gone_pid():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_few_cores_much_load_and_little_memory_are_told():
    assert only(check_processor(8, 0.5)).state == "ok"
    assert only(check_processor(2, 0.5)).state == "warn"
    assert "busy" in only(check_processor(8, 30.0)).advice
    assert [only(check_memory(32, free)).state for free in (20, 2, 0.5)] == ["ok", "warn", "fail"]


def test_a_version_that_is_known_to_fail_is_a_fault_and_a_missing_extra_is_none():
    needed = [
        "numpy>=2",
        "zarr>=3.1",
        'PySide6-Essentials!=6.12.0,>=6.7; extra == "gui"',
        'redis; extra == "queue"',
    ]
    good = {"numpy": "2.0.2", "zarr": "3.1.6"}
    assert only(check_versions(needed, good)).state == "ok"
    broken = only(check_versions(needed, {**good, "pyside6-essentials": "6.12.0"}))
    assert (broken.state, "6.12.0" in broken.found, "PySide6-Essentials!=6.12.0" in broken.advice) == (
        "fail", True, True,
    )  # fmt: skip
    missing = only(check_versions(needed, {"numpy": "2.0.2"}))
    assert (missing.state, missing.advice) == ("fail", "pip install zarr")


def test_what_is_installed_here_works():
    assert [check.state for check in check_versions()] == ["ok"], list(check_versions())
    assert next(check.state for check in check_gpu()) in ("ok", "warn")


def test_a_clock_that_jumps_lies_or_is_set_by_nobody_is_told():
    ticks = iter([0.0, 0.0, 0.5])
    jumped = states(check_clock(lambda: 1.9e9 + next(ticks), lambda: 0.0, lambda: True))
    assert jumped == {"clock: steady": "warn", "clock: set": "ok"}
    assert states(check_clock(time.time, time.monotonic, lambda: False))["clock: set"] == "warn"
    assert states(check_clock(time.time, time.monotonic, lambda: None))["clock: set"] == "ok"
    assert only(check_clock(lambda: 86400.0, lambda: 0.0)).state == "fail"


def test_files_from_the_future_say_that_the_clock_was_set_back(folder):
    assert list(check_future(folder.root)) == []
    file = folder.wal / "run.jsonl"
    file.touch()
    os.utime(file, (time.time() + 3600,) * 2)
    assert "run.jsonl" in only(check_future(folder.root)).found


def test_a_folder_that_cannot_be_written_to_is_told(folder, tmp_path):
    assert only(check_folder(folder)).state == "ok"
    assert only(check_folder(DataFolder(tmp_path / "new" / "data"))).state == "ok"
    (tmp_path / "file").touch()
    assert only(check_folder(DataFolder(tmp_path / "file"))).state == "fail"
    assert only(check_folder(DataFolder(tmp_path / "a#b"))).state == "fail"
    # A file in the place of a part: what permissions say does not hold for root, who runs tests in containers.
    folder.wal.rmdir()
    folder.wal.touch()
    assert str(folder.wal) in only(check_folder(folder)).found


def test_keys_that_others_can_read_are_told(folder):
    assert list(check_private(folder)) == []
    write_private(folder.server_file, {"api_key": "k"})
    assert only(check_private(folder)).state == "ok"
    folder.server_file.chmod(0o644)
    assert only(check_private(folder)).advice.startswith(f"chmod 600 {folder.server_file}")


@pytest.mark.parametrize(("free_gb", "state"), [(500, "ok"), (20, "warn"), (1, "fail")])
def test_a_disk_that_fills_is_told(folder, free_gb, state):
    assert {check.state for check in check_space(folder, lambda _: int(free_gb * 1e9))} >= {state}


def test_the_disk_is_timed_with_real_frames_and_nothing_stays(folder):
    check = only(check_disk_rate(folder, (64, 64), wanted_hz=1.0))
    assert check.state == "ok"
    assert "frames/s of 64x64" in check.found
    assert list(folder.frames.iterdir()) == []
    assert only(check_disk_rate(folder, (64, 64), wanted_hz=1e9)).state == "warn"


def test_a_disk_that_refuses_a_frame_is_a_fault_and_nothing_stays(folder):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        check = only(check_disk_rate(folder, (256, 256)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert check.state == "fail"
    assert "256x256 was refused" in check.found
    assert list(folder.frames.iterdir()) == []


def test_what_a_server_left_and_one_that_does_not_answer_are_two_things(folder):
    assert only(check_server(folder)).state == "ok"
    write_private(folder.server_file, {"pid": gone_pid(), "url": "http://127.0.0.1:9", "api_key": "k"})
    assert only(check_server(folder)).state == "warn"
    sleeper = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()  # _server_process"], stdin=-1)
    try:
        write_private(folder.server_file, {"pid": sleeper.pid, "url": "http://127.0.0.1:9", "api_key": "k"})
        check = only(check_server(folder))
    finally:
        sleeper.communicate(b"")
    assert check.state == "fail"
    assert str(sleeper.pid) in check.advice


def test_a_database_that_is_none_is_a_fault(folder):
    assert only(check_database(folder)).state == "ok"
    file = folder.catalog / "catalog.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE nodes (id INTEGER)")
    database.close()
    assert "0 nodes" in only(check_database(folder)).found
    file.write_bytes(b"this is no database, though it lies where one should" * 40)
    assert only(check_database(folder)).state == "fail"


def test_runs_that_wait_in_the_logs_are_told_with_the_command_that_brings_them(folder):
    assert only(check_logs(folder)).state == "ok"
    header = {"pid": gone_pid(), "process_started_s": 0.0, "host": os.uname().nodename, "opened_s": 0.0}
    line = json.dumps({"name": "parfocal-log", "doc": header})
    (folder.wal / "run.jsonl").write_text(line + "\n")
    check = only(check_logs(folder))
    assert (check.state, check.advice) == ("warn", f"parfocal recover --data {folder.root}")


def test_a_queue_that_is_gone_is_told(folder):
    pytest.importorskip("bluesky_queueserver", reason="extra `queue` is not installed")
    assert states(check_queue(folder))["queue: manager"] == "ok"
    info = QueueInfo(gone_pid(), "tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "k", "127.0.0.1:9", "i", "o", "p")
    write_queue_file(folder, info)
    assert states(check_queue(folder))["queue: manager"] == "warn"


def test_a_redis_that_does_not_answer_is_a_fault():
    pytest.importorskip("redis", reason="extra `queue` is not installed")
    assert only(check_redis("127.0.0.1:9", 0.5)).state == "fail"


def test_a_driver_that_a_profile_needs_must_be_there_and_others_need_not():
    free, needed = list(check_drivers()), list(check_drivers({"orca", "mcl"}))
    assert "fail" not in states(free).values()
    for name in ("drivers: orca", "drivers: mcl"):
        if "can be loaded" not in next(check.found for check in needed if check.name == name):
            assert states(needed)[name] == "fail"
    assert all(check.advice for check in needed if check.state != "ok")


def test_a_profile_is_looked_at_file_by_file(tmp_path):
    assert only(check_profile(tmp_path / "none")).state == "fail"
    (tmp_path / "startup.py").write_text("RE = (\n")
    (tmp_path / "devices.yml").write_text("parfocal.devices.no_such:\n- name: microscope\n")
    assert states(check_profile(tmp_path)) == {"profile: startup": "fail", "profile: devices": "fail"}
    (tmp_path / "startup.py").write_text("RE = 1\n")
    (tmp_path / "user_group_permissions.yaml").write_text("user_groups: {}\n")
    small = "parfocal.devices.simulated_microscope:\n- {name: microscope, height_px: 64, width_px: 64}\n"
    (tmp_path / "devices.yml").write_text(small)
    opened = list(check_profile(tmp_path, open_devices=True))
    assert {check.state for check in opened} == {"ok"}
    assert "64x64 px" in opened[-1].found
    (tmp_path / "devices.yml").write_text(small.replace("name: microscope,", "name: bench,"))
    (unnamed,) = (check for check in check_profile(tmp_path) if check.name == "profile: devices")
    assert unnamed.state == "warn"
    assert "none is called microscope" in unnamed.found
    (tmp_path / "devices.yml").write_text(small.replace("name: microscope,", "name: microscope, sample: cheese,"))
    assert list(check_profile(tmp_path, open_devices=True))[-1].state == "fail"


def test_a_measured_pixel_size_that_is_not_the_told_one_is_said_with_what_to_do(folder, tmp_path):
    assert list(check_pixel_size(folder)) == [], "none was measured"
    shelf, about = CharacterizationShelf(folder.characterizations), {"camera": "orca", "serial": "7"}
    numbers = {"pixel_size_um": 0.170, "pixel_size_se_um": 0.0005, "told_pixel_size_um": 0.1625}
    shelf.keep(Characterization("pixel_size", about, numbers), "0123456789")
    said = only(check_pixel_size(folder))
    assert said.state == "warn"
    assert said.found == "orca 7: measured 0.17 ± 0.0005 um (run 01234567), told 0.1625 um"
    assert "not applied" in said.advice
    (tmp_path / "devices.yml").write_text("parfocal.devices.orca:\n- {name: microscope, pixel_size_um: 0.17}\n")
    assert only(check_pixel_size(folder, tmp_path)).state == "ok", "devices.yml was mended since"


def test_a_look_that_cannot_be_made_is_a_finding():
    def broken():
        raise OSError("the machine is\non fire")

    assert only(looked_at("machine: fire", broken)).found == "could not be looked at: the machine is on fire"


def test_all_of_it_on_a_new_folder_leaves_nothing_behind(folder):
    before = sorted(folder.root.rglob("*"))
    checks = list(examine(folder, frame_px=(32, 32), wanted_hz=1.0))
    assert {check.name.partition(":")[0] for check in checks} >= {
        "machine", "clock", "folders", "disk", "catalog", "queue", "drivers",
    }  # fmt: skip
    assert [check for check in checks if check.state == "fail"] == []
    assert sorted(folder.root.rglob("*")) == before


def test_a_profile_is_told_by_name_or_by_folder(folder, tmp_path, capsys):
    new_profile("scope1", folder=folder)
    (tmp_path / "broken").mkdir()
    looked_at = {}
    for told in ("scope1", str(tmp_path / "broken"), "nobody"):
        with pytest.raises(SystemExit):
            main(["doctor", "--data", str(folder.root), "--profile", told, "--json"])
        found = [Check(**check) for check in json.loads(capsys.readouterr().out)]
        looked_at[told] = {check.name: check.state for check in found if check.name.startswith("profile:")}
    assert looked_at["scope1"]["profile: devices"] == "ok"
    assert looked_at[str(tmp_path / "broken")]["profile: startup"] == "fail"
    assert looked_at["nobody"] == {"profile: folder": "fail"}
