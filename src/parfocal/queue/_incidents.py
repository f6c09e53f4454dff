"""What a supervisor met and did, as documents: one run a queue session, one event an incident."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from event_model import compose_run

_TEXTS = ("kind", "what", "item_uid", "plan", "action", "outcome", "run_uids")
STREAM = "incidents"
PLAN_NAME = "supervisor"

Emit = Callable[[str, Mapping[str, Any]], object]


@dataclass
class Incident:
    """Something that went wrong, and what was done about it.

    Attributes
    ----------
    kind : str
        `plan_failed`, `worker_died`, `worker_hung`, `manager_died`, `redis_died`, `proxy_died`, `catalog_away`,
        `stuck` or `unsafe`.
    what : str
        In one line.
    item_uid, plan : str
        Of the queue item that it befell, as the history has it.
    actions : list of str
        What was done, in order.
    run_uids : list of str
        Runs that were cut off, or failed.
    began_s : float
        Seconds since the Unix epoch.
    """

    kind: str
    what: str
    item_uid: str = ""
    plan: str = ""
    actions: list[str] = field(default_factory=list[str])
    run_uids: list[str] = field(default_factory=list[str])
    began_s: float = field(default_factory=time.time)


class IncidentRun:
    """The run of one queue session, open until `close`.

    Parameters
    ----------
    emit : callable
        Gets name and document.
    scan_id : int
        The newest in the catalog: the run counts for no scan of its own.
    about : dict
        More for `parfocal` in the start document: the policy.
    """

    def __init__(self, emit: Emit, scan_id: int, about: dict[str, Any]) -> None:
        self._emit = emit
        metadata = {"plan_name": PLAN_NAME, "scan_id": scan_id, "parfocal": {"supervisor": about}}
        run = compose_run(metadata=metadata, validate=False)
        self._compose_stop: Any = run.compose_stop
        self.uid = str(run.start_doc["uid"])
        emit("start", run.start_doc)
        keys: dict[str, Any] = {
            f"incident_{k}": {"source": "supervisor", "dtype": "string", "shape": []} for k in _TEXTS
        }
        for key in ("began_s", "lasted_s"):
            keys[f"incident_{key}"] = {
                "source": "supervisor",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [],
                "units": "s",
            }
        stream = run.compose_descriptor(name=STREAM, data_keys=keys, validate=False)
        self._compose_event: Any = stream.compose_event
        emit("descriptor", stream.descriptor_doc)

    def tell(self, incident: Incident, outcome: str) -> None:
        """Write how an incident ended."""
        now_s = time.time()
        data: dict[str, Any] = {
            "incident_kind": incident.kind,
            "incident_what": incident.what,
            "incident_item_uid": incident.item_uid,
            "incident_plan": incident.plan,
            "incident_action": ", ".join(incident.actions) or "none",
            "incident_outcome": outcome,
            "incident_run_uids": ",".join(incident.run_uids),
            "incident_began_s": incident.began_s,
            "incident_lasted_s": now_s - incident.began_s,
        }
        stamps = dict.fromkeys(data, now_s)
        self._emit("event", self._compose_event(data=data, timestamps=stamps, validate=False))

    def close(self, reason: str = "") -> None:
        """End the run."""
        self._emit("stop", self._compose_stop(exit_status="success", reason=reason, validate=False))
