"""What a supervisor does next: a pure function of what it sees and remembers, without processes.

::

    died: Redis, proxy --> started again
    died: RE Manager ----> started again -----------.
    hangs: worker -------> ended: it died
    died: worker --------> destroyed, recovered ----+--> environment open --> made safe --.
    a plan failed ------------------------------------------(where it is not) --> made safe --+
                                                                                              |
    queue goes on <-- skip: taken out | retry: stays first, once more <-- declared policy <---'
    queue stands  <-- hold

One tick of the loop observes (`observe`), decides (`decide`), acts, and notes what came of it (`note`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from parfocal.queue._plan_file import ON_FAILURE, OnFailure

ActionKind = Literal[
    "restart_redis",
    "restart_proxy",
    "restart_manager",
    "end_worker",
    "destroy_environment",
    "recover",
    "open_environment",
    "make_safe",
    "retry",
    "skip",
    "hold",
    "start_queue",
]

_BUSY = ("executing_queue", "starting_queue", "paused")


@dataclass(frozen=True)
class SupervisorPolicy:
    """What to do when something fails, and how often to try.

    Attributes
    ----------
    on_failure : {"retry", "skip", "hold"}
        Of plans that declare nothing. `retry`: once more, and then skip it; `skip`: go on with the next; `hold`:
        the queue stands until a person starts it.
    retries : int
        How often `retry` tries again.
    open_attempts, safe_attempts, restart_attempts : int
        How often, one after the other, the environment is opened, the hardware made safe, and a process started
        again, before the queue is held for a person.
    silent_s : float
        A worker whose plan runs and has sent no document for so long hangs, and is ended; 0 for never. Generous: a
        plan that waits for its next time point sends nothing either.
    """

    on_failure: OnFailure = "retry"
    retries: int = 1
    open_attempts: int = 3
    safe_attempts: int = 2
    restart_attempts: int = 5
    silent_s: float = 4 * 3600.0


DEFAULT_POLICY = SupervisorPolicy()


@dataclass(frozen=True)
class FailedItem:
    """A queue item that did not end well.

    Attributes
    ----------
    item_uid : str
        As the history has it; the queue server gives a new one where it puts the item back.
    name : str
        Its plan.
    on_failure : str
        As the item declares; empty for the default.
    attempt : int
        1, or more after a retry.
    reason : str
        Why, in one line.
    is_back : bool
        Whether the queue server has put it back, first in the queue.
    run_uids : tuple of str
        Runs that it wrote, as far as the queue server knows.
    began_s : float
        When it began, seconds since the Unix epoch.
    had_ended : bool
        It had come to its end, and only the queue server lost how: the runs say.
    """

    item_uid: str
    name: str
    on_failure: str = ""
    attempt: int = 1
    reason: str = ""
    is_back: bool = True
    run_uids: tuple[str, ...] = ()
    began_s: float = 0.0
    had_ended: bool = False


@dataclass(frozen=True)
class Seen:
    """What is to be seen from outside, at one moment.

    Attributes
    ----------
    redis_died, proxy_died, manager_died : bool
        A process of ours is gone.
    manager_state : str
        As the RE Manager says; empty where it does not answer.
    environment_open : bool
        What the RE Manager believes.
    worker_died : bool
        It believes so, and the worker's process is gone.
    is_stuck : bool
        It waits for a plan that has ended, or does not answer, for too long.
    silent_s : float
        For how long the plan that runs has sent no document, s; 0 where none runs, or nobody listens.
    n_in_queue : int
        Items that wait.
    unsafe : tuple of str
        Microscopes whose last plan left them as they were.
    failures : tuple of FailedItem
        Since the last look.
    """

    manager_state: str = ""
    environment_open: bool = False
    redis_died: bool = False
    proxy_died: bool = False
    manager_died: bool = False
    worker_died: bool = False
    is_stuck: bool = False
    silent_s: float = 0.0
    n_in_queue: int = 0
    unsafe: tuple[str, ...] = ()
    failures: tuple[FailedItem, ...] = ()


@dataclass(frozen=True)
class State:
    """What a supervisor sees, and what it remembers of before.

    Attributes
    ----------
    seen : Seen
        The latest.
    wants_environment, wants_queue : bool
        An environment was open, the queue was running: so it shall be again.
    to_make_safe : tuple of str
        Microscopes that nothing may be done with before they are safe.
    to_recover : bool
        A worker died; what it had written waits in its logs.
    failed : tuple of FailedItem
        Those about which nothing has been decided yet.
    held : str
        Why the queue is held for a person; empty where it is not.
    n_opened, n_made_safe, n_restarted : int
        Attempts that failed, one after the other.
    """

    seen: Seen = Seen()
    wants_environment: bool = False
    wants_queue: bool = False
    to_make_safe: tuple[str, ...] = ()
    to_recover: bool = False
    failed: tuple[FailedItem, ...] = ()
    held: str = ""
    n_opened: int = 0
    n_made_safe: int = 0
    n_restarted: int = 0


@dataclass(frozen=True)
class Action:
    """One thing to do; about which item, or which microscope."""

    kind: ActionKind
    item: FailedItem | None = None
    microscope: str = ""
    why: str = ""


def observe(state: State, seen: Seen, microscopes: tuple[str, ...] = ("microscope",)) -> State:
    """Return the state after a look: what is wanted is what was there before something went wrong.

    Parameters
    ----------
    state : State
        Before.
    seen : Seen
        Now.
    microscopes : tuple of str
        Those of the profile: all of them are made safe after a worker's death.
    """
    now = replace(state, seen=seen, failed=(*state.failed, *seen.failures))
    if seen.failures:  # it ran, though perhaps not for long enough to be seen running
        now = replace(now, wants_queue=True)
    all_of_them = tuple(dict.fromkeys((*state.to_make_safe, *microscopes, *seen.unsafe)))
    if seen.worker_died or (state.wants_environment and (seen.manager_died or seen.is_stuck)):
        # The worker of a manager that is started again ends with it.
        runs = now.wants_queue or seen.manager_state in _BUSY
        return replace(now, wants_environment=True, wants_queue=runs, to_recover=True, to_make_safe=all_of_them)
    if seen.manager_died or seen.redis_died or seen.is_stuck or not seen.manager_state:
        return now
    if seen.manager_state in _BUSY:
        # Whoever starts a queue that was held has decided; and one that runs on asks for nothing. But a manager
        # tells of a failure a moment before it says that it is idle.
        fresh = seen.failures or (state.failed if state.seen.failures else ())
        return replace(
            now, wants_environment=True, wants_queue=True, held="", failed=fresh, to_make_safe=(), n_opened=0
        )
    if seen.manager_state != "idle":
        return now
    if not seen.environment_open:
        closed = _was_closed_in_order(state)
        return replace(now, wants_environment=False, wants_queue=False) if closed else now
    unsafe = tuple(dict.fromkeys((*state.to_make_safe, *seen.unsafe)))
    now = replace(now, wants_environment=True, n_opened=0, to_make_safe=unsafe)
    return now if now.failed or unsafe else _without_queue_if_stopped(state, now)


def _without_queue_if_stopped(before: State, now: State) -> State:
    """Want it no more where it ran and now stands, though nothing failed: it is done, or was stopped."""
    seen = before.seen
    ran = seen.manager_state in _BUSY and not (seen.worker_died or seen.is_stuck or seen.redis_died)
    return replace(now, wants_queue=False) if ran else now


def _was_closed_in_order(before: State) -> bool:
    """Say whether a good environment went without its process having died: somebody closed it."""
    seen = before.seen
    settled = not (before.to_make_safe or before.to_recover or before.failed)
    return seen.manager_state == "closing_environment" or (
        settled and seen.environment_open and not seen.worker_died and not seen.manager_died
    )


def policy_of(item: FailedItem, policy: SupervisorPolicy) -> OnFailure:
    """Return what to do about an item: as it declares, else by default; a retry that was had becomes a skip."""
    declared: OnFailure = policy.on_failure
    for one in ON_FAILURE:
        declared = one if one == item.on_failure else declared
    return "skip" if declared == "retry" and item.attempt > policy.retries else declared


def decide(state: State, policy: SupervisorPolicy) -> tuple[Action, ...]:
    """Return what to do now, in this order; nothing where all is well, or where it is best to wait.

    Parameters
    ----------
    state : State
        As `observe` gives it.
    policy : SupervisorPolicy
        What was asked for.
    """
    seen = state.seen
    if seen.redis_died or seen.manager_died or seen.is_stuck or seen.proxy_died:
        if state.n_restarted >= policy.restart_attempts:
            return () if state.held else (Action("hold", why="its processes end again and again"),)
        first = "restart_redis" if seen.redis_died else "restart_manager"
        if not (seen.redis_died or seen.manager_died or seen.is_stuck):
            first = "restart_proxy"
        return (Action(first),)
    if not seen.manager_state:
        return ()
    if seen.worker_died:
        return (Action("destroy_environment"),) if seen.manager_state != "destroying_environment" else ()
    if seen.manager_state == "executing_queue" and 0 < policy.silent_s < seen.silent_s:
        return (Action("end_worker", why=f"no document for {seen.silent_s:.0f} s"),)
    if seen.manager_state != "idle":
        return ()
    if state.to_recover:
        return (Action("recover"),)
    if state.held:
        return ()
    if not seen.environment_open:
        return _open(state, policy)
    if state.to_make_safe:
        if state.n_made_safe >= policy.safe_attempts:
            return (Action("hold", why=f"{state.to_make_safe[0]} could not be made safe"),)
        return (Action("make_safe", microscope=state.to_make_safe[0]),)
    if state.failed:
        item = state.failed[0]
        kind = policy_of(item, policy)
        why = f"{item.name} failed, and is to be held: {item.reason}" if kind == "hold" else ""
        return (Action(kind, item=item, why=why),)
    return (Action("start_queue"),) if state.wants_queue and seen.n_in_queue else ()


def _open(state: State, policy: SupervisorPolicy) -> tuple[Action, ...]:
    if not state.wants_environment:
        return ()
    if state.n_opened >= policy.open_attempts:
        return (Action("hold", why="the environment cannot be opened"),)
    return (Action("open_environment"),)


def note(state: State, action: Action, succeeded: bool) -> State:
    """Return the state after an action was tried.

    Parameters
    ----------
    state : State
        Before it.
    action : Action
        What was tried.
    succeeded : bool
        What came of it.
    """
    kind, item = action.kind, action.item
    if kind.startswith("restart"):
        return replace(state, n_restarted=state.n_restarted + 1)
    if kind == "open_environment":
        return replace(state, n_opened=0 if succeeded else state.n_opened + 1)
    if kind == "make_safe":
        if not succeeded:
            return replace(state, n_made_safe=state.n_made_safe + 1)
        rest = tuple(name for name in state.to_make_safe if name != action.microscope)
        return replace(state, to_make_safe=rest, n_made_safe=0)
    if kind == "recover":  # tried once: what cannot be written now stays in its logs, and is told
        return replace(state, to_recover=False)
    if kind == "hold":
        rest = tuple(one for one in state.failed if one is not item)
        return replace(state, held=action.why, failed=rest, wants_queue=False, n_made_safe=0, n_opened=0)
    if kind in ("retry", "skip") and succeeded:
        return replace(state, failed=tuple(one for one in state.failed if one is not item))
    return state
