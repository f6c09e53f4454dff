"""Verdicts of audited runs into a ledger: one `slice_config.csv` a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, StageResult, Stamp

_LOG = logging.getLogger(__name__)
_STREAM = "audit"


@dataclass
class _Attempt:
    accepted: bool
    reason: str


@dataclass
class _AuditedRun:
    uid: str
    plan: str
    auditor: str
    descriptors: set[str] = field(default_factory=set[str])
    attempts: dict[str, dict[int, _Attempt]] = field(default_factory=dict[str, dict[int, _Attempt]])


class SliceLedgerFiles:
    """Write the ledger of every run whose slices were audited.

    Subscribe it to a RunEngine, or `replay` runs to it. Each run with a `parfocal.audit` block in its start
    document gets `<folder>/<first 8 of its uid>/slice_config.csv` with its event log beside it, when it ends:
    `use` by the last verdict on each slice, the reasons of rejected attempts as notes, and `auto_excluded` with
    the reason where the last attempt was rejected too. A run that is replayed to it gets its files anew.
    Whatever goes wrong is logged: a file that cannot be written must not end a plan.

    Parameters
    ----------
    folder : path
        Where the files go.

    Attributes
    ----------
    written : list of Path
        What has been written, newest last.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.written: list[Path] = []
        self._runs: dict[str, _AuditedRun] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            audit = doc.get("parfocal", {}).get("audit")
            if audit is not None:
                self._runs[doc["uid"]] = _AuditedRun(doc["uid"], doc.get("plan_name", ""), audit["auditor"])
        elif name == "descriptor":
            run = self._runs.get(doc["run_start"])
            if run is not None and doc.get("name") == _STREAM:
                run.descriptors.add(doc["uid"])
        elif name == "event":
            for run in self._runs.values():
                if doc["descriptor"] in run.descriptors:
                    _note(run, doc["data"])
        elif name == "stop":
            run = self._runs.pop(doc["run_start"], None)
            if run is not None and run.attempts:
                self._write(run, float(doc["time"]))

    def _write(self, run: _AuditedRun, time_s: float) -> None:
        target = self.folder / run.uid[:8] / "slice_config.csv"
        try:
            ledger = SliceLedger().apply(ledger_stage(run), run_uid=run.uid, time_s=time_s)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.written.append(ledger.save(target, replace=True))
        except (BadInputError, OSError) as error:
            _LOG.error("the ledger of run %s was not written: %s", run.uid[:8], error)


def _note(run: _AuditedRun, data: dict[str, Any]) -> None:
    """Keep a verdict; a later one on the same attempt replaces it."""

    def told(key: str) -> Any:
        return data[f"{run.auditor}_{key}"]

    attempt = _Attempt(bool(told("accepted")), str(told("reason")))
    run.attempts.setdefault(str(told("slice_id")), {})[int(told("attempt"))] = attempt


def ledger_stage(run: _AuditedRun) -> StageResult:
    """Return the stamps of an audited run."""
    stamps: list[Stamp] = []
    for slice_id, attempts in run.attempts.items():
        last = attempts[max(attempts)]
        stamps.append(Stamp(slice_id, "use", last.accepted))
        stamps.append(Stamp(slice_id, "auto_excluded", not last.accepted))
        if not last.accepted:
            stamps.append(Stamp(slice_id, "auto_exclude_reason", last.reason))
        for number, attempt in sorted(attempts.items()):
            if not attempt.accepted:
                stamps.append(Stamp(slice_id, "notes", f"attempt {number}: {attempt.reason}", append=True))
    return StageResult(run.plan or "acquire", tuple(stamps))
