"""The supervisor: a process beside the queue that looks, decides, acts and tells, twice a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from parfocal.callbacks import listen, publisher
from parfocal.catalog import Catalog, CatalogWriter, DataFolder, open_shared_catalog, recover
from parfocal.errors import BadInputError
from parfocal.queue._catalog_watch import CatalogWatch
from parfocal.queue._chronicle import Chronicle
from parfocal.queue._connect import connect
from parfocal.queue._hands import perform
from parfocal.queue._incidents import Incident, IncidentRun
from parfocal.queue._info import QueueInfo, find_queue, read_queue_file
from parfocal.queue._lookout import Lookout, n_children
from parfocal.queue._supervisor_policy import (
    DEFAULT_POLICY,
    FailedItem,
    State,
    SupervisorPolicy,
    decide,
    note,
    observe,
)

_TICK_S = 0.5
_CALM_S = 600.0  # processes that stayed up for so long may be started again as often as at first


def supervise(
    data: DataFolder,
    policy: SupervisorPolicy = DEFAULT_POLICY,
    *,
    microscopes: tuple[str, ...] = ("microscope",),
    since_s: float | None = None,
    until: threading.Event | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Watch over the queue of a data folder until told to end.

    A dead environment is opened again, the hardware made safe, the item that was cut off dealt with as it
    declares, and the queue goes on. Redis, proxy and RE Manager that died are started again. What happened is a
    run of its own in `raw`, one event an incident in stream `incidents`.

    Parameters
    ----------
    data : DataFolder
        Whose queue.
    policy : SupervisorPolicy
        What to do.
    microscopes : tuple of str
        Devices of the profile that `make_safe` gets.
    since_s : float, optional
        Plans that failed before, in seconds since the Unix epoch, are left alone; default: before now.
    until : Event, optional
        Ends it.
    say : callable
        Gets a line for each thing done.

    Raises
    ------
    BadInputError
        No queue runs.
    CatalogError
        The catalog cannot be opened.
    """
    info = find_queue(data)
    if info is None:
        raise BadInputError(f"no queue runs for {data.root}: start it with `parfocal queue start`")
    until = until or threading.Event()
    since_s = time.time() if since_s is None else since_s
    # What an earlier night left; what a worker left that has died meanwhile belongs to an incident of this one.
    for run in recover(data, opens=open_shared_catalog) if n_children(info.manager_pid) > 1 else ():
        if run.outcome in ("written", "failed"):
            say(f"run {run.uid} of an earlier session: {run.outcome} {run.problem}".strip())
    with open_shared_catalog(data) as catalog:
        writer = CatalogWriter(catalog)
        sender = publisher(info.documents_in) if info.documents_in else None

        sent: set[str] = set()

        def emit(name: str, doc: Mapping[str, Any]) -> None:
            sent.add(str(doc["uid"]))
            writer(name, doc)
            if sender is not None:
                sender(name, doc)

        about = {"policy": asdict(policy), "profile": info.profile, "microscopes": list(microscopes)}
        run = IncidentRun(emit, _last_scan_id(catalog), about)
        lookout = Lookout(data, since_s)
        supervisor = Supervisor(catalog, info, policy, microscopes, lookout, run, say)

        def hear(name: str, doc: Mapping[str, Any]) -> None:
            if doc.get("uid") not in sent:  # what we say ourselves is no sign of the worker's life
                lookout.heard()

        deaf = threading.Event()
        ears = threading.Thread(target=listen, args=(info.documents_out, hear, deaf), name="ears", daemon=True)
        if info.documents_out:
            lookout.is_listening = True
            ears.start()
        try:
            while not until.wait(_TICK_S):
                if read_queue_file(data) is None:  # stopped, or its folder is gone
                    say("the queue was stopped: so am I")
                    break
                supervisor.tick()
        finally:
            deaf.set()
            supervisor.close()
            run.close()
            if not writer.close(5.0):
                say("the catalog is away: `parfocal recover` writes what is missing")
            if sender is not None:
                sender.close()


class Supervisor:
    """One queue's supervisor, a tick at a time."""

    def __init__(
        self,
        catalog: Catalog,
        info: QueueInfo,
        policy: SupervisorPolicy,
        microscopes: tuple[str, ...],
        lookout: Lookout,
        run: IncidentRun,
        say: Callable[[str], object],
    ) -> None:
        self._runs = catalog
        self._folder = folder = catalog.folder
        self._policy = policy
        self._microscopes = microscopes
        self._run = run
        self._say = say
        self._info = info
        self._client: Any = connect(info, timeout_s=2.0)
        self._lookout = lookout
        self._state = State()
        self._chronicle = Chronicle(self._tell)
        self._catalog = CatalogWatch(folder, self._tell)
        self._restarted_s = 0.0

    def tick(self) -> None:
        """Look, decide, act, tell."""
        self._catalog.look()
        told = read_queue_file(self._folder)
        if told is not None and told.manager_pid != self._info.manager_pid:  # somebody else started it again
            self._use(told)
        if self._state.n_restarted and time.monotonic() - self._restarted_s > _CALM_S:
            self._state = replace(self._state, n_restarted=0)
        seen = self._lookout.look(self._info, self._client)
        self._chronicle.saw(seen, bool(self._state.held))
        self._state = observe(self._state, seen, self._microscopes)
        actions = decide(self._state, self._policy)
        for action in actions:
            if action.item is not None and action.item.had_ended and self._ended_well(action.item):
                said = f"{action.item.name} had ended well, and is not repeated"
                self._say(said)
                self._chronicle.add(said)
                self._state = note(self._state, replace(action, kind="skip"), succeeded=True)
                continue
            done = perform(action, self._folder, self._info, self._lookout)
            self._say(done.said)
            self._chronicle.did(action, done.said, done.succeeded, done.run_uids)
            self._state = note(self._state, action, done.succeeded)
            if action.kind.startswith("restart"):
                self._restarted_s = time.monotonic()
                self._use(done.info)
        waits = self._state.failed and not self._state.held
        if not actions and self._chronicle.is_open and not waits and (seen.manager_state or self._state.held):
            self._chronicle.settled(self._state)

    def close(self) -> None:
        """Tell what is under way, and let go."""
        self._chronicle.close()
        self._catalog.close()
        self._client.close()

    def _ended_well(self, item: FailedItem) -> bool:
        """Say whether the runs that began since an item did have all ended well, and there is one."""
        try:
            runs = self._runs.runs(limit=50)
            since = runs[runs["time"].map(lambda when: when.timestamp()) >= item.began_s - 1.0]
            return len(since) > 0 and bool((since["exit_status"] == "success").all())
        except Exception:  # the catalog is away: rather once more than not at all
            return False

    def _use(self, info: QueueInfo) -> None:
        if info.manager_pid != self._info.manager_pid:
            self._client.close()
            self._client = connect(info, timeout_s=2.0)
        self._info = info

    def _tell(self, incident: Incident, outcome: str) -> None:
        self._say(f"{incident.kind}: {incident.what}; {', '.join(incident.actions) or 'nothing done'}; {outcome}")
        self._run.tell(incident, outcome)


def _last_scan_id(catalog: Catalog) -> int:
    newest = catalog.runs(limit=1)
    return int(newest["scan_id"].iloc[0] or 0) if len(newest) else 0
