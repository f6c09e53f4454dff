"""One server a data folder: started on demand as a process of its own, found through its file."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from parfocal.catalog._folder import DataFolder, as_folder
from parfocal.catalog._moved import follow_move
from parfocal.catalog._server_process import (
    ALREADY_SERVED,
    AlreadyServedError,
    ServerSettings,
    run,
    write_private,
)
from parfocal.errors import CatalogError

# Handles of the servers that this process started: dropped ones would warn, and leave zombies.
_started: dict[int, subprocess.Popen[str]] = {}

_LOG_LIMIT_BYTES = 5_000_000
# A server of ours is asked by http alone: httpx would read the system's certificates for each question.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class ServerInfo:
    """How to reach a running server."""

    pid: int
    url: str
    api_key: str

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Say whether a Tiled server that takes this key answers at this URL."""
        if not _is_alive(self.pid):
            return False
        try:
            reply = httpx.get(
                f"{self.url}/api/v1/metadata/",
                headers={"Authorization": f"Apikey {self.api_key}"},
                timeout=timeout_s,
                trust_env=False,
                verify=_NO_TLS,
            )
        except httpx.HTTPError:
            return False
        return reply.is_success


def server_settings(
    folder: DataFolder, *, database_uri: str | None = None, host: str = "127.0.0.1", port: int = 0
) -> ServerSettings:
    """Return what a server of this folder serves, and from where.

    The folder remembers a database that it was once served with, so that a server that starts on demand, later
    and elsewhere, opens the same one; `sqlite` goes back to the folder's own.
    """
    if database_uri is not None:
        write_private(folder.database_file, {"uri": None if database_uri == "sqlite" else database_uri})
    database_uri = _remembered_database(folder)
    sqlite = f"sqlite:///{folder.catalog / 'catalog.db'}"
    # Not SQLite: Tiled cannot keep lists in it, and BTP puts arrays of up to 16 elements in the table.
    tables = f"duckdb:///{folder.catalog / 'tables.duckdb'}"
    postgres = (database_uri or "").startswith(("postgresql", "postgres"))
    return ServerSettings(
        database_uri=database_uri or sqlite,
        tables_uri=database_uri if database_uri and postgres else tables,
        arrays_dir=str(folder.catalog / "arrays"),
        secrets_file=str(folder.catalog / "secrets.json"),
        lock_file=str(folder.catalog / "server.lock"),
        info_file=str(folder.server_file),
        readable=(str(folder.frames),),
        host=host,
        port=port,
    )


def serve(
    data: DataFolder | Path | str | None = None,
    *,
    database_uri: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> None:
    """Serve a data folder in the foreground until interrupted.

    Parameters
    ----------
    data
        The folder; None for the default one.
    database_uri
        A SQLAlchemy URI such as `postgresql://user:password@host/name`, for catalog and tables. Kept in the
        folder (mode 0600): None takes the one used last, at first SQLite files in the folder; `sqlite` takes
        these again.
    host, port
        Where to listen; port 0 takes the one used last, or any free one.

    Raises
    ------
    CatalogError
        When the folder cannot be written to, or another process serves it.
    """
    folder = as_folder(data).make()
    (folder.catalog / "arrays").mkdir(exist_ok=True)
    follow_move(folder)
    try:
        run(server_settings(folder, database_uri=database_uri, host=host, port=port))
    except AlreadyServedError:
        info = read_server_file(folder)
        where = f" at {info.url} by process {info.pid}" if info else ""
        raise CatalogError(
            f"Data folder {folder.root} is already served{where}: use that one or stop it."
        ) from None


def read_server_file(folder: DataFolder) -> ServerInfo | None:
    """Return what the folder's server file says, None where there is none; it may be out of date."""
    try:
        content = json.loads(folder.server_file.read_text())
        return ServerInfo(int(content["pid"]), str(content["url"]), str(content["api_key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_server(data: DataFolder | Path | str | None = None) -> ServerInfo | None:
    """Return the folder's running server, or None.

    A file left behind by a process that died counts for nothing, nor does one whose pid has passed to another
    process: what counts is that the URL answers to the key.
    """
    info = read_server_file(as_folder(data))
    return info if info is not None and info.answers() else None


def ensure_server(
    data: DataFolder | Path | str | None = None,
    *,
    database_uri: str | None = None,
    timeout_s: float = 60.0,
) -> ServerInfo:
    """Return the folder's server, started as a process of its own where there is none.

    Callers that race end up with one server: each starts a process, and the folder's lock lets one live.

    Raises
    ------
    CatalogError
        When the folder cannot be written to, or no server answered within `timeout_s` seconds.
    """
    folder = as_folder(data)
    info = find_server(folder)
    if info is not None:
        return info
    folder.make()
    process = _start_process(folder, database_uri)
    waiting = threading.Event()
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        info = find_server(folder)
        if info is not None:
            return info
        code = process.poll()
        if code is not None and code != ALREADY_SERVED:
            raise CatalogError(f"The catalog server of {folder.root} ended with code {code}: {_last_line(folder)}")
        waiting.wait(0.02)
    raise CatalogError(
        f"The catalog server of {folder.root} did not answer within {timeout_s:g} s: see {folder.server_log}."
    )


def stop_server(data: DataFolder | Path | str | None = None, *, timeout_s: float = 10.0) -> bool:
    """Stop the folder's server; return whether there was one.

    Raises
    ------
    CatalogError
        When it has not ended within `timeout_s` seconds.
    """
    folder = as_folder(data)
    info = find_server(folder)
    if info is None:
        return False
    process = psutil.Process(info.pid)
    process.terminate()
    handle = _started.pop(info.pid, None)
    try:
        process.wait(timeout_s)
    except psutil.TimeoutExpired:
        raise CatalogError(
            f"The catalog server (process {info.pid}) did not end within {timeout_s:g} s."
        ) from None
    if handle is not None:
        handle.poll()
    folder.server_file.unlink(missing_ok=True)
    return True


def _start_process(folder: DataFolder, database_uri: str | None) -> subprocess.Popen[str]:
    (folder.catalog / "arrays").mkdir(exist_ok=True)
    follow_move(folder)
    log = folder.server_log
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    settings = server_settings(folder, database_uri=database_uri)
    script = Path(__file__).with_name("_server_process.py")
    detached = 0x0000_0208 if sys.platform == "win32" else 0  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder.root,
            start_new_session=True,
            creationflags=detached,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            text=True,
        )
    assert process.stdin is not None  # noqa: S101  (a pipe was asked for)
    with process.stdin:
        process.stdin.write(settings.to_json())
    _started[process.pid] = process
    return process


def _remembered_database(folder: DataFolder) -> str | None:
    try:
        return json.loads(folder.database_file.read_text())["uri"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(
            f"{folder.database_file} does not say which database this folder's catalog is in: "
            "serve it once with --database."
        ) from error


def _is_alive(pid: int) -> bool:
    handle = _started.get(pid)
    if handle is not None:
        return handle.poll() is None
    return psutil.pid_exists(pid)


def _last_line(folder: DataFolder) -> str:
    try:
        lines = folder.server_log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"see {folder.server_log}."
