"""`catalog`: what writing costs the plan, how soon it is visible, how it grows, how runs are found."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast
from uuid import uuid4

import numpy as np
import pyarrow as pa
from bluesky import RunEngine
from bluesky import plans as bp
from ophyd.sim import SynAxis

from parfocal.bench._catalog_queries import query_rows
from parfocal.bench._memory import memory_growth
from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.catalog import Catalog, CatalogWriter, open_catalog, stop_server

_N_EVENTS = 200
_ROWS = 500_000


def catalog(rounds: int = 7) -> list[Row]:
    """Measure the catalog of fresh data folders, each with a server of its own, and the memory of a night."""
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-", ignore_cleanup_errors=True) as folder:
        opened = open_catalog(folder)
        writer = CatalogWriter(opened)
        try:
            rows = [
                _added_per_event(writer, rounds),
                _seconds_to_visible(opened, writer),
                _rows_per_second(opened, writer),
            ]
        finally:
            writer.close()
            stop_server(Path(folder))
    return [*rows, *query_rows(), memory_growth()]


def _added_per_event(writer: CatalogWriter, rounds: int) -> Row:
    """Return what the subscribed writer adds to each event of a scan, in the RunEngine's thread."""
    plain, written = _engine(None), _engine(writer)
    bare_s, with_s = interleaved(lambda: _scan(plain), lambda: _scan(written), rounds=rounds)
    writer.drain(120)
    added_ms = (with_s - bare_s) / _N_EVENTS * 1e3
    return Row.limited("catalog/added-ms-per-event", max(added_ms, 1e-3), 1.0, unit="ms")


def _engine(writer: CatalogWriter | None) -> RunEngine:
    engine = RunEngine({}, loop=asyncio.new_event_loop())
    if writer is not None:
        engine.subscribe(writer)
    return engine


def _scan(engine: RunEngine) -> float:
    motor = SynAxis(name="motor")
    began = time.perf_counter()
    engine(bp.scan([cast(Any, motor)], motor, 0, 1, _N_EVENTS))
    return time.perf_counter() - began


def _seconds_to_visible(opened: Catalog, writer: CatalogWriter) -> Row:
    """Return the time from an event handed to the writer until a second client reads it."""
    reader = open_catalog(opened.folder)
    delays: list[float] = []
    for _ in range(5):
        uid = str(uuid4())
        descriptor, send = _start_run(writer, uid)
        for seq_num in range(1, 4):
            began = time.perf_counter()
            send(seq_num)
            _wait(lambda n=seq_num, u=uid: _events_visible(reader, u) >= n)
            delays.append(time.perf_counter() - began)
        writer("stop", {"uid": str(uuid4()), "time": time.time(), "run_start": uid, "exit_status": "success"})
        del descriptor
    writer.drain(60)
    return Row.limited("catalog/seconds-to-visible", median(delays), 1.0, unit="s")


def _start_run(writer: CatalogWriter, uid: str, **start: Any) -> tuple[str, Callable[[int], None]]:
    descriptor = str(uuid4())
    writer("start", {"uid": uid, "time": time.time(), "plan_name": "bench", **start})
    writer(
        "descriptor",
        {
            "uid": descriptor,
            "time": time.time(),
            "run_start": uid,
            "name": "primary",
            "data_keys": {"value": {"source": "bench", "dtype": "number", "shape": [], "dtype_numpy": "<f8"}},
            "configuration": {},
            "hints": {},
            "object_keys": {"bench": ["value"]},
        },
    )

    def send(seq_num: int) -> None:
        now = time.time()
        writer(
            "event",
            {
                "uid": str(uuid4()),
                "time": now,
                "descriptor": descriptor,
                "seq_num": seq_num,
                "data": {"value": float(seq_num)},
                "timestamps": {"value": now},
                "filled": {},
            },
        )

    return descriptor, send


def _events_visible(reader: Catalog, uid: str) -> int:
    try:
        run: Any = reader.raw[uid]
        return len(run["primary"].read()["value"])
    except (KeyError, ValueError):
        return 0


def _wait(until: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing became visible")
        time.sleep(0.01)


def _rows_per_second(opened: Catalog, writer: CatalogWriter) -> Row:
    """Write a table of localizations (8 columns) in batches of 10,000 rows."""
    uid = str(uuid4())
    rng = np.random.default_rng(0)
    columns = {f"column_{i}": rng.normal(size=10_000) for i in range(8)}
    batch = pa.table(columns)
    began = time.perf_counter()
    for _ in range(_ROWS // 10_000):
        opened.append_rows(uid, "localizations", batch)
    return Row.limited(
        "catalog/rows-per-s",
        _ROWS / (time.perf_counter() - began),
        50_000,
        unit="rows/s",
        higher_is_better=True,
    )
