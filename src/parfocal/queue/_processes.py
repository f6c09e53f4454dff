"""Processes that outlive the command that started them, and are known again later."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

LOG_LIMIT_BYTES = 5_000_000

# Handles of what this process started: dropped ones would warn, and leave zombies.
_started: dict[int, subprocess.Popen[bytes]] = {}


def start_process(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a process in a session of its own, so that no closed terminal ends it; return its pid.

    What it says is appended to `log`, which a log of more than 5 MB makes room for first.
    """
    make_room(log)
    detached = 0x0000_0208 if sys.platform == "win32" else 0  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
            creationflags=detached,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
    _started[process.pid] = process
    return process.pid


def make_room(log: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Move a log that has grown too long to `.1`."""
    if log.exists() and log.stat().st_size > limit_bytes:
        log.replace(log.with_name(f"{log.name}.1"))


def is_alive(pid: int, queue_id: str = "") -> bool:
    """Say whether a process runs, and is the queue's: its command line names it. A number may pass to another."""
    handle = _started.get(pid)
    if handle is not None and handle.poll() is not None:
        return False
    if pid <= 0:
        return False
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # For a moment after its start a process has no command line yet.
        return _is_of(process, queue_id) or (handle is not None and not process.cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's
        return False


def processes_of(queue_id: str) -> Iterator[psutil.Process]:
    """Yield every process of a queue: a worker too, which is forked and has its manager's command line."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _is_of(process, queue_id):
                yield process
        except psutil.Error:
            continue


def end_processes(processes: Sequence[psutil.Process], timeout_s: float = 10.0) -> None:
    """Ask processes to end, and kill those that have not after `timeout_s`."""
    for process in processes:
        _quietly(process.terminate)
    _, left = psutil.wait_procs(processes, timeout_s)
    for process in left:
        _quietly(process.kill)
    psutil.wait_procs(left, timeout_s)
    for process in processes:
        handle = _started.pop(process.pid, None)
        if handle is not None:
            handle.wait(timeout_s)


def workers_ended(manager_pid: int, timeout_s: float) -> bool:
    """Wait until a manager has no worker any more: of its two children one is left, or none where it is gone."""
    deadline = Deadline(timeout_s)
    while True:
        try:
            children = [
                one for one in psutil.Process(manager_pid).children() if one.status() != psutil.STATUS_ZOMBIE
            ]
        except psutil.Error:
            children = []
        if len(children) < 2:
            return True
        if not deadline.wait():
            return False


class Deadline:
    """Wait in small steps until something is so, or time is up."""

    def __init__(self, timeout_s: float) -> None:
        self._until_s = time.monotonic() + timeout_s
        self._tick = threading.Event()

    def wait(self, step_s: float = 0.05) -> bool:
        """Wait a step; return False when time was up before it."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            return False
        self._tick.wait(min(step_s, left_s))
        return True


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, or where the log is."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].strip() if lines else f"see {log}"


def _is_of(process: psutil.Process, queue_id: str) -> bool:
    return not queue_id or any(queue_id in word for word in process.cmdline())


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except psutil.Error:
        pass
