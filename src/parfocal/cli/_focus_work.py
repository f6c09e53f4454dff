"""A session, its microscope and a folder: what `parfocal calibrate` and `parfocal lock` work with."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from parfocal.callbacks import FocusCalibration
from parfocal.cli._focus_options import BenchOptions
from parfocal.cli._focus_watch import EventsLog
from parfocal.devices import Microscope
from parfocal.errors import CatalogError
from parfocal.session import Session, start_session

_DRAIN_S = 60.0
_PATIENCE_AFTER_FAILURE_S = 10.0


@dataclass
class Work:
    """A session, its microscope, and where files go."""

    session: Session
    microscope: Microscope
    folder: Path
    log: EventsLog
    console: Console
    as_json: bool
    simulated: dict[str, bool]


@contextmanager
def open_work(bench: BenchOptions, data: Path | None, out: Path | None, as_json: bool) -> Generator[Work]:
    patience_s = _PATIENCE_AFTER_FAILURE_S
    microscope = bench.open()
    try:
        simulated = _simulated(microscope)
        session = start_session(data, analyses=[FocusCalibration], md={"simulated": simulated})
        log: EventsLog | None = None
        try:
            session.use(microscope)
            folder = session.catalog.folder
            at = out if out is not None else folder.root / "focus" / time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            log = EventsLog(at / "autofocus_events.log")
            if bench.wanted_exposure_s is not None:
                microscope.focus_camera.exposure_s.put(bench.wanted_exposure_s)
            yield Work(session, microscope, at, log, Console(stderr=as_json), as_json, simulated)
            patience_s = _DRAIN_S
        finally:
            if log is not None:
                log.close()
            session.close(patience_s)
    finally:
        microscope.destroy()


def _simulated(microscope: Microscope) -> dict[str, bool]:
    stage = str(getattr(microscope.backend.stage, "backend", ""))
    return {
        "focus camera": bool(microscope.focus_camera.facts.simulated),
        "stage": "simulated" in stage or "stand-in" in stage,
    }


def drain(session: Session) -> None:
    if not session.drain(_DRAIN_S):
        raise CatalogError(
            f"the catalog does not hold the run yet ({session.writer.last_error}): it lies in "
            "its log, and `parfocal recover` brings it in"
        )


def reason_of(error: BaseException) -> str:
    cause = error.__cause__ if error.__cause__ is not None else error
    return " ".join(str(cause).split()) or type(cause).__name__
