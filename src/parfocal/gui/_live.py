"""`parfocal live`: a window to see, calibrate and hold focus."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from parfocal.devices import FOCUS_CAMERAS, STAGES, Microscope, focus_microscope, simulated_microscope
from parfocal.errors import BadInputError
from parfocal.session import start_session


def live_command(
    camera: Annotated[str, typer.Option("--camera", help=f"One of {', '.join(FOCUS_CAMERAS)}.")] = "simulate",
    stage: Annotated[
        str, typer.Option("--stage", help=f"One of {', '.join(STAGES)}; default: as the camera, else simulate.")
    ] = "",
    axis: Annotated[str, typer.Option("--axis", help="Which axis of an mcl stage focuses: x, y or z.")] = "z",
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default=False)] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            "--calibration-csv",
            help="A calibration to begin with: JSON, or a calibration_sweep.csv.",
            show_default=False,
        ),
    ] = None,
    allow_missing_calibration: Annotated[
        bool, typer.Option("--allow-missing-calibration", help="Open though that file is not there.")
    ] = False,
    exposure_ms: Annotated[
        float | None, typer.Option("--exposure-ms", help="Exposure of the bead camera.", show_default=False)
    ] = None,
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
) -> None:
    """See a bead live, calibrate its focus, and hold it."""
    try:
        import pyqtgraph  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from PySide6.QtWidgets import QApplication
    except ImportError as error:
        raise BadInputError(f"the window needs {error.name}: pip install 'parfocal[gui]'") from error
    from parfocal.gui._live_window import LiveWindow

    region = _region(roi)
    if calibration is not None and not calibration.is_file() and not allow_missing_calibration:
        raise BadInputError(
            f"{calibration}: calibration not found; name another, or start with --allow-missing-calibration and "
            "make one"
        )
    told = (_values("--camera-option", camera_option), _values("--stage-option", stage_option))
    microscope = open_microscope(camera, stage, axis, config, seed, *told)
    try:
        session = start_session(data, in_thread=True)
    except Exception:
        microscope.destroy()
        raise
    try:
        session.use(microscope)
        if exposure_ms is not None:
            microscope.focus_camera.exposure_s.put(exposure_ms / 1e3)
        application = QApplication.instance() or QApplication(sys.argv[:1])
        window = LiveWindow(session, microscope, region)
        try:
            if calibration is not None and calibration.is_file():
                window.load(calibration)
            elif calibration is not None:
                window.complain(f"{calibration}: calibration not found; draw the ROI round a bead and calibrate")
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
    if (camera, stage) == ("simulate", "simulate") and axis == "z" and not of_camera and not of_stage:
        return simulated_microscope("microscope", seed=seed)
    for kind, of_it in ((camera, of_camera), (stage, of_stage)):
        if kind == "simulate":
            of_it.setdefault("seed", seed)
    if config is not None and "micromanager" in (camera, stage):
        (of_camera if camera == "micromanager" else of_stage)["config"] = str(config)
    return focus_microscope("microscope", camera, stage, axis, of_camera, of_stage)


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


def _region(roi: str) -> tuple[int, int, int, int] | None:
    if not roi:
        return None
    try:
        y, x, side = (int(part) for part in roi.split(","))
    except ValueError:
        raise BadInputError(f"--roi is {roi!r}, expected y,x,side in whole px, such as 40,52,17") from None
    return y, x, side, side
