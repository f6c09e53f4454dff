"""How long a question takes as a catalog grows: runs go straight into its database, thousands a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import numpy as np

from parfocal.bench._table import Row
from parfocal.catalog import Catalog, DataFolder, ensure_server, open_catalog, stop_server

_SIZES = (100, 1_000, 10_000)
_DAY_S = 86_400.0
_FIRST_S = 1.77e9


def query_rows(sizes: tuple[int, ...] = _SIZES, rounds: int = 7) -> list[Row]:
    """Return ms for the newest ten runs of a sample as a catalog grows: SQLite and, where installed, PostgreSQL.

    The names say how much longer ten times as many runs take, and what other questions take at the largest size.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        rows += _grown("catalog/query-ms-at", "SQLite", Path(folder), None, sizes, rounds)
    with postgresql() as uri:
        if uri is not None:
            with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
                rows += _grown("catalog/query-postgresql-ms-at", "PostgreSQL", Path(folder), uri, sizes, rounds)
    return rows


def _grown(id: str, database: str, root: Path, uri: str | None, sizes: tuple[int, ...], rounds: int) -> list[Row]:
    folder = DataFolder(root).make()
    ensure_server(folder, database_uri=uri)
    rows: list[Row] = []
    before_s, held = 0.0, 0
    try:
        with open_catalog(folder) as catalog:
            catalog.shelf("raw")
            where = uri or f"sqlite:///{folder.catalog / 'catalog.db'}"
            for size in sizes:
                insert_runs(where, held, size)
                held = size
                seconds = {name: _timed(ask, rounds) for name, ask in _questions(catalog, size).items()}
                taken_s = seconds.pop("sample")
                told = ", ".join(f"{name} {s * 1e3:.0f}" for name, s in seconds.items())
                growth = f", {taken_s / before_s:.1f} times as long as with a tenth" if before_s else ""
                name = f"{database}, newest ten of a sample{growth}; ms of others: {told}; goal"
                rows.append(Row.limited(f"{id}-{size}", taken_s * 1e3, 200.0, unit="ms", name=name))
                before_s = taken_s
    finally:
        stop_server(folder)
    return rows


def _questions(catalog: Catalog, size: int) -> dict[str, Callable[[], object]]:
    uid = run_uid(size // 2)
    return {
        "sample": lambda: catalog.runs(sample="slide 3", limit=10),
        "newest": lambda: catalog.runs(limit=10),
        "plan and day": lambda: catalog.runs(plan="z_stack", since=_FIRST_S + size * 0.9 * 600, limit=10),
        "condition": lambda: catalog.runs(where="sample_age_h>=30", limit=10),
        "uid": lambda: catalog.run(uid[:8]),
        "-1": lambda: catalog.run(-1),
    }


def _timed(ask: Callable[[], object], rounds: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        ask()
        return time.perf_counter() - began

    once()
    return median(once() for _ in range(rounds))


def run_uid(n: int) -> str:
    """Return the uid of the nth run that was inserted."""
    return str(UUID(bytes=np.random.default_rng(n).bytes(16), version=4))


def insert_runs(database_uri: str, first: int, stop: int) -> None:
    """Insert runs `first` to `stop` into `raw` as a writer would leave them: a run, its stream, their metadata."""
    from sqlalchemy import insert, select
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.catalog.orm import Node
    from tiled.structures.core import StructureFamily
    from tiled.utils import ensure_specified_sql_driver

    def node(parent: int, key: str, metadata: Mapping[str, Any], spec: str) -> dict[str, Any]:
        return {
            "parent": parent,
            "key": key,
            "structure_family": StructureFamily.container,
            "metadata": dict(metadata),
            "specs": [{"name": spec, "version": "3.0"}],
        }

    async def work() -> None:
        engine = create_async_engine(ensure_specified_sql_driver(database_uri))
        try:
            nodes: Any = Node.__table__
            async with engine.begin() as connection:
                raw = (await connection.execute(select(Node.id).where(Node.key == "raw"))).scalar_one()
                uids = [run_uid(n) for n in range(first, stop)]
                runs = [node(raw, uid, run_metadata(first + k, uid), "BlueskyRun") for k, uid in enumerate(uids)]
                await connection.execute(insert(nodes), runs)
                found = await connection.execute(select(Node.key, Node.id).where(Node.parent == raw))
                ids = {row.key: row.id for row in found}
                streams = [node(ids[uid], "primary", {"hints": {}}, "BlueskyEventStream") for uid in uids]
                await connection.execute(insert(nodes), streams)
        finally:
            await engine.dispose()

    asyncio.run(work())


def run_metadata(n: int, uid: str) -> dict[str, Any]:
    """Return start and stop document of the nth run, one each ten minutes, as `z_stack` writes them."""
    begun_s = _FIRST_S + n * 600.0
    start = {
        "uid": uid,
        "time": begun_s,
        "scan_id": n + 1,
        "plan_name": ("z_stack", "time_lapse", "acquire_sections")[n % 3],
        "plan_type": "generator",
        "sample": f"slide {n % 10}",
        "sample_age_h": n % 40,
        "instrument": "simulated",
        "operator": ("night", "day")[n // 72 % 2],
        "num_points": 81,
        "num_intervals": 80,
        "plan_args": {"half_range_um": 10.0, "step_um": 0.25, "channels": ["405", "488"], "exposure_s": 0.02},
        "hints": {"dimensions": [[["stage_z"], "primary"]]},
        "versions": {"bluesky": "1.15.1", "ophyd": "1.11.1", "parfocal": "0.1.0"},
        "parfocal": {"camera": "camera", "axes": {"x": "stage_x", "y": "stage_y", "z": "stage_z"}},
    }
    stop = {
        "uid": run_uid(n + 10_000_000),
        "time": begun_s + 60.0,
        "run_start": uid,
        "exit_status": "success",
        "reason": "",
        "num_events": {"primary": 81, "baseline": 2},
    }
    return {"start": start, "stop": stop}


@contextlib.contextmanager
def postgresql() -> Generator[str | None]:
    """Start a PostgreSQL of our own, as an unprivileged user; yield its URI, None where it is not installed."""
    programs = _postgresql_programs()
    as_user: list[str] = []
    if programs is not None and hasattr(os, "geteuid") and os.geteuid() == 0:  # it refuses to run as root
        if shutil.which("runuser") is None:
            programs = None
        as_user = ["runuser", "-u", "nobody", "--"]
    if programs is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = Path(tempfile.mkdtemp(prefix="parfocal-postgresql-"))
    if as_user:
        shutil.chown(home, "nobody")
    data = str(home / "data")
    control = [*as_user, str(programs / "pg_ctl"), "-D", data, "-w"]
    quiet: dict[str, Any] = {
        "check": True,
        "cwd": home,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    try:
        initialize = [str(programs / "initdb"), "-D", data, "-U", "parfocal", "--auth=trust", "--no-sync"]
        subprocess.run([*as_user, *initialize], **quiet)
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1"
        subprocess.run([*control, "-l", str(home / "log"), "-o", options, "start"], **quiet)
        try:
            yield f"postgresql://parfocal@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _postgresql_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None
