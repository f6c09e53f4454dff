"""`parfocal live`: a window to see, calibrate and hold focus."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parfocal.devices import FOCUS_CAMERAS, STAGES, Microscope, named_microscope
from parfocal.errors import BadInputError
from parfocal.focus import named_file, region_of_xywh
from parfocal.gui import _live_options as options
from parfocal.gui._live_told import exposure_ms_of, told_of
from parfocal.session import start_session

if TYPE_CHECKING:
    from parfocal.gui._live_window import LiveWindow


def live_command(
    camera: Annotated[str, typer.Option("--camera", help=f"One of {', '.join(FOCUS_CAMERAS)}.")] = "simulate",
    stage: Annotated[
        str, typer.Option("--stage", help=f"One of {', '.join(STAGES)}; default: as the camera, else simulate.")
    ] = "",
    axis: Annotated[str, typer.Option("--axis", help="Which axis of an mcl stage focuses: x, y or z.")] = "z",
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default=False)] = None,
    calibration: Annotated[
        str,
        typer.Option(help="To begin with: newest, a file's name in the data folder, a hash's beginning, a path."),
    ] = "",
    calibration_csv: Annotated[
        Path | None,
        typer.Option(
            "--calibration-csv",
            help="To begin with: a calibration_sweep.csv, or a calibration's .json.",
            show_default=False,
        ),
    ] = None,
    allow_missing_calibration: Annotated[
        bool, typer.Option("--allow-missing-calibration", help="Open though it is not there.")
    ] = False,
    roi: Annotated[
        str, typer.Option("--roi", help="The bead's region: y,x,side in px. Default: as remembered.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="A Micro-Manager configuration.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the simulated world.")] = 0,
    camera_option: Annotated[
        list[str] | None,
        typer.Option("--camera-option", help="NAME=VALUE, such as pixel_size_um=0.108.", show_default=False),
    ] = None,
    stage_option: Annotated[
        list[str] | None, typer.Option("--stage-option", help="NAME=VALUE.", show_default=False)
    ] = None,
    track_roi_xy: options.RegionOption = None,
    exposure_ms: options.ExposureMsOption = None,
    exposure_s: options.ExposureOption = None,
    loop_hz: options.LoopOption = None,
    calibration_model: options.ModelOption = None,
    calibration_half_range_um: options.HalfRangeOption = None,
    calibration_steps: options.StepsOption = None,
    calibration_expected_slope: options.SlopeOption = None,
    settle_s: options.SettleOption = None,
    one_way: options.OneWayOption = None,
    go_to_focus: options.GoToFocusOption = None,
    law: options.LawOption = None,
    kp: options.KpOption = None,
    ki: options.KiOption = None,
    max_step: options.MaxStepOption = None,
    command_deadband_um: options.DeadbandOption = None,
    af_max_excursion_um: options.ExcursionOption = None,
    beads: options.BeadsOption = None,
    track_roi: options.TrackOption = None,
    track_gain: options.TrackGainOption = None,
    track_deadband_px: options.TrackDeadbandOption = None,
    track_max_step_px: options.TrackStepOption = None,
    use_gaussian_fit: options.FitOption = None,
    fast_mode: options.FastOption = False,
    background_percentile: options.PercentileOption = None,
    min_roi_intensity_fraction: options.LightOption = None,
    engage_timeout_s: options.TimeoutOption = None,
    settings: options.SettingsOption = None,
) -> None:
    """See a bead live, calibrate its focus, and hold it."""
    try:
        import pyqtgraph  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from PySide6.QtWidgets import QApplication
    except ImportError as error:
        raise BadInputError(f"the window needs {error.name}: pip install 'parfocal[gui]'") from error
    from parfocal.gui._live_window import LiveWindow

    region = _region(roi, track_roi_xy)
    exposed_ms = exposure_ms_of(exposure_ms, exposure_s, loop_hz)
    told = told_of(
        {
            "exposure_ms": exposed_ms,
            "model": calibration_model,
            "half_range_um": calibration_half_range_um,
            "n_steps": calibration_steps,
            "expected_slope": calibration_expected_slope,
            "settle_s": settle_s,
            "bidirectional": None if one_way is None else not one_way,
            "go_to_focus": go_to_focus,
            "engage_timeout_s": engage_timeout_s,
        },
        {
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
        },
        settings,
        law=law,
        use_gaussian_fit=use_gaussian_fit,
        fast_mode=fast_mode,
    )
    if calibration and calibration_csv is not None:
        raise BadInputError("--calibration and --calibration-csv name the same: give one of the two")
    file = named_file(calibration, calibration_csv)
    if file is not None and not file.is_file() and not allow_missing_calibration:
        raise BadInputError(
            f"{file}: calibration not found; name another, or start with --allow-missing-calibration and make one"
        )
    values = (_values("--camera-option", camera_option), _values("--stage-option", stage_option))
    microscope = open_microscope(camera, stage, axis, config, seed, *values)
    try:
        session = start_session(data, in_thread=True)
    except Exception:
        microscope.destroy()
        raise
    try:
        session.use(microscope)
        if exposed_ms is not None:
            microscope.focus_camera.exposure_s.put(exposed_ms / 1e3)
        application = QApplication.instance() or QApplication(sys.argv[:1])
        window = LiveWindow(session, microscope, region, told)
        try:
            _begin_with(window, calibration, file, allow_missing_calibration)
            _show(application, window)
        finally:
            window.close()
    finally:
        microscope.destroy()
        session.close()


def open_microscope(
    camera: str,
    stage: str = "",
    axis: str = "z",
    config: Path | None = None,
    seed: int = 0,
    camera_values: Mapping[str, object] | None = None,
    stage_values: Mapping[str, object] | None = None,
) -> Microscope:
    """Return the microscope that the options name; both simulated: a whole one, with a bead camera of its own."""
    if camera not in FOCUS_CAMERAS:
        raise BadInputError(f"camera is {camera!r}, expected one of {', '.join(FOCUS_CAMERAS)}")
    if not stage:
        stage = camera if camera in STAGES else "simulate"
    of_camera, of_stage = dict(camera_values or {}), dict(stage_values or {})
    for kind, of_it in ((camera, of_camera), (stage, of_stage)):
        if kind == "simulate" and (of_it is of_camera or camera != "simulate"):  # else they share a world
            of_it.setdefault("seed", seed)
    if config is not None and "micromanager" in (camera, stage):
        (of_camera if camera == "micromanager" else of_stage)["config"] = str(config)
    return named_microscope("microscope", camera, stage, axis, of_camera, of_stage)


def _begin_with(window: LiveWindow, calibration: str, file: Path | None, may_be_missing: bool) -> None:
    """Arm the lock with what was named; where nothing is there and that is allowed, say what to do instead."""
    if file is not None and file.is_file():
        window.load(file)
    elif file is not None:
        window.complain(f"{file}: calibration not found; draw the ROI round a bead and calibrate")
    elif calibration:
        try:
            window.load_kept(calibration)
        except BadInputError as error:
            if not may_be_missing:
                raise
            window.complain(str(error))


def _values(option: str, told: list[str] | None) -> dict[str, object]:
    """Return NAME=VALUE as a mapping; a value is a number, true or false where it reads so, else text."""
    values: dict[str, object] = {}
    for each in told or ():
        name, found, text = each.partition("=")
        if not found or not name:
            raise BadInputError(f"{option} is {each!r}, expected NAME=VALUE")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def _show(application: Any, window: Any) -> None:
    """Run the window until it is closed; Ctrl-C closes it, and a fault of ours becomes a line in it."""

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        window.complain(f"{kind.__name__}: {error} (unexpected)")

    before_hook, sys.excepthook = sys.excepthook, say
    before_int = signal.signal(signal.SIGINT, lambda *_: window.close())
    try:
        window.show()
        application.exec()
    finally:
        sys.excepthook = before_hook
        with suppress(ValueError):
            signal.signal(signal.SIGINT, before_int)


def _region(roi: str, xywh: options.Region | None) -> options.Region | None:
    if roi and xywh is not None:
        raise BadInputError("--roi and --track-roi-xy name the same region: give one of the two")
    if not roi:
        return region_of_xywh(xywh)
    try:
        y, x, side = (int(part) for part in roi.split(","))
    except ValueError:
        raise BadInputError(f"--roi is {roi!r}, expected y,x,side in whole px, such as 40,52,17") from None
    return y, x, side, side
