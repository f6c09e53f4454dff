"""`parfocal calibrate` and `parfocal lock`: focus held by a bead's shape, from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import bluesky.plan_stubs as bps
import typer
from rich.console import Console
from rich.table import Table

from parfocal.callbacks import FocusCalibration
from parfocal.catalog import DataFolder
from parfocal.cli import _focus_options as options
from parfocal.cli._catalog import DataOption, JsonOption, folder_of
from parfocal.cli._focus_options import BenchOptions
from parfocal.cli._focus_watch import EventsLog, SweepWatch, watching
from parfocal.devices import Microscope
from parfocal.errors import BadInputError, CatalogError
from parfocal.fitting import Calibration
from parfocal.focus import save_calibration, save_sweep
from parfocal.plans import calibrate_focus, lock_focus
from parfocal.report import (
    calibration_report,
    lock_report,
    read_calibration_run,
    read_lock_run,
    write_calibration_report,
    write_lock_report,
)
from parfocal.session import Session, start_session

_DRAIN_S = 60.0
_PATIENCE_AFTER_FAILURE_S = 10.0


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("calibrate")(calibrate_command)
    app.command("lock")(lock_command)


def calibrate_command(
    camera: options.CameraOption = "simulate",
    stage: options.StageOption = "simulate",
    axis: options.AxisOption = "z",
    camera_option: options.CameraValues = None,
    stage_option: options.StageValues = None,
    calibration_model: options.ModelOption = "zhuang",
    calibration_half_range_um: options.HalfRangeOption = 0.75,
    calibration_steps: options.StepsOption = 21,
    calibration_expected_slope: options.SlopeOption = "auto",
    settle_s: Annotated[float, typer.Option(min=0, help="Wait after each move.")] = 0.05,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only up; hysteresis does not show.")] = False,
    track_roi_xy: options.RegionOption = None,
    loop_hz: options.LoopOption = None,
    exposure_s: options.ExposureOption = None,
    go_to_focus: Annotated[bool, typer.Option(help="Leave z at the focus found, or where it was.")] = True,
    show_live: options.LiveOption = False,
    data: DataOption = None,
    out: options.OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sweep a bead through focus, fit the sweep, and keep the calibration for `parfocal lock`."""
    bench = BenchOptions(
        camera, stage, axis, tuple(camera_option or ()), tuple(stage_option or ()), loop_hz, exposure_s
    )
    if show_live:
        _show_live(bench.live_arguments(), data)
        return
    sweep = _SweepOptions(
        calibration_model,
        calibration_half_range_um,
        calibration_steps,
        calibration_expected_slope,
        settle_s,
        not one_way,
        go_to_focus,
    )
    region = options.region_px(track_roi_xy)
    with _open(bench, data, out, as_json) as work:
        report, files = _calibrate(work, sweep, region)
        if as_json:
            typer.echo(json.dumps({**report, "folder": str(work.folder), "files": files}))


def lock_command(
    duration: Annotated[float, typer.Option(min=0.1, help="How long, s, from when it is locked.")] = 60.0,
    camera: options.CameraOption = "simulate",
    stage: options.StageOption = "simulate",
    axis: options.AxisOption = "z",
    camera_option: options.CameraValues = None,
    stage_option: options.StageValues = None,
    calibration: Annotated[
        str, typer.Option(help="newest, a file's name in the data folder, how its hash begins, or a path.")
    ] = "newest",
    calibration_csv: Annotated[
        Path | None, typer.Option("--calibration-csv", help="A calibration_sweep.csv, or a calibration's .json.")
    ] = None,
    allow_missing_calibration: Annotated[
        bool, typer.Option("--allow-missing-calibration", help="Where there is none, calibrate first.")
    ] = False,
    law: Annotated[options.Law | None, typer.Option(help="From measurements to moves. Default: kalman.")] = None,
    loop_hz: options.LoopOption = None,
    exposure_s: options.ExposureOption = None,
    kp: Annotated[float | None, typer.Option(help="Gain of --law pi. Default: 0.6.")] = None,
    ki: Annotated[float | None, typer.Option(help="Gain of --law pi, 1/s. Default: 0.15.")] = None,
    max_step: Annotated[float | None, typer.Option(help="Longest correction a frame, um. Default: 0.25.")] = None,
    command_deadband_um: Annotated[float | None, typer.Option(help="No shorter move. Default: 0.")] = None,
    af_max_excursion_um: Annotated[
        float | None, typer.Option(help="How far z may go from where it was at engage. Default: 5.")
    ] = None,
    beads: Annotated[
        int | None,
        typer.Option(min=1, help="Follow so many at most; one lost does not lose the lock. Default: 1."),
    ] = None,
    track_roi: Annotated[bool | None, typer.Option(help="Let the region follow the bead. Default: yes.")] = None,
    track_roi_xy: options.RegionOption = None,
    track_gain: Annotated[float | None, typer.Option(help="Share of the offset followed. Default: 0.4.")] = None,
    track_deadband_px: Annotated[float | None, typer.Option(help="Offset not followed. Default: 1.5.")] = None,
    track_max_step_px: Annotated[float | None, typer.Option(help="Most px a frame. Default: 8.")] = None,
    use_gaussian_fit: Annotated[
        bool | None,
        typer.Option(
            "--use-gaussian-fit/--no-gaussian-fit", help="Fit the spot, or take its moments. Default: fit."
        ),
    ] = None,
    fast_mode: Annotated[
        bool, typer.Option("--fast-mode", help="Fit widths and invert their ratio; quicker, noisier.")
    ] = False,
    background_percentile: Annotated[
        float | None, typer.Option(min=0, max=100, help="Of the pixels, for --no-gaussian-fit.")
    ] = None,
    min_roi_intensity_fraction: Annotated[
        float | None, typer.Option(help="Least light, as a share of its running mean. Default: 0.25.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="JSON or YAML with options of LockSettings; options given here win.")
    ] = None,
    engage_timeout_s: Annotated[float, typer.Option(min=0.1, help="Time to lock.")] = 30.0,
    go_to_focus: Annotated[
        bool, typer.Option(help="First move z to the calibrated focus, or hold it here.")
    ] = False,
    calibration_model: options.ModelOption = "zhuang",
    calibration_half_range_um: options.HalfRangeOption = 0.75,
    calibration_steps: options.StepsOption = 21,
    calibration_expected_slope: options.SlopeOption = "auto",
    show_live: options.LiveOption = False,
    data: DataOption = None,
    out: options.OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold focus on a bead for a time, and report how well."""
    bench = BenchOptions(
        camera, stage, axis, tuple(camera_option or ()), tuple(stage_option or ()), loop_hz, exposure_s
    )
    if show_live:
        begin = ["--calibration-csv", str(calibration_csv)] if calibration_csv is not None else []
        allow = ["--allow-missing-calibration"] if allow_missing_calibration else []
        _show_live([*bench.live_arguments(), *begin, *allow], data)
        return
    given = {
        "kp": kp,
        "ki": ki,
        "max_step_um": max_step,
        "command_deadband_um": command_deadband_um,
        "max_abs_excursion_um": af_max_excursion_um,
        "n_beads": beads,
        "track_roi": track_roi,
        "track_gain": track_gain,
        "track_deadband_px": track_deadband_px,
        "track_max_step_px": track_max_step_px,
        "background_percentile": background_percentile,
        "min_roi_intensity_fraction": min_roi_intensity_fraction,
    }
    told = options.read_settings(settings, given)
    chosen = options.chosen_law(law, kp, ki, told)
    options.chosen_measure(
        chosen, use_gaussian_fit, fast_mode, None
    )  # what does not fit together, before it opens
    if background_percentile is not None and use_gaussian_fit is not False:
        raise BadInputError("--background-percentile is of --no-gaussian-fit: a fit finds the background itself")
    region = options.region_px(track_roi_xy)
    sweep = _SweepOptions(
        calibration_model, calibration_half_range_um, calibration_steps, calibration_expected_slope
    )
    with _open(bench, data, out, as_json) as work:
        source = _Source(calibration, calibration_csv, allow_missing_calibration)
        armed = _arm(work, source, sweep, region)
        measure = options.chosen_measure(chosen, use_gaussian_fit, fast_mode, armed)
        others = {name: value for name, value in told.items() if name != "law"}
        wanted = _LockOptions(duration, chosen, measure, others, engage_timeout_s, go_to_focus)
        report, files = _lock(work, wanted, region)
        if as_json:
            typer.echo(json.dumps({**report, "folder": str(work.folder), "files": files}))


# -- what both do -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SweepOptions:
    model: options.Model
    half_range_um: float
    n_steps: int
    expected_slope: options.Slope
    settle_s: float = 0.05
    bidirectional: bool = True
    go_to_focus: bool = True


@dataclass(frozen=True)
class _LockOptions:
    duration_s: float
    law: options.Law
    measure: str
    settings: dict[str, Any]
    timeout_s: float
    go_to_focus: bool


@dataclass(frozen=True)
class _Source:
    """Where the calibration is to come from."""

    which: str
    csv: Path | None
    allow_missing: bool

    @property
    def file(self) -> Path | None:
        """The file that was named, where one was; a name without a folder is of the data folder."""
        if self.csv is not None:
            return self.csv
        path = Path(self.which)
        return path if path.suffix in (".json", ".csv") and path.parent != Path() else None


@dataclass
class _Work:
    """A session, its microscope, and where files go."""

    session: Session
    microscope: Microscope
    folder: Path
    log: EventsLog
    console: Console
    as_json: bool
    simulated: dict[str, bool]


@contextmanager
def _open(bench: BenchOptions, data: Path | None, out: Path | None, as_json: bool) -> Generator[_Work]:
    patience_s = _PATIENCE_AFTER_FAILURE_S
    microscope = bench.open()
    try:
        simulated = _simulated(microscope)
        folder: DataFolder = folder_of(data)
        session = start_session(folder.root, analyses=[FocusCalibration], md={"simulated": simulated})
        log: EventsLog | None = None
        try:
            session.use(microscope)
            at = out if out is not None else folder.root / "focus" / time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            log = EventsLog(at / "autofocus_events.log")
            if bench.wanted_exposure_s is not None:
                microscope.focus_camera.exposure_s.put(bench.wanted_exposure_s)
            yield _Work(session, microscope, at, log, Console(stderr=as_json), as_json, simulated)
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


def _drained(session: Session) -> None:
    if not session.drain(_DRAIN_S):
        raise CatalogError(
            f"the catalog does not hold the run yet ({session.writer.last_error}): it lies in "
            "its log, and `parfocal recover` brings it in"
        )


# -- calibrate --------------------------------------------------------------------------------------------


def _calibrate(
    work: _Work, sweep: _SweepOptions, region: options.Region | None
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
                    work.microscope,
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
        work.log.note("FAILED", _reason(error))
        raise
    finally:
        session.RE.unsubscribe(token)
        if watch.uids and not isinstance(failed, KeyboardInterrupt):
            _drained(session)
            done = _calibration_files(work, watch.uids[-1])
    return done


def _calibration_files(work: _Work, uid: str) -> tuple[dict[str, Any], dict[str, str]]:
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


# -- lock -------------------------------------------------------------------------------------------------


def _arm(work: _Work, source: _Source, sweep: _SweepOptions, region: options.Region | None) -> Calibration | None:
    """Arm the lock with the calibration that is meant, and return it; sweep first where that is allowed."""
    lock = work.microscope.lock
    file = source.file
    if file is not None:
        if source.allow_missing and not file.is_file():
            _calibrate(work, sweep, region)
        else:
            pixel_um = float(work.microscope.focus_camera.facts.pixel_size_um[0])
            lock.arm(options.read_calibration(file, sweep.model, sweep.expected_slope, pixel_um), region)
    elif source.allow_missing and not any(lock.calibrations.root.glob("*.json")):
        _calibrate(work, sweep, region)
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


def _lock(
    work: _Work, wanted: _LockOptions, region: options.Region | None
) -> tuple[dict[str, Any], dict[str, str]]:
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
            microscope,
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
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else _reason(error)
        work.log.note("RELEASED", f"{why}; z stays where it is")
        raise
    finally:
        session.RE.unsubscribe(token)
        if uids:
            _drained(session)
            done = _lock_files(work, uids[-1])
    return done


def _lock_files(work: _Work, uid: str) -> tuple[dict[str, Any], dict[str, str]]:
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
    shown.add_row("RMS error", f"{nm(s['rms_error_um'])}{ratio}")
    shown.add_row("losses, faults", f"{s['n_losses']}, {s['n_faults']}")
    shown.add_row(
        "frames", f"{s['n_frames']}" + (f" at {s['frame_rate_hz']:.1f} Hz" if s["frame_rate_hz"] else "")
    )
    shown.add_row("latency", " / ".join(ms(v) for v in report["latency_s"]["whole"]) + " (median, 95 %, 99 %)")
    if report["simulated"]:
        shown.add_row("simulated", ", ".join(report["simulated"]))
    shown.add_row("files", str(folder))
    console.print(shown)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if error.__cause__ is not None else error
    return " ".join(str(cause).split()) or type(cause).__name__


def _show_live(arguments: list[str], data: Path | None) -> None:
    """Hand over to the live window: it opens the microscope itself, and runs the same plans."""
    missing = "--show-live: the live window is not installed; `pip install 'parfocal[gui]'` brings it"
    entry = next(iter(entry_points(group="parfocal.commands", name="live")), None)
    if entry is None:
        raise BadInputError(missing)
    try:
        face = entry.load()
    except (ImportError, AttributeError) as error:
        raise BadInputError(f"{missing} ({error})") from error
    window = typer.Typer(add_completion=False)
    window.command()(face)
    window(args=[*arguments, *(["--data", str(data)] if data is not None else [])], standalone_mode=False)
