"""The catalog: its server, its database, what waits in its logs, whether its frames are where it says."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil

from parfocal.catalog import Catalog, DataFolder, find_server, open_catalog, unwritten
from parfocal.doctor._check import Check
from parfocal.errors import BadInputError, CatalogError
from parfocal.frames import path_of

_SLOW_S = 0.5
_RUNS_LOOKED_AT = 5


def check_server(folder: DataFolder) -> Iterator[Check]:
    """Look at whether the folder's server answers; one that does not run is started when it is needed."""
    if not folder.server_file.is_file():
        yield Check("catalog: server", "ok", "no server runs; one is started when it is needed")
        return
    began_s = time.monotonic()
    info = find_server(folder)
    took_s = time.monotonic() - began_s
    if info is None:
        pid = _pid_in(folder)
        if pid and _is_server(pid):
            found = f"the server (process {pid}) lives and does not answer; see {folder.server_log}"
            yield Check("catalog: server", "fail", found, f"end process {pid}, and `parfocal recover`")
        else:
            yield Check(
                "catalog: server",
                "warn",
                f"{folder.server_file} was left by a server that is gone",
                "nothing: the next one replaces it; `parfocal recover` brings what it could not take",
            )
        return
    found = f"{info.url} answers in {1e3 * took_s:.0f} ms"
    slow = took_s > _SLOW_S
    advice = "see what else keeps this machine busy" if slow else ""
    yield Check("catalog: server", "warn" if slow else "ok", found, advice)


def check_database(folder: DataFolder) -> Iterator[Check]:
    """Look at whether the folder's own database opens and is whole; nothing is written."""
    file = folder.catalog / "catalog.db"
    if folder.database_file.is_file():
        yield Check("catalog: database", "ok", f"kept elsewhere, as {folder.database_file} says")
        return
    if not file.is_file():
        yield Check("catalog: database", "ok", "there is none yet; the first server makes it")
        return
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=2)) as database:
            (n_nodes,) = database.execute("SELECT count(*) FROM nodes").fetchone()
    except sqlite3.Error as error:
        advice = "put its last copy back, and `parfocal recover`; frames and logs are not in it"
        yield Check("catalog: database", "fail", f"{file} cannot be read: {error}", advice)
        return
    size_mb = file.stat().st_size / 1e6
    yield Check("catalog: database", "ok", f"{file} opens: {n_nodes:,} nodes in {size_mb:,.0f} MB")


def check_logs(folder: DataFolder) -> Iterator[Check]:
    """Look for runs and rows that the catalog does not hold yet."""
    waiting = unwritten(folder)
    if waiting.n_runs or waiting.n_tables:
        found = f"{waiting.n_runs} runs and {waiting.n_tables} batches of rows wait in {folder.wal}"
        yield Check("catalog: logs", "warn", found, f"parfocal recover --data {folder.root}")
    else:
        running = f"; {waiting.n_running} are being written" if waiting.n_running else ""
        yield Check("catalog: logs", "ok", f"nothing waits{running}")


def check_frames(folder: DataFolder) -> Iterator[Check]:
    """Look at whether the frames of the newest runs are where the catalog says, if its server runs."""
    if find_server(folder) is None:
        return
    try:
        with open_catalog(folder) as catalog:
            gone = [address for address in _newest_frames(catalog) if not path_of(address).exists()]
            n_runs = len(catalog.recent(_RUNS_LOOKED_AT))
    except (CatalogError, BadInputError) as error:
        yield Check("catalog: frames", "fail", str(error), "see the server's check")
        return
    if gone:
        found = f"of the newest {n_runs} runs frames are not at {path_of(gone[0])}"
        yield Check("catalog: frames", "fail", found, "put them back: the catalog holds addresses, not pixels")
    elif n_runs:
        yield Check("catalog: frames", "ok", f"those of the newest {n_runs} runs are there")


def _newest_frames(catalog: Catalog) -> list[str]:
    newest = catalog.recent(_RUNS_LOOKED_AT)
    found: list[str] = []
    for metadata in newest:
        if not metadata.get("stop"):
            continue  # it is being taken
        documents: Any = catalog.documents(metadata["start"]["uid"])
        found += [doc["uri"] for name, doc in documents if name == "stream_resource"]
    return found


def _pid_in(folder: DataFolder) -> int:
    try:
        return int(json.loads(folder.server_file.read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _is_server(pid: int) -> bool:
    try:
        return any("_server_process" in word or "parfocal" in word for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
