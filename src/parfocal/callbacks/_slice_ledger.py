"""Verdicts of runs into a ledger: rebuilt from a stored run, or one `slice_config.csv` a run as they come."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parfocal.catalog import live_order
from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, StageResult, Stamp

_LOG = logging.getLogger(__name__)
_AUDIT = "audit"
SECTION_STAGES, SLICE_AUDIT = "section_stages", "slice_audit"
_STREAMS = {SECTION_STAGES: "stamps", SLICE_AUDIT: "slices"}


@dataclass(frozen=True)
class Attempt:
    """The verdict on one attempt."""

    accepted: bool
    reason: str


Attempts = dict[int, dict[int, Attempt]]
"""Verdicts on one slice, by plane, then by number of the attempt."""


def standing(attempts: Mapping[int, Attempt]) -> int:
    """Return which attempt counts: the last accepted one, else the last."""
    return max((n for n, one in attempts.items() if one.accepted), default=max(attempts))


def verdict_stamps(slices: Mapping[str, Attempts]) -> tuple[Stamp, ...]:
    """Return the stamps of audited slices; one of several planes is used as long as one of them is accepted."""
    stamps: list[Stamp] = []
    for slice_id, planes in slices.items():
        stand = [attempts[standing(attempts)] for attempts in planes.values()]
        is_used = any(one.accepted for one in stand)
        stamps.append(Stamp(slice_id, "use", is_used))
        stamps.append(Stamp(slice_id, "auto_excluded", not is_used))
        if not is_used:
            reasons = dict.fromkeys(one.reason for one in stand if one.reason)
            stamps.append(Stamp(slice_id, "auto_exclude_reason", "; ".join(reasons) or "rejected"))
        for plane, attempts in sorted(planes.items()):
            which = f"plane {plane}, attempt" if len(planes) > 1 else "attempt"
            for number, attempt in sorted(attempts.items()):
                if not attempt.accepted:
                    note = f"{which} {number}: {attempt.reason or 'rejected'}"
                    stamps.append(Stamp(slice_id, "notes", note, append=True))
    return tuple(stamps)


@dataclass
class _LedgerRun:
    """A run whose verdicts go into a ledger, gathered from its documents."""

    start: Mapping[str, Any]
    kind: str
    descriptors: set[str] = field(default_factory=set[str])
    slices: dict[str, Attempts] = field(default_factory=dict[str, Attempts])
    # By seq_num, so that a repeated event replaces the one before it.
    stamps: dict[int, tuple[str, Stamp, float]] = field(default_factory=dict[int, tuple[str, Stamp, float]])

    def take(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a descriptor or an event."""
        if name == "descriptor" and doc.get("name") == _STREAMS.get(self.kind, _AUDIT):
            self.descriptors.add(doc["uid"])
        elif name == "event" and doc["descriptor"] in self.descriptors:
            self._note(doc)

    def _note(self, doc: Mapping[str, Any]) -> None:
        data = doc["data"]
        if self.kind == SECTION_STAGES:
            value = str(data["value"]) or None
            stamp = Stamp(str(data["slice_id"]), str(data["column"]), value, bool(data["append"]))
            self.stamps[int(doc["seq_num"])] = (str(data["stage"]), stamp, float(doc["time"]))
            return
        if self.kind == SLICE_AUDIT:
            prefix, plane, attempt = "", int(data["plane"]), int(data["attempts"])
        else:
            prefix = f"{self.start['parfocal']['audit']['auditor']}_"
            plane, attempt = 0, int(data[f"{prefix}attempt"])
        verdict = Attempt(bool(data[f"{prefix}accepted"]), str(data[f"{prefix}reason"]))
        slice_id = str(data[f"{prefix}slice_id"])
        self.slices.setdefault(slice_id, {}).setdefault(plane, {})[attempt] = verdict

    def ledger(self, time_s: float) -> SliceLedger | None:
        """Return what they come to, `time_s` being when; None where there was no verdict."""
        uid = str(self.start["uid"])
        if self.slices:
            stage = SLICE_AUDIT if self.kind == SLICE_AUDIT else str(self.start.get("plan_name") or "acquire")
            return SliceLedger().apply(StageResult(stage, verdict_stamps(self.slices)), run_uid=uid, time_s=time_s)
        ledger = SliceLedger()
        by_stage: dict[str, list[Stamp]] = {}
        when: dict[str, float] = {}
        for _, (stage, stamp, stamped_s) in sorted(self.stamps.items()):
            by_stage.setdefault(stage, []).append(stamp)
            when.setdefault(stage, stamped_s)
        for stage, stamps in by_stage.items():
            ledger = ledger.apply(stamps, stage=stage, run_uid=uid, time_s=when[stage])
        return ledger if by_stage else None


def _ledger_run(start: Mapping[str, Any]) -> _LedgerRun | None:
    """Return what gathers the verdicts of a run that has some by its start document, else None."""
    about = start.get("parfocal", {})
    if about.get("analysis") in _STREAMS:
        return _LedgerRun(start, str(about["analysis"]))
    return _LedgerRun(start, _AUDIT) if about.get("audit") is not None else None


def ledger_of(run: Any) -> SliceLedger:
    """Return the ledger that a stored run comes to; its events carry the run's uid.

    Parameters
    ----------
    run : BlueskyRun, or iterable of documents
        A derived run of `section_stages` or `slice_audit`, or a raw run whose plan audits its slices
        (`acquire_sections`, `z_stack_audited`).

    Raises
    ------
    BadInputError
        It is no such run, or holds no verdict.

    See Also
    --------
    SliceLedgerFiles : writes a file when a run ends.
    """
    documents: Iterable[Any] = live_order(run.documents()) if hasattr(run, "documents") else run
    found: _LedgerRun | None = None
    uid, time_s = "", 0.0
    for name, doc in documents:
        if name == "start":
            uid, found = str(doc["uid"]), _ledger_run(doc)
        elif found is not None:
            found.take(name, doc)
        time_s = float(doc.get("time", time_s))
    if found is None:
        raise BadInputError(
            f"run {uid[:8]} has no verdicts on slices; a run of {SECTION_STAGES} or {SLICE_AUDIT} was expected, "
            "or one of acquire_sections"
        )
    ledger = found.ledger(time_s)
    if ledger is None:
        raise BadInputError(f"run {uid[:8]}: nothing was decided in it; did it fail? `parfocal show {uid[:8]}`")
    return ledger


class SliceLedgerFiles:
    """Write the ledger of every run in which slices are judged.

    Subscribe it to a RunEngine, to a `SectionStages` or `SliceAudit`, or `replay` runs to it. Each run with
    verdicts gets `<folder>/<first 8 of its uid>/slice_config.csv` with its event log beside it, when it ends: of
    those, what the stages stamped; of a raw run with a `parfocal.audit` block in its start document, `use` by the
    verdict on each slice, the reasons of rejected attempts as notes, and `auto_excluded` with the reason where no
    attempt was accepted. A run that is replayed to it gets its files anew. Whatever goes wrong is logged: a file
    that cannot be written must not end a plan.

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
        self._runs: dict[str, _LedgerRun] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            run = _ledger_run(doc)
            if run is not None:
                self._runs[doc["uid"]] = run
        elif name == "descriptor":
            run = self._runs.get(doc["run_start"])
            if run is not None:
                run.take(name, doc)
        elif name == "event":
            for run in self._runs.values():
                run.take(name, doc)
        elif name == "stop":
            run = self._runs.pop(doc["run_start"], None)
            if run is not None:
                self._write(run, str(doc["run_start"]), float(doc["time"]))

    def _write(self, run: _LedgerRun, uid: str, time_s: float) -> None:
        target = self.folder / uid[:8] / "slice_config.csv"
        try:
            ledger = run.ledger(time_s)
            if ledger is None:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            self.written.append(ledger.save(target, replace=True))
        except (BadInputError, OSError) as error:
            _LOG.error("the ledger of run %s was not written: %s", uid[:8], error)
