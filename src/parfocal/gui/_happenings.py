"""What a live session tells its window, as plain values: they cross from one thread to another."""

from __future__ import annotations

from dataclasses import dataclass

from bluesky.utils import FailedStatus

from parfocal.fitting import Calibration


@dataclass(frozen=True)
class Began:
    """A plan began: `calibrate`, `autofocus`, `move` or `exposure`."""

    what: str


@dataclass(frozen=True)
class Progressed:
    """A sweep has taken `done` of `total` steps, the latest at `z_um`."""

    done: int
    total: int
    z_um: float


@dataclass(frozen=True)
class Fitted:
    """A sweep was fitted: the derived run's calibration, its hash, and the run that was fitted."""

    calibration: Calibration
    sha256: str
    run_uid: str


@dataclass(frozen=True)
class Ended:
    """A plan ended: well where `error` is empty, else with what went wrong, in one line."""

    what: str
    error: str = ""
    is_cancelled: bool = False


@dataclass(frozen=True)
class Noted:
    """Something for the log of events."""

    text: str


Happening = Began | Progressed | Fitted | Ended | Noted


def in_one_line(error: BaseException) -> str:
    """Say what went wrong; of a step that failed in a plan, why the device says it did."""
    if isinstance(error, FailedStatus) and error.__cause__ is not None:
        return in_one_line(error.__cause__)
    return " ".join(str(error).split()) or type(error).__name__
