"""`parfocal calibrate`: sweep, fit, files, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from parfocal.cli import _focus_options as options
from parfocal.cli._focus_watch import SweepWatch
from parfocal.cli._focus_work import Work, drain, reason_of
from parfocal.focus import save_calibration, save_sweep
from parfocal.plans import calibrate_focus
from parfocal.report import calibration_report, read_calibration_run, write_calibration_report


@dataclass(frozen=True)
class SweepOptions:
    model: options.Model
    half_range_um: float
    n_steps: int
    expected_slope: options.Slope
    settle_s: float = 0.05
    bidirectional: bool = True
    go_to_focus: bool = True


def calibrate(
    work: Work, sweep: SweepOptions, region: options.Region | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Calibrate, write the files, say what came out; fails where the lock was not armed, files written."""
    session = work.session
    done: tuple[dict[str, Any], dict[str, str]] = {}, {}
    watch = SweepWatch(work.console, work.log)
    token = session.RE.subscribe(watch.hear)
    failed: BaseException | None = None
    try:
        with watch:
            session.run(
                calibrate_focus(
                    cast(Any, work.microscope),
                    roi_px=region,
                    half_range_um=sweep.half_range_um,
                    n_steps=sweep.n_steps,
                    bidirectional=sweep.bidirectional,
                    settle_s=sweep.settle_s,
                    model=sweep.model,
                    expected_slope=sweep.expected_slope,
                    go_to_focus=sweep.go_to_focus,
                )
            )
    except BaseException as error:
        failed = error
        work.log.note("FAILED", reason_of(error))
        raise
    finally:
        session.RE.unsubscribe(token)
        if watch.uids and not isinstance(failed, KeyboardInterrupt):
            drain(session)
            done = _calibration_files(work, watch.uids[-1])
    return done


def _calibration_files(work: Work, uid: str) -> tuple[dict[str, Any], dict[str, str]]:
    run = read_calibration_run(work.session.catalog, uid)
    made = run.calibration
    table = work.folder / "calibration_sweep.csv"
    meta = save_sweep(table, made, created_at_unix_s=float(run.start["time"]))
    save_calibration(work.folder / "calibration.json", made)
    told, shown, picture = write_calibration_report(run, work.folder)
    files = {
        "sweep": str(table),
        "meta": str(meta),
        "calibration": str(work.folder / "calibration.json"),
        "report": str(told),
        "html": str(shown),
        "picture": str(picture),
        "events": str(work.log.path),
    }
    report = calibration_report(run)
    if not work.as_json:
        _show_calibration(work.console, report, files)
    return report, files


def _show_calibration(console: Console, report: dict[str, Any], files: dict[str, str]) -> None:
    usable = report["usable_um"]
    shown = Table(box=None, show_header=False)
    shown.add_row("calibration", f"{report['sha256'][:12]} ({report['kind']})")
    shown.add_row(
        "steps", f"{report['n_steps']}: {report['n_fitted']} fitted, {report['n_steps'] - report['n_fitted']} by "
        f"moments only, {report['n_used']} used"
    )  # fmt: skip
    if report["focus_um"] is not None:
        shown.add_row("focus", f"z = {report['focus_um']:+.3f} um")
    if usable is not None:
        shown.add_row("usable", f"{usable[0]:+.3f} to {usable[1]:+.3f} um from focus")
    if report["simulated"]:
        shown.add_row("simulated", ", ".join(report["simulated"]))
    for issue in report["issues"]:
        shown.add_row(issue["severity"], issue["message"])
    shown.add_row("files", str(Path(files["sweep"]).parent))
    console.print(shown)
