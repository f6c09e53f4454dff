"""What happened to a lock, in words: each change of state, and each safeguard as it begins to speak."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_STATES = {
    "IDLE": "no calibration",
    "CALIBRATED_READY": "released, ready to be engaged",
    "LOCKING": "finding the focus",
    "LOCKED": "in focus",
    "DEGRADED": "a frame was refused or a correction cut; the stage is held",
    "RECOVERY": "on the way back",
    "LOST": "no bead for many frames in a row",
    "FAULT": "given up: more moving would make it worse",
}

_SAFEGUARDS = {
    "fit_failed": "no spot could be fitted",
    "saturated": "the bead saturates the camera: less light or a shorter exposure",
    "low_signal": "the bead is too faint",
    "too_bright": "much more light than before: another bead shines in",
    "edge_of_roi": "the bead is at the border of its region",
    "second_bead": "two beads in the region",
    "implausible_width": "no bead has such widths",
    "outside_calibration": "beyond the calibrated range",
    "imprecise": "z is known too poorly",
    "poor_fit": "the spot does not look like the calibrated one",
    "unsteady": "too few good frames among the last ones",
    "unexpected": "z is far from where it was foretold",
    "kick": "the focus has jumped",
    "wrong_sign": "the focus follows the stage the wrong way",
    "no_response": "the focus does not follow the stage",
    "wrong_response": "the focus follows the stage by another amount than calibrated",
    "probe_inconclusive": "too noisy to tell whether the focus follows the stage",
    "runaway": "the focus does not follow corrections",
    "step_limited": "a correction was cut to the longest step",
    "slew_limited": "a correction was cut to the slew rate",
    "excursion_limited": "a correction was cut at the excursion limit",
    "stage_limited": "a correction was cut at the stage's limit",
    "stuck_at_limit": "cut at a limit for too long",
    "off_target": "off by more than the tolerance",
    "stage_lag": "the stage is not where it was sent",
    "stage_stalled": "the stage does not move",
    "stage_fault": "the stage reports an error",
    "stage_refused": "the stage refused a command",
    "camera_fault": "the camera gives no frames",
    "lost": "the bead is lost",
    "searching": "looking for the bead along z",
    "found": "the bead is there again",
    "engage_timeout": "no steady bead to engage on",
    "held": "held by a plan",
    "repeated_frame": "the camera gave the same frame again",
    "calibration_range": "the calibrated range is too small",
    "calibration_span": "the widths change too little",
    "calibration_slope": "the widths change too slowly at focus",
}
_QUIET = frozenset(("held", "repeated_frame", "searching", "found"))  # told by the state, or of no concern
_AGAIN_S = 1.0  # a safeguard that flickers is one event


@dataclass(frozen=True)
class LockEvent:
    """A change of state, or a safeguard that begins to speak.

    Attributes
    ----------
    t_s : float
        Middle of the exposure, seconds since the Unix epoch.
    frame : int
        The camera's count; -1 where no frame tells it.
    kind : {"state", "safeguard", "note"}
        What it is.
    code : str
        The new state, or the safeguard's code.
    error_um : float
        Defocus less setpoint as the lock estimated it; NaN where unknown.
    words : str
        In plain words.
    """

    t_s: float
    frame: int
    kind: str
    code: str
    error_um: float
    words: str


def explain(code: str) -> str:
    """Return what a state or a safeguard's code means; the code itself where it is not known."""
    return _STATES.get(code) or _SAFEGUARDS.get(code) or code


def is_safeguard(code: str) -> bool:
    """Say whether a flag is a safeguard that a reader has to know of."""
    return code not in _QUIET


class EventReader:
    """Finds the events in a lock's samples, which may come in pieces."""

    def __init__(self) -> None:
        self._state = ""
        self._flags: frozenset[str] = frozenset()
        self._last_s: dict[str, float] = {}

    def read(self, columns: Mapping[str, Iterable[Any]]) -> Iterator[LockEvent]:
        """Yield the events of more samples, in order; columns `t_s`, `frame`, `error_um`, `state`, `flags`."""
        rows = zip(*(columns[name] for name in ("t_s", "frame", "error_um", "state", "flags")), strict=True)
        for t_s, frame, error_um, state, flags in rows:
            at = (float(t_s), int(frame))
            if state != self._state:
                yield LockEvent(*at, "state", str(state), float(error_um), explain(str(state)))
                self._state = str(state)
            speaking = frozenset(str(flags).split())
            for code in sorted(speaking - self._flags):
                since_s = at[0] - self._last_s.get(code, -math.inf)
                if is_safeguard(code) and since_s > _AGAIN_S:
                    yield LockEvent(*at, "safeguard", code, float(error_um), explain(code))
            self._last_s |= dict.fromkeys(speaking, at[0])
            self._flags = speaking


def event_line(event: LockEvent) -> str:
    """Return an event as one line of `autofocus_events.log`: time (UTC), code, frame, error, words."""
    when = datetime.fromtimestamp(event.t_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    frame = f"frame {event.frame}" if event.frame >= 0 else "-"
    error = f"{1e3 * event.error_um:+.1f} nm" if math.isfinite(event.error_um) else "-"
    return f"{when}  {event.code:<20} {frame:<12} {error:<10} {event.words}"
