"""Who owns which run: what a follower knows of the runs that it is to analyse. No documents, no catalog."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_MOST_READ_FAILURES = 5


@dataclass
class _Waiting:
    """A run that is owed a result, and not in live hands."""

    not_before_s: float = 0.0
    n_read_failures: int = 0
    is_in_work: bool = False
    began_s: float | None = None
    has_stopped: bool = False


class RunLedger:
    """The state of each run, and who owns it.

    ::

        owed --due--> in work --taken--> settled      put_off: it is under way still
         ^ ^             | |                          unread: the catalog was away, or it cannot be read
         | +--put_off, --+ |
         |    unread       |
         +--lose----- live-+--end_live--> settled     lose: its documents did not all come

    A run has one owner at a time, `live` or `catalog`; `own` is asked by whoever begins, in any thread. All else
    is for one thread.

    Parameters
    ----------
    n_wanted : int
        How many analyses each run is owed.
    """

    def __init__(self, n_wanted: int) -> None:
        self._n_wanted = n_wanted
        self._owners: dict[str, Literal["live", "catalog"]] = {}
        self._owning = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._settled: set[str] = set()
        self._settled_one: set[tuple[str, int]] = set()
        self._abandoned: dict[str, set[int]] = {}  # and not yet closed
        self._begun: dict[tuple[str, int], str] = {}  # derived runs that came to no good end
        self._unreadable: list[float | None] = []

    # -- who has it ---------------------------------------------------------------------------------------

    def own(self, uid: str, by: Literal["live", "catalog"]) -> bool:
        """Own a run; say whether it was free."""
        with self._owning:
            return self._owners.setdefault(uid, by) == by

    def release(self, uid: str) -> None:
        """Own a run no longer."""
        with self._owning:
            self._owners.pop(uid, None)

    # -- what is owed -------------------------------------------------------------------------------------

    def owe(self, uid: str, at_once: bool = False) -> None:
        """Note a run that is there; one that somebody has, or that is settled, is left to that."""
        if uid in self._settled or uid in self._owners:
            return
        one = self._waiting.setdefault(uid, _Waiting())
        if at_once:
            one.not_before_s = 0.0

    def due(self) -> list[str]:
        """Return the runs whose turn it is, which are in work from now on."""
        now_s = time.monotonic()
        due = [uid for uid, one in self._waiting.items() if not one.is_in_work and now_s >= one.not_before_s]
        for uid in due:
            self._waiting[uid].is_in_work = True
        return due

    @property
    def n_waiting(self) -> int:
        """How many runs have ended, or are in work, and owed a result."""
        return sum(1 for one in self._waiting.values() if one.has_stopped or one.is_in_work)

    @property
    def is_owing(self) -> bool:
        """Whether anything but runs under way is owed a result."""
        return any(one.is_in_work or one.has_stopped or one.began_s is None for one in self._waiting.values())

    def settled_until_s(self, live_began_s: Iterable[float], now_s: float) -> float:
        """Return until when all runs began that are settled; 0 where that is not known of one."""
        began = [one.began_s for one in self._waiting.values()]
        began += self._unreadable  # they are tried again by the next process
        began += live_began_s
        if any(one is None for one in began):
            return 0.0
        return min((one for one in began if one is not None), default=now_s)

    # -- live ---------------------------------------------------------------------------------------------

    def is_settled(self, uid: str) -> bool:
        """Say whether a run is owed nothing."""
        return uid in self._settled

    def begin_live(self, uid: str) -> bool:
        """Own a run live; say whether it was free."""
        if not self.own(uid, "live"):
            return False
        self._waiting.pop(uid, None)
        return True

    def lose(self, uid: str, wanted: set[int]) -> None:
        """Note that a run's documents did not all come; it is owed when these analyses have closed it."""
        self._abandoned[uid] = wanted

    def note_begun(self, uid: str, k: int, derived_uid: str) -> None:
        """Note what an analysis began of a run, and did not bring to a good end."""
        self._begun[uid, k] = derived_uid

    def closes_lost(self, uid: str, k: int) -> bool:
        """Note that an analysis has closed a run; say whether it was a lost one, owed now or when all have."""
        if uid not in self._abandoned:
            return False
        self._abandoned[uid].discard(k)
        if not self._abandoned[uid]:
            del self._abandoned[uid]
            self.release(uid)
            self._waiting[uid] = _Waiting()
        return True

    def end_live(self, uid: str) -> None:
        """Note that all analyses have closed a run that was heard whole."""
        self.release(uid)
        if all((uid, k) in self._settled_one for k in range(self._n_wanted)):
            self._settled.add(uid)
        else:
            self._waiting[uid] = _Waiting()

    # -- one analysis of it -------------------------------------------------------------------------------

    def settle_one(self, uid: str, k: int) -> None:
        """Note that an analysis owes a run nothing more."""
        self._settled_one.add((uid, k))

    def is_one_settled(self, uid: str, k: int) -> bool:
        """Say whether an analysis owes a run nothing more."""
        return (uid, k) in self._settled_one

    def begun(self, uid: str, k: int) -> str:
        """Return what an analysis began of a run live, and did not bring to a good end; empty for nothing."""
        return self._begun.get((uid, k), "")

    # -- what came of work --------------------------------------------------------------------------------

    def drop(self, uid: str) -> None:
        """Forget a run that somebody else owns."""
        self._waiting.pop(uid, None)

    def note_stopped(self, uid: str, began_s: float) -> None:
        """Note that a run in work has ended."""
        if uid in self._waiting:
            self._waiting[uid].has_stopped, self._waiting[uid].began_s = True, began_s

    def put_off(self, uid: str, began_s: float, for_s: float) -> None:
        """Note that a run in work is under way still."""
        one = self._waiting.get(uid)
        if one is not None:
            one.is_in_work, one.began_s, one.has_stopped = False, began_s, False
            one.not_before_s = time.monotonic() + for_s

    def taken(self, uid: str, is_settled: bool, again_in_s: float) -> None:
        """Note that a run was taken from the catalog; where something of it failed, it is owed again."""
        self.release(uid)
        one = self._waiting.pop(uid, None)
        if is_settled:
            self._settled.add(uid)
        elif one is not None:
            self._waiting[uid] = _Waiting(time.monotonic() + again_in_s, has_stopped=True)

    def unread(self, uid: str, is_away: bool, again_in_s: float) -> bool:
        """Note that a run could not be read; say whether it is left. `is_away`: the catalog was not there."""
        self.release(uid)
        one = self._waiting.get(uid)
        if one is None:
            return False
        one.is_in_work = False
        one.not_before_s = time.monotonic() + again_in_s
        one.n_read_failures += not is_away
        if one.n_read_failures < _MOST_READ_FAILURES:
            return False
        self._settled.add(uid)
        self._unreadable.append(one.began_s)
        del self._waiting[uid]
        return True
