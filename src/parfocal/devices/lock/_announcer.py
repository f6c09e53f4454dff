"""What a lock says of itself while it runs: signals that others watch, put beside the loop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from ophyd import Kind, Signal

from parfocal.focus import Command, LockState

_TELL_S = 0.2


class LockAnnouncer:
    """Puts the state of a lock into signals, in a thread of its own: who watches them must not hold up the loop.

    Parameters
    ----------
    name : str
        Prefix of the signals.
    on_end : callable
        Told, before the signals say so, of a command with which the lock gave up: a fault, or no focus in time.

    Attributes
    ----------
    state : ophyd.Signal
        The `LockState` as text.
    is_held : ophyd.Signal
        0 while the bead is lost, else 1: for a suspender.
    last : Command or None
        The latest that was heard of.
    patience_s : float
        A bead that is lost for longer is given up.
    """

    def __init__(self, name: str, on_end: Callable[[Command], None]) -> None:
        self.state = Signal(name=f"{name}_state", value=str(LockState.IDLE), kind=Kind.normal)
        self.is_held = Signal(name=f"{name}_is_held", value=1, kind=Kind.normal)
        self.last: Command | None = None
        self.patience_s = math.inf
        self._on_end = on_end
        self._changed = threading.Event()
        self._guard = threading.RLock()
        self._closing = False
        threading.Thread(target=self._tell, name=f"{name}-tell", daemon=True).start()

    def hear(self, command: Command) -> None:
        """Hear of a step, in the loop's thread: at once."""
        before, self.last = self.last, command
        if before is None or before.state != command.state:
            self._changed.set()

    def settle(self, state: LockState) -> None:
        """Say a state that no step led to, and be done with it on return."""
        self.last = Command(None, state, math.nan, 0.0)
        self._heed(self.last)

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self._changed.set()

    def _tell(self) -> None:
        lost_since_s = math.inf
        while not self._closing:
            changed = self._changed.wait(_TELL_S if math.isfinite(lost_since_s) else None)
            self._changed.clear()
            if changed and not self._closing and self.last is not None:
                self._heed(self.last)
            is_lost = self.last is not None and self.last.state == LockState.LOST
            lost_since_s = min(lost_since_s, time.monotonic()) if is_lost else math.inf
            if time.monotonic() - lost_since_s > self.patience_s:
                words = f"the bead was not found again within {self.patience_s:g} s"
                self.hear(Command(None, LockState.FAULT, math.nan, 0.0, ("lost_for_good",), words))

    def _heed(self, command: Command) -> None:
        with self._guard:
            gave_up = command.state == LockState.CALIBRATED_READY and "engage_timeout" in command.flags
            if command.state == LockState.FAULT or gave_up:
                self._on_end(command)
            # FAULT does not count: a plan that is suspended would wait for ever, where it should be told.
            is_held = int(command.state != LockState.LOST)
            if self.state.get() != command.state:
                self.state.put(str(command.state))
            if self.is_held.get() != is_held:
                self.is_held.put(is_held)
