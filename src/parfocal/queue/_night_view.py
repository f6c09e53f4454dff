"""From documents and status to what one sees of a night: pure functions, a state in and a state out.

Documents may come twice (from a run's log, and from the wire), late, or not at all: what is counted is counted by
`seq_num`, a stream whose descriptor was missed is passed over, and a stop without its start counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from parfocal.queue._night_state import (
    KEPT_ERRORS,
    KEPT_EVENTS,
    KEPT_FAULTS,
    KEPT_RUNS,
    AnalysisView,
    CatalogView,
    FaultKind,
    FaultView,
    LockView,
    NightView,
    QueueView,
    RunView,
    Stream,
    VerdictView,
)

SUPERVISOR = "supervisor"
_INCIDENTS = "incidents"
COUNTED = ("primary", "sweep", "retraining", "faults")
"""Streams by which a run's progress is told: the first of these that it has."""


def heard(view: NightView, name: str, doc: Mapping[str, Any]) -> NightView:
    """Return the view after a document."""
    if name == "start":
        return _started(view, doc)
    if name == "descriptor":
        return _described(view, doc)
    if name == "stop":
        return _stopped(view, doc)
    if name in ("event", "event_page", "stream_datum"):
        stream = view.streams.get(doc["descriptor"])
        if stream is None:
            return view
        if name == "stream_datum":
            return _counted(view, stream, int(doc["seq_nums"]["stop"]) - 1)
        if stream.name == "lock" and _is_raw(view, stream.run_uid):
            return _locked(view, stream, doc)
        for seq_num, time_s, data in _events(name, doc):
            view = _happened(view, stream, seq_num, time_s, data)
    return view


def asked(view: NightView, queue: QueueView) -> NightView:
    """Return the view after the RE Manager was asked; one that is away keeps what it said last."""
    before = view.queue
    if queue.away:
        kept = before or QueueView()
        return replace(view, queue=replace(kept, away=queue.away, manager="", engine=""))
    view = replace(view, queue=queue)
    return _orphaned(view) if before is not None and before.has_worker and not queue.has_worker else view


def _orphaned(view: NightView) -> NightView:
    """Return the view after the worker has gone: what it took is cut off, and nobody will say so in a document."""
    analyses = {name: replace(one, n_running=0) for name, one in view.analyses.items()}
    open_runs = {uid: name for uid, name in view.runs.items() if uid not in view.derived and name == SUPERVISOR}
    streams = {key: stream for key, stream in view.streams.items() if stream.run_uid in open_runs}
    lost = tuple(uid for uid in view.runs if uid not in open_runs)
    run = view.run
    cut_off = run is not None and run.is_running
    view = replace(
        view,
        analyses=analyses,
        runs=open_runs,
        derived=frozenset(),
        streams=streams,
        lost=(*view.lost, *lost)[-KEPT_RUNS:],
        n_failed=view.n_failed + cut_off,
        n_runs=view.n_runs + cut_off,
    )
    if run is None or not cut_off:
        return view
    at_s = view.heard_s or run.began_s
    view = replace(view, run=replace(run, exit_status="cut off", reason="its worker is gone", ended_s=at_s))
    return _with_fault(
        view, FaultView(at_s, "run_failed", "cut off: its worker is gone", run.plan_name, uid=run.uid)
    )


def looked(view: NightView, catalog: CatalogView) -> NightView:
    """Return the view after somebody looked for the catalog."""
    return replace(view, catalog=catalog)


def remembered(view: NightView, history: Sequence[Mapping[str, Any]]) -> NightView:
    """Return the view with items of the queue's history that failed, where no document told of them.

    Parameters
    ----------
    view : NightView
        Before.
    history : sequence of mapping
        Items as the RE Manager gives them: `name`, `item_uid` and `result`.
    """
    known = {fault.uid for fault in view.faults}
    for item in history:
        result = item.get("result") or {}
        if result.get("exit_status") in (None, "completed", "stopped"):
            continue
        uids = (str(item.get("item_uid", "")), *(str(uid) for uid in result.get("run_uids") or ()))
        if known & set(uids):
            continue
        known.update(uids)
        said = str(result.get("msg") or result["exit_status"]).removeprefix("Plan failed: ")
        fault = FaultView(
            float(result.get("time_stop") or 0.0),
            "plan_failed",
            " ".join(said.split()),
            str(item.get("name", "")),
            uid=uids[0],
        )
        view = _with_fault(view, fault)
    return view


# -- start, descriptor, stop -------------------------------------------------------------------------


def _started(view: NightView, doc: Mapping[str, Any]) -> NightView:
    uid = str(doc["uid"])
    if uid in view.runs or uid in view.ended or uid in view.lost:
        return view
    ours = _mapping(doc.get("parfocal"))
    if "raw" in ours:
        name = str(ours.get("analysis", ""))
        before = view.analyses.get(name, AnalysisView())
        analyses = {**view.analyses, name: replace(before, n_running=before.n_running + 1, rows={})}
        return replace(view, runs={**view.runs, uid: name}, derived=view.derived | {uid}, analyses=analyses)
    plan = str(doc.get("plan_name", ""))
    view = replace(view, runs={**view.runs, uid: plan})
    if plan == SUPERVISOR or (view.run is not None and float(doc.get("time", 0.0)) < view.run.began_s):
        return view
    n_expected, unit = _expected(doc)
    sample = doc.get("sample", "")
    run = RunView(
        uid,
        plan,
        scan_id=int(doc.get("scan_id") or 0),
        sample=str(_mapping(sample).get("name", "") if isinstance(sample, Mapping) else sample),
        instrument=str(doc.get("instrument", "")),
        began_s=float(doc.get("time", 0.0)),
        n_expected=n_expected,
        unit=unit,
        n_positions=_n_positions(doc),
    )
    return replace(view, run=run, lock=None, verdicts=VerdictView())


def _described(view: NightView, doc: Mapping[str, Any]) -> NightView:
    run_uid = str(doc["run_start"])
    if run_uid not in view.runs:
        return view
    keys: frozenset[str] = frozenset(_mapping(doc.get("data_keys")))
    stream = Stream(run_uid, str(doc.get("name", "")), keys)
    return replace(view, streams={**view.streams, str(doc["uid"]): stream})


def _stopped(view: NightView, doc: Mapping[str, Any]) -> NightView:
    uid = str(doc["run_start"])
    if uid not in view.runs:
        return view
    name, at_s = view.runs[uid], float(doc.get("time", 0.0))
    status, reason = str(doc.get("exit_status", "")), " ".join(str(doc.get("reason") or "").split())
    gone = {key for key, stream in view.streams.items() if stream.run_uid == uid}
    is_raw = _is_raw(view, uid)
    view = replace(
        view,
        runs={key: value for key, value in view.runs.items() if key != uid},
        streams={key: stream for key, stream in view.streams.items() if key not in gone},
        seen={key: n for key, n in view.seen.items() if key.partition("/")[0] != uid},
        derived=view.derived - {uid},
        ended=(*view.ended, uid)[-KEPT_RUNS:],
    )
    if not is_raw:
        return _analysis_ended(view, name, status, reason, _mapping(doc.get("parfocal")), at_s, uid)
    if name == SUPERVISOR:
        return view
    run = view.run
    if run is not None and run.uid == uid:
        view = replace(view, run=replace(run, exit_status=status, reason=reason, ended_s=at_s))
    failed = status != "success"
    view = replace(view, n_runs=view.n_runs + 1, n_failed=view.n_failed + failed)
    return _with_fault(view, FaultView(at_s, "run_failed", reason or status, name, uid=uid)) if failed else view


def _analysis_ended(
    view: NightView, name: str, status: str, reason: str, ours: Mapping[str, Any], at_s: float, uid: str
) -> NightView:
    before = view.analyses.get(name, AnalysisView())
    verdict, failed = str(ours.get("verdict", "")), status != "success"
    after = replace(
        before,
        n_running=max(0, before.n_running - 1),
        n_ended=before.n_ended + 1,
        n_failed=before.n_failed + failed,
        verdicts=_one_more(before.verdicts, verdict) if verdict else before.verdicts,
    )
    view = replace(view, analyses={**view.analyses, name: after})
    return _with_fault(view, FaultView(at_s, "analysis_failed", reason, name, uid=uid)) if failed else view


# -- events -------------------------------------------------------------------------------------------


def _happened(view: NightView, stream: Stream, seq_num: int, time_s: float, data: Mapping[str, Any]) -> NightView:
    view = replace(_counted(view, stream, seq_num), heard_s=max(view.heard_s, time_s))
    key = f"{stream.run_uid}/{stream.name}/event"  # of a frame there is a datum too, which comes first
    if seq_num <= view.seen.get(key, 0):
        return view
    view = replace(view, seen={**view.seen, key: seq_num})
    if _is_raw(view, stream.run_uid):
        view = _timed(view, stream, seq_num, time_s)
        if stream.name == "primary":
            view = _at(view, stream, data)
        view = _faulted(view, stream, time_s, data)
        if stream.name != "autofocus":
            view = _judged(view, stream, data)
    return view


def _counted(view: NightView, stream: Stream, n: int) -> NightView:
    """Count up to `n` events of a stream; a number that was there before adds nothing."""
    key = f"{stream.run_uid}/{stream.name}"
    before = view.seen.get(key, 0)
    if n <= before:
        return view
    view = replace(view, seen={**view.seen, key: n})
    run = view.run
    if not _is_raw(view, stream.run_uid):
        name = view.runs[stream.run_uid]
        one = view.analyses.get(name, AnalysisView())
        return replace(view, analyses={**view.analyses, name: replace(one, rows={**one.rows, stream.name: n})})
    if stream.name == "primary":
        view = replace(view, n_frames=view.n_frames + n - before)
    if run is None or run.uid != stream.run_uid:
        return view
    run = replace(run, counts={**run.counts, stream.name: n})
    if stream.name == _main_stream(run) and run.unit in ("frames", "steps"):
        run = replace(run, n_done=n)
    return replace(view, run=run)


def _timed(view: NightView, stream: Stream, n: int, time_s: float) -> NightView:
    run = view.run
    if run is None or run.uid != stream.run_uid or stream.name != _main_stream(run):
        return view
    return replace(view, run=replace(run, recent=(*run.recent, (time_s, n))[-KEPT_EVENTS:]))


def _main_stream(run: RunView) -> str:
    return next((name for name in COUNTED if name in run.counts), "")


def _at(view: NightView, stream: Stream, data: Mapping[str, Any]) -> NightView:
    run = view.run
    if run is None or run.uid != stream.run_uid:
        return view
    z_um = next((data[key] for key in data if key.endswith("stage_z")), run.z_um)
    run = replace(
        run,
        position=int(data.get("point_position", run.position)),
        position_name=str(data.get("point_position_name", run.position_name)),
        time_point=int(data.get("point_time_point", run.time_point)),
        plane=int(data.get("point_plane", run.plane)),
        channel=str(data.get("point_channel") or data.get("light_channel") or run.channel),
        attempt=int(data.get("point_attempt", run.attempt)),
        z_um=float(z_um),
    )
    return replace(view, run=run)


def _judged(view: NightView, stream: Stream, data: Mapping[str, Any]) -> NightView:
    key = next((key for key in data if key.endswith("_accepted") and f"{key[:-9]}_reason" in data), "")
    run = view.run
    if run is None or run.uid != stream.run_uid:
        return view
    if key:
        prefix = key[:-9]
        accepted, late = bool(data[key]), bool(data.get(f"{prefix}_timed_out", 0))
        reason = str(data[f"{prefix}_reason"])
        view = replace(
            view,
            verdicts=_with_verdict(view.verdicts, accepted, late, reason),
            night_verdicts=_with_verdict(view.night_verdicts, accepted, late, reason),
        )
        run = replace(run, slice_id=str(data.get(f"{prefix}_slice_id", run.slice_id)))
    if "progress_total" in data:
        total, done = int(data["progress_total"]), int(data["progress_done"])
        done = min(total, done + bool(data.get(key, 0)))  # those before this one, and this one
        run = replace(run, unit="slices", n_done=done, n_expected=total)
        of_night, retaken = view.night_verdicts, int(data.get("progress_retaken", 0))
        more = max(0, retaken - view.verdicts.n_retaken)
        view = replace(
            view,
            verdicts=replace(view.verdicts, n_retaken=retaken),
            night_verdicts=replace(of_night, n_retaken=of_night.n_retaken + more),
        )
    return replace(view, run=run)


def _with_verdict(before: VerdictView, accepted: bool, late: bool, reason: str) -> VerdictView:
    return replace(
        before,
        n_accepted=before.n_accepted + accepted,
        n_rejected=before.n_rejected + (not accepted),
        n_timed_out=before.n_timed_out + late,
        reasons=before.reasons if accepted else _one_more(before.reasons, reason or "no reason"),
    )


def _faulted(view: NightView, stream: Stream, time_s: float, data: Mapping[str, Any]) -> NightView:
    plan, kind, what, outcome = view.runs.get(stream.run_uid, ""), "", "", ""
    if "failure_reason" in data:
        where = data.get("failure_position_name") or data.get("failure_position", data.get("failure_step", ""))
        outcome = str(data.get("failure_action", ""))
        kind = "" if outcome == "abort" else "position_failed"  # then the run itself fails, with the same words
        what = f"{where}: {data['failure_reason']}"
    elif "injected_fault" in data:
        kind, what = "injected", f"{data['injected_fault']} after {data.get('injected_after_frames', 0)} frames"
    elif stream.name == _INCIDENTS and "incident_kind" in data:
        return _with_incident(view, time_s, data)
    if not kind:
        return view
    said: FaultKind = kind
    fault = FaultView(time_s, said, " ".join(what.split()), plan, " ".join(outcome.split()), stream.run_uid)
    return _with_fault(view, fault)


def _with_incident(view: NightView, time_s: float, data: Mapping[str, Any]) -> NightView:
    """Take in what a supervisor did: about a failure that is known, or about something of its own."""
    told = {key.removeprefix("incident_"): " ".join(str(value).split()) for key, value in data.items()}
    outcome = ": ".join(told[key] for key in ("action", "outcome") if told.get(key))
    item = told.get("item_uid", "")
    uids = {uid for uid in (item, *told.get("run_uids", "").split(",")) if uid}
    known = [k for k, fault in enumerate(view.faults) if fault.uid in uids and fault.kind.endswith("_failed")]
    if told["kind"] == "plan_failed" and known:
        faults = list(view.faults)
        faults[known[-1]] = replace(faults[known[-1]], outcome=outcome)
        return replace(view, faults=tuple(faults))
    what = f"{told['kind'].replace('_', ' ')}: {told.get('what', '')}"
    return _with_fault(view, FaultView(time_s, "incident", what, told.get("plan", ""), outcome, item))


def _locked(view: NightView, stream: Stream, doc: Mapping[str, Any]) -> NightView:
    """Take in samples of the lock: an event, or a page of them."""
    seq_nums: Any = doc["seq_num"] if isinstance(doc["seq_num"], list) else [doc["seq_num"]]
    times: Any = doc["time"] if isinstance(doc["time"], list) else [doc["time"]]
    if not seq_nums:
        return view
    view = replace(_counted(view, stream, int(seq_nums[-1])), heard_s=max(view.heard_s, float(times[-1])))
    run, data = view.run, _mapping(doc["data"])
    prefix = next((key[: -len("_error_um")] for key in data if key.endswith("_error_um")), "")
    if run is None or run.uid != stream.run_uid or not prefix:
        return view

    def column(key: str) -> list[Any]:
        values = data.get(f"{prefix}_{key}", [])
        return list(values) if isinstance(values, list | tuple) else [values]

    states, flags = [str(state) for state in column("state")], [str(flag) for flag in column("flags")]
    errors = [float(error) for error in column("error_um") if error is not None and math.isfinite(error)]
    setpoints = [float(value) for value in column("setpoint_um") if value is not None and math.isfinite(value)]
    if not states or (view.lock is not None and times[-1] <= view.lock.at_s):
        return view
    before = view.lock or LockView(states[-1])
    first = (
        0 if before.n_samples else next((k for k, state in enumerate(states) if state == "LOCKED"), len(states))
    )
    lock = replace(
        before,
        state=states[-1],
        error_um=errors[-1] if errors else before.error_um,
        setpoint_um=setpoints[-1] if setpoints else before.setpoint_um,
        at_s=float(times[-1]),
        n_samples=before.n_samples + len(states) - first,
        n_locked=before.n_locked + sum(state == "LOCKED" for state in states[first:]),
        errors_um=(*before.errors_um, sum(errors) / len(errors) if errors else math.nan)[-KEPT_ERRORS:],
        flags=next((flag for flag in reversed(flags) if flag), ""),
    )
    if run.unit == "s":
        run = replace(run, n_done=min(run.n_expected, int(lock.at_s - run.began_s)))
    return replace(view, lock=lock, run=run)


# -- helpers ------------------------------------------------------------------------------------------


def _events(name: str, doc: Mapping[str, Any]) -> Iterator[tuple[int, float, Mapping[str, Any]]]:
    """Yield number, time and data of each event."""
    if name == "event":
        yield int(doc["seq_num"]), float(doc["time"]), doc["data"]
        return
    for k, seq_num in enumerate(doc["seq_num"]):
        yield int(seq_num), float(doc["time"][k]), {key: values[k] for key, values in doc["data"].items()}


def _expected(doc: Mapping[str, Any]) -> tuple[int, str]:
    """Return what a plan means to do, and in which unit."""
    told = _mapping(doc.get("plan_args"))
    if doc.get("num_points"):
        return int(doc["num_points"]), "frames"
    if doc.get("plan_name") == "calibrate_focus" and "n_steps" in told:
        return int(told["n_steps"]) * (2 if told.get("is_bidirectional") else 1), "steps"
    if doc.get("plan_name") == "lock_focus" and "duration_s" in told:
        return int(told["duration_s"]), "s"
    return 0, "frames"


def _n_positions(doc: Mapping[str, Any]) -> int:
    told = _mapping(doc.get("plan_args"))
    sequence = _mapping(_mapping(doc.get("parfocal")).get("useq"))
    for listed in (sequence.get("stage_positions"), told.get("sections_um"), told.get("positions_um")):
        if isinstance(listed, list | tuple) and listed:
            return len(listed)  # pyright: ignore[reportUnknownArgumentType]
    return 0


def _is_raw(view: NightView, run_uid: str) -> bool:
    return run_uid not in view.derived


def _with_fault(view: NightView, fault: FaultView) -> NightView:
    if fault in view.faults:
        return view
    return replace(view, faults=tuple(sorted((*view.faults, fault), key=lambda one: one.at_s))[-KEPT_FAULTS:])


def _one_more(counts: Mapping[str, int], key: str) -> Mapping[str, int]:
    return {**counts, key: counts.get(key, 0) + 1}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
