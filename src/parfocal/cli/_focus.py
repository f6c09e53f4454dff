"""`parfocal calibrate` and `parfocal lock`: focus held by a bead's shape, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from parfocal.cli import _focus_options as options
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.cli._focus_calibrate import SweepOptions, calibrate
from parfocal.cli._focus_live import open_window
from parfocal.cli._focus_lock import LockOptions, Source, arm, hold
from parfocal.cli._focus_options import BenchOptions
from parfocal.cli._focus_work import open_work
from parfocal.focus import Law, chosen_law, chosen_measure, read_lock_settings, region_of_xywh, wanted_measure


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("calibrate")(calibrate_command)
    app.command("lock")(lock_command)


def calibrate_command(
    context: typer.Context,
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
    if show_live:
        open_window(context)
        return
    bench = BenchOptions(
        camera, stage, axis, tuple(camera_option or ()), tuple(stage_option or ()), loop_hz, exposure_s
    )
    sweep = SweepOptions(
        calibration_model,
        calibration_half_range_um,
        calibration_steps,
        calibration_expected_slope,
        settle_s,
        not one_way,
        go_to_focus,
    )
    region = region_of_xywh(track_roi_xy)
    with open_work(bench, data, out, as_json) as work:
        report, files = calibrate(work, sweep, region)
        if as_json:
            typer.echo(json.dumps({**report, "folder": str(work.folder), "files": files}))


def lock_command(
    context: typer.Context,
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
    law: Annotated[Law | None, typer.Option(help="From measurements to moves. Default: kalman.")] = None,
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
    if show_live:
        open_window(context)
        return
    bench = BenchOptions(
        camera, stage, axis, tuple(camera_option or ()), tuple(stage_option or ()), loop_hz, exposure_s
    )
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
    told = read_lock_settings(settings, given)
    chosen = chosen_law(law, kp, ki, told) or "kalman"
    wanted = wanted_measure(use_gaussian_fit, fast_mode, background_percentile)
    region = region_of_xywh(track_roi_xy)
    sweep = SweepOptions(
        calibration_model, calibration_half_range_um, calibration_steps, calibration_expected_slope
    )
    with open_work(bench, data, out, as_json) as work:
        source = Source(calibration, calibration_csv, allow_missing_calibration)
        armed = arm(work, source, sweep, region)
        measure = chosen_measure(wanted, chosen, armed)
        others = {name: value for name, value in told.items() if name != "law"}
        held = LockOptions(duration, chosen, measure, others, engage_timeout_s, go_to_focus)
        report, files = hold(work, held, region)
        if as_json:
            typer.echo(json.dumps({**report, "folder": str(work.folder), "files": files}))
