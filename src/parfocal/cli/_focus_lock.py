"""`parfocal lock`: arm, hold, files, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import bluesky.plan_stubs as bps
from rich.console import Console
from rich.table import Table

from parfocal.cli import _focus_options as options
from parfocal.cli._focus_calibrate import SweepOptions, calibrate
from parfocal.cli._focus_watch import watching
from parfocal.cli._focus_work import Work, drain, reason_of
from parfocal.errors import BadInputError
from parfocal.fitting import Calibration
from parfocal.focus import Law, MeasureKind, named_file, read_calibration
from parfocal.plans import lock_focus
from parfocal.report import lock_report, read_lock_run, write_lock_report


@dataclass(frozen=True)
class LockOptions:
    duration_s: float
    law: Law
    measure: MeasureKind
    settings: dict[str, Any]
    timeout_s: float
    go_to_focus: bool


@dataclass(frozen=True)
class Source:
    """Where the calibration is to come from."""

    which: str
    csv: Path | None
    allow_missing: bool


def arm(work: Work, source: Source, sweep: SweepOptions, region: options.Region | None) -> Calibration | None:
    """Arm the lock with the calibration that is meant, and return it; sweep first where that is allowed."""
    lock = work.microscope.lock
    file = named_file(source.which, source.csv)
    if file is not None:
        if source.allow_missing and not file.is_file():
            calibrate(work, sweep, region)
        else:
            pixel_um = float(work.microscope.focus_camera.facts.pixel_size_um[0])
            told = read_calibration(
                file, kind=sweep.model, expected_slope=sweep.expected_slope, pixel_size_um=pixel_um
            )
            lock.arm(told, region)
    elif source.allow_missing and not any(lock.calibrations.root.glob("*.json")):
        calibrate(work, sweep, region)
    else:
        try:
            lock.prepare(source.which, region)
        except BadInputError as error:
            if source.which == "newest" and "to arm with" in str(error):
                missing = (
                    f"no calibration in {lock.calibrations.root} to lock with: `parfocal calibrate` makes one"
                )
                raise BadInputError(f"{missing}, and --allow-missing-calibration does it first") from error
            raise
    armed = lock.armed
    if armed is None:
        return None
    work.log.note("ARMED", f"with calibration {armed.sha256[:12]}" + (f" of {file}" if file else ""))
    return armed.calibration


def hold(work: Work, wanted: LockOptions, region: options.Region | None) -> tuple[dict[str, Any], dict[str, str]]:
    session, microscope = work.session, work.microscope
    uids: list[str] = []

    def hear(name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            uids.append(doc["uid"])

    def plan() -> Any:
        armed = microscope.lock.armed
        if wanted.go_to_focus and armed is not None:
            yield from bps.mv(microscope.xyz.z, float(armed.calibration.focus_um))
        yield from lock_focus(
            cast(Any, microscope),
            wanted.duration_s,
            roi_px=region,
            law=wanted.law,
            measure=wanted.measure,
            settings=wanted.settings,
            timeout_s=wanted.timeout_s,
            md={"exposure_s": float(microscope.focus_camera.facts.settings.exposure_s)},
        )

    token = session.RE.subscribe(hear)
    done: tuple[dict[str, Any], dict[str, str]] = {}, {}
    work.log.note("ENGAGE", f"law {wanted.law}, measure {wanted.measure}, {wanted.duration_s:g} s")
    try:
        with watching(microscope.lock, work.log, work.console):
            session.run(plan())
        work.log.note("RELEASED", "the time is over; z stays where it is")
    except BaseException as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else reason_of(error)
        work.log.note("RELEASED", f"{why}; z stays where it is")
        raise
    finally:
        session.RE.unsubscribe(token)
        if uids:
            drain(session)
            done = _lock_files(work, uids[-1])
    return done


def _lock_files(work: Work, uid: str) -> tuple[dict[str, Any], dict[str, str]]:
    run = read_lock_run(work.session.catalog, uid)
    told, shown = write_lock_report(run, work.folder)
    files = {"report": str(told), "html": str(shown), "events": str(work.log.path)}
    report = lock_report(run)
    if not work.as_json:
        show_lock(work.console, report, work.folder)
    return report, files


def show_lock(console: Console, report: dict[str, Any], folder: Path) -> None:
    """Print the numbers of a lock's report."""
    from parfocal.report import ms, nm, percent

    s = report["summary"]
    shown = Table(box=None, show_header=False)
    shown.add_row("run", f"{report['run']['uid'][:8]}  {report['run']['exit_status']}")
    shown.add_row("in lock", percent(s["in_lock_fraction"]))
    ratio = f", {s['rms_over_bound']:.2f} times the bound {nm(s['bound_um'])}" if s["rms_over_bound"] else ""
    if s["rms_focus_um"] is None:  # too short to tell the noise of a frame
        shown.add_row("RMS, as the lock estimates it", nm(s["rms_error_um"]))
    else:
        shown.add_row("RMS of the focus", f"{nm(s['rms_focus_um'])}{ratio}")
    shown.add_row("losses, faults", f"{s['n_losses']}, {s['n_faults']}")
    shown.add_row(
        "frames", f"{s['n_frames']}" + (f" at {s['frame_rate_hz']:.1f} Hz" if s["frame_rate_hz"] else "")
    )
    shown.add_row("latency", " / ".join(ms(v) for v in report["latency_s"]["whole"]) + " (median, 95 %, 99 %)")
    if report["simulated"]:
        shown.add_row("simulated", ", ".join(report["simulated"]))
    shown.add_row("files", str(folder))
    console.print(shown)
