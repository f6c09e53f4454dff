"""`slices`, the ledger's part: rows a second through a stage, and whether large ledgers cost more a row."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.slices import SliceLedger, StageResult, Stamp
from parfocal.slices.ledger import events_path
from parfocal.slices.sections import generate

_MANY, _FEW = 100_000, 10_000


def ledger_rows(rounds: int = 3) -> list[Row]:
    """Measure a stage of the ledger at 100,000 slices: read it with its events, stamp every slice, save both.

    Peer is pandas with the same CSV: `read_csv`, one column set, `to_csv`. It checks no cell and keeps no events,
    so a tenth of its speed is the goal. The second row is the ledger against itself: a row of 100,000 should
    cost no more than a row of 10,000.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder:
        root = Path(folder)
        many, few = _begun(root / "many.csv", _MANY), _begun(root / "few.csv", _FEW)
        ours, small, theirs = interleaved(
            lambda: _seconds(many), lambda: _seconds(few), lambda: _pandas_seconds(many), rounds=rounds
        )
    name = f"pandas {pd.__version__}: unchecked, without events"
    return [
        Row.compared(
            "slices/ledger-rows-per-s",
            _MANY / ours,
            _MANY / theirs,
            peer_name=name,
            unit="rows/s",
            goal=0.1,
            higher_is_better=True,
        ),
        Row.compared(
            "slices/ledger-linear",
            _MANY / ours,
            _FEW / small,
            peer_name=f"itself with {_FEW:,} slices",
            unit="rows/s",
            goal=0.7,
            higher_is_better=True,
        ),
    ]


def _begun(path: Path, n: int) -> Path:
    return SliceLedger().apply(generate(range(n))).save(path)


def _seconds(path: Path) -> float:
    start = time.perf_counter()
    before = SliceLedger.read(path)
    stamps = tuple(Stamp(sid, "quality_score", (i % 1000) / 1000) for i, sid in enumerate(before.rows))
    written = before.apply(StageResult("assess", stamps)).save(path.with_stem(f"{path.stem}_next"), replace=True)
    seconds = time.perf_counter() - start
    for file in (written, events_path(written)):
        file.unlink()
    return seconds


def _pandas_seconds(path: Path) -> float:
    start = time.perf_counter()
    table = pd.read_csv(path, dtype={"slice_id": str})
    table["quality_score"] = [(i % 1000) / 1000 for i in range(len(table))]
    target = path.with_stem(f"{path.stem}_pandas")
    table.to_csv(target, index=False, float_format="%.3f")
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds
