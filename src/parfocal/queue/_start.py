"""Start everything that a queue is made of: Redis, proxy, RE Manager, its environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from parfocal.catalog import DataFolder, ensure_server, write_private
from parfocal.errors import BadInputError, HardwareError, ParfocalError
from parfocal.queue._connect import ask, connect, wait_until
from parfocal.queue._info import QueueInfo, find_queue, queue_file, write_queue_file
from parfocal.queue._place import (
    QueuePlace,
    document_addresses,
    free_ports,
    new_place,
    queue_folder,
    read_place,
    write_place,
)
from parfocal.queue._processes import end_processes, is_alive, processes_of, start_process, workers_ended
from parfocal.queue._profile import find_profile
from parfocal.queue._redis import manager_redis, redis_prefix, redis_uri, start_redis
from parfocal.queue._start_supervisor import start_supervisor
from parfocal.queue._supervisor_policy import DEFAULT_POLICY, SupervisorPolicy

_MANAGER_SCRIPT = Path(__file__).with_name("_manager_process.py")
_TRIES = 3  # of a port that somebody else may take between our look and the manager's


def start_queue(
    data: DataFolder | Path | str | None = None,
    profile: str | Path = "simulated",
    redis: str | None = None,
    *,
    policy: SupervisorPolicy | None = DEFAULT_POLICY,
    say: Callable[[str], object] = lambda what: None,
    timeout_s: float = 120.0,
) -> QueueInfo:
    """Start the queue of a data folder and wait until plans can run; the one that runs already is returned.

    Redis, 0MQ proxy and RE Manager are processes of their own, which outlive the caller. Sockets are bound to
    127.0.0.1 or lie in a private folder; commands are encrypted with the folder's own key.

    Parameters
    ----------
    data : path, optional
        The data folder.
    profile : str or path
        The instrument: a folder, a name among those in the data folder's `profiles/`, or a shipped one.
    redis : str, optional
        URI of a site's Redis, kept for later; `own` goes back to one of the queue's own, the default.
    policy : SupervisorPolicy, optional
        What the supervisor does when something fails; None for no supervisor.
    say : callable
        Told what is being waited for, in a few words.
    timeout_s : float
        How long the environment may take to open.

    Raises
    ------
    BadInputError
        The profile or the Redis cannot be used, or the queue runs with another profile.
    HardwareError
        A process did not come up, or the startup file failed; the message says why. Nothing is left running.
    """
    folder = (
        data if isinstance(data, DataFolder) else DataFolder() if data is None else DataFolder(Path(data))
    ).make()
    startup = find_profile(profile, folder)
    with _only_one(folder):
        running = find_queue(folder)
        if running is not None:
            if Path(running.profile) != startup:
                raise BadInputError(f"the queue of {folder.root} runs with {running.profile}: stop it first")
            return running if policy is None else start_supervisor(folder, running, policy)
        place = _place_of(folder, redis)
        end_processes(
            list(processes_of(place.queue_id))
        )  # what a crash left: a worker would still hold the camera
        try:
            info = _start(folder, place, startup, say, timeout_s)
            return info if policy is None else start_supervisor(folder, info, policy)
        except BaseException:
            end_processes(list(processes_of(place.queue_id)))
            queue_file(folder).unlink(missing_ok=True)
            raise


def open_environment(info: QueueInfo, folder: DataFolder, timeout_s: float = 120.0) -> None:
    """Open the worker's environment and wait until plans can run in it; nothing where it is open.

    Raises
    ------
    HardwareError
        The startup file failed, or took longer than `timeout_s`; the message says why.
    """
    log = queue_folder(folder) / "manager.log"
    with connect(info) as client:
        before = wait_until(client, lambda status: status["manager_state"] == "idle", timeout_s)
        if before is not None and before["worker_environment_exists"]:
            return
        workers_ended(info.manager_pid, timeout_s)  # one that still closes has the camera
        said = log.stat().st_size if log.exists() else 0
        ask(client.environment_open)
        status = wait_until(client, lambda status: status["manager_state"] != "creating_environment", timeout_s)
    if status is None:
        raise HardwareError(f"the environment did not open within {timeout_s:g} s: see {log}")
    if not status["worker_environment_exists"]:
        raise HardwareError(f"the startup file of {info.profile} failed: {_what_failed(log, said)} (see {log})")


def _start(
    folder: DataFolder, place: QueuePlace, startup: Path, say: Callable[[str], object], timeout_s: float
) -> QueueInfo:
    catalog = _InBackground(lambda: ensure_server(folder))
    say("Redis")
    place, redis_pid = start_redis(folder, place)
    say("documents")
    into, out = document_addresses(place)
    logs = queue_folder(folder)
    proxy_pid = start_proxy(folder, into, out)
    say("RE Manager")
    info, place = start_manager(folder, place, startup, into, out)
    info = replace(info, redis_pid=redis_pid, proxy_pid=proxy_pid)
    if not is_alive(proxy_pid, place.queue_id):
        raise HardwareError(f"the proxy of documents ended: see {logs / 'proxy.log'}")
    write_place(folder, place)
    write_queue_file(folder, info)
    say("catalog")
    catalog.result()
    say("environment")
    open_environment(info, folder, timeout_s)
    return info


def start_proxy(folder: DataFolder, into: str, out: str) -> int:
    """Start the proxy of documents; return its pid."""
    return start_process(
        [sys.executable, "-m", "bluesky.commandline.zmq_proxy", "--in-address", into, "--out-address", out],
        queue_folder(folder) / "proxy.log",
    )


def start_manager(
    folder: DataFolder, place: QueuePlace, startup: Path, into: str, out: str
) -> tuple[QueueInfo, QueuePlace]:
    """Start the RE Manager and wait until it answers; return where it is.

    Raises
    ------
    HardwareError
        It did not come up.
    """
    logs = queue_folder(folder)
    for _ in range(_TRIES):
        control, information = free_ports(place.control_port, place.info_port)
        place = replace(place, control_port=control, info_port=information)
        config = write_manager_config(folder, place, startup)
        pid = start_process(
            [sys.executable, "-P", str(_MANAGER_SCRIPT), str(config), str(logs / "manager.log"), place.queue_id],
            logs / "manager.log",
            {**_without_settings(), "PARFOCAL_DATA": str(folder.root), "PARFOCAL_PUBLISH": into},
        )
        info = QueueInfo(
            manager_pid=pid,
            control_address=place.control_address,
            info_address=place.info_address,
            public_key=place.public_key,
            redis=redis_uri(place),
            documents_in=into,
            documents_out=out,
            profile=str(startup),
            queue_id=place.queue_id,
        )
        with connect(info, timeout_s=1.0) as client:
            status = wait_until(client, lambda status: status["manager_state"] == "idle", 60.0, going=_lives(pid))
        if status is not None:
            return info, place
        end_processes(
            [one for one in processes_of(place.queue_id) if "_manager_process" in " ".join(one.cmdline())]
        )
    raise HardwareError(f"the RE Manager did not come up: see {logs / 'manager.log'}")


def _lives(pid: int) -> Callable[[], bool]:
    """Return what says whether a manager has not failed: its watchdog stays when it has ended itself."""
    seen: set[int] = set()

    def lives() -> bool:
        try:
            children = {child.pid for child in psutil.Process(pid).children()}
        except psutil.Error:
            return False
        seen.update(children)
        return bool(children) or not seen

    return lives


def write_manager_config(folder: DataFolder, place: QueuePlace, startup: Path) -> Path:
    """Write the configuration of the RE Manager (mode 0600): the profile's, with addresses, keys and folders.

    The list of plans and devices is kept in the data folder, and updated there when the environment opens: a
    profile may belong to somebody else.
    """
    content: Any = {}
    told = startup / "qs-config.yml"
    if told.is_file():
        try:
            content = yaml.safe_load(told.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInputError(f"{told} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise BadInputError(f"{told}: a configuration of the RE Manager was expected")
    listed = queue_folder(folder) / "existing_plans_and_devices.yaml"
    if (startup / listed.name).is_file():
        shutil.copyfile(startup / listed.name, listed)
    content["network"] = {
        **content.get("network", {}),
        "zmq_control_addr": place.control_address,
        "zmq_info_addr": place.info_address,
        "zmq_private_key": place.private_key,
        "redis_addr": manager_redis(place),
        "redis_name_prefix": redis_prefix(place),
    }
    content["startup"] = {
        **content.get("startup", {}),
        "startup_dir": str(startup),
        "existing_plans_and_devices_path": str(listed),
        "user_group_permissions_path": str(startup / "user_group_permissions.yaml"),
    }
    config = queue_folder(folder) / "qs-config.json"
    write_private(config, content)  # JSON is YAML
    return config


def _place_of(folder: DataFolder, redis: str | None) -> QueuePlace:
    place = read_place(folder) or new_place(folder)
    if redis is not None:
        place = replace(place, redis="" if redis == "own" else redis)
    write_place(folder, place)
    return place


def _without_settings() -> dict[str, str]:
    """Return the environment without what would set up another manager than the folder's."""
    return {name: "" for name in os.environ if name.startswith("QSERVER_")}


def _what_failed(log: Path, begin: int) -> str:
    """Return the last error that the log tells of, from byte `begin` on."""
    try:
        with log.open("rb") as file:
            file.seek(begin if begin <= log.stat().st_size else 0)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line.strip() for line in lines if "Error" in line.split(":")[0] and ":" in line]
    return told[-1] if told else "it does not say why"


class _InBackground:
    """A call in a thread beside what is done meanwhile; its error is raised where its result is wanted."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except ParfocalError as error:
            self._error = error

    def result(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


@contextlib.contextmanager
def _only_one(folder: DataFolder) -> Generator[None]:
    """Let one command at a time start a folder's queue; the system lets go when the process ends."""
    with (queue_folder(folder) / "start.lock").open("a+b") as handle:
        if sys.platform == "win32":
            import msvcrt

            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
