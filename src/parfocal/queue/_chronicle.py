"""From what a supervisor sees and does to incidents: which belong together, and how each ended."""

from __future__ import annotations

from collections.abc import Callable

from parfocal.queue._incidents import Incident
from parfocal.queue._supervisor_policy import Action, FailedItem, Seen, State

Tell = Callable[[Incident, str], object]


class Chronicle:
    """Gathers what happens into incidents, and tells each when its outcome is known.

    A worker's death and the failed plan that comes of it are one incident; a Redis that dies meanwhile is another.

    Parameters
    ----------
    tell : callable
        Gets an incident and its outcome.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._open: Incident | None = None
        self._aside: dict[str, Incident] = {}

    @property
    def is_open(self) -> bool:
        """Say whether an incident is under way."""
        return self._open is not None

    def saw(self, seen: Seen, is_held: bool = False) -> None:
        """Note what went wrong, if something did; a queue that is held waits for a person, who knows."""
        for kind, died, who in (
            ("redis_died", seen.redis_died, "Redis"),
            ("proxy_died", seen.proxy_died, "the proxy of documents"),
        ):
            if died and kind not in self._aside:
                self._aside[kind] = Incident(kind, f"{who} ended")
        if seen.manager_died:
            self._begin("manager_died", "the RE Manager ended, and its worker with it")
        elif seen.is_stuck:
            self._begin("stuck", "the RE Manager waits for a plan that has ended, or does not answer")
        elif seen.worker_died and not (self._open is not None and self._open.kind == "worker_hung"):
            self._begin("worker_died", "the worker's process ended")
        for item in seen.failures:
            self._befell(item)
        for name in seen.unsafe if self._open is None and not is_held else ():
            self._begin("unsafe", f"the last plan left {name} with the light on, or z elsewhere")

    def did(self, action: Action, said: str, succeeded: bool, run_uids: tuple[str, ...] = ()) -> None:
        """Note what was done about it."""
        aside = action.kind.replace("restart_", "") + "_died"
        if aside in self._aside:
            incident = self._aside[aside]
            incident.actions.append(said)
            if succeeded:
                self._tell(self._aside.pop(aside), "it answers again")
            return
        if action.kind == "end_worker" and succeeded:
            self._begin("worker_hung", f"the worker hangs: {action.why}")
        if self._open is None:
            return
        self._open.actions.append(said)
        self._open.run_uids += [uid for uid in run_uids if uid not in self._open.run_uids]

    def add(self, said: str) -> None:
        """Note something that was found out about the incident under way."""
        if self._open is not None:
            self._open.actions.append(said)

    def settled(self, state: State) -> None:
        """Tell the incident under way: nothing is left to do about it."""
        if state.held:
            self._end(f"held: {state.held}")
        elif state.wants_queue:
            runs = state.seen.n_in_queue or state.seen.manager_state != "idle"
            self._end("the queue goes on" if runs else "the queue is at its end")
        else:
            self._end("the queue stands, as before")

    def close(self) -> None:
        """Tell what is still under way: the supervisor ends."""
        self._end("the supervisor ended meanwhile")
        for incident in self._aside.values():
            self._tell(incident, "the supervisor ended meanwhile")
        self._aside.clear()

    def _begin(self, kind: str, what: str) -> None:
        if self._open is not None and self._open.kind == kind:
            return
        self._end(f"then: {what}")
        self._open = Incident(kind, what)

    def _befell(self, item: FailedItem) -> None:
        if self._open is None or self._open.item_uid:
            self._begin("plan_failed", item.reason)
            if self._open is not None and self._open.item_uid:  # two, one after the other
                self._end("then another plan failed")
                self._begin("plan_failed", item.reason)
        if self._open is not None:
            self._open.item_uid, self._open.plan = item.item_uid, item.name
            self._open.run_uids += [uid for uid in item.run_uids if uid not in self._open.run_uids]

    def _end(self, outcome: str) -> None:
        if self._open is not None:
            self._tell(self._open, outcome)
            self._open = None
