"""Options of `parfocal calibrate` and `parfocal lock`, under the names that Focus Feedback gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from parfocal.cli._catalog import read_parameters
from parfocal.devices import FOCUS_CAMERAS, STAGES, Microscope, focus_microscope, simulated_microscope
from parfocal.errors import BadInputError
from parfocal.focus import LockSettings

Model = Literal["zhuang", "linear", "poly2", "piecewise"]
Slope = Literal["auto", "positive", "negative"]
Region = tuple[int, int, int, int]

CameraOption = Annotated[str, typer.Option(help=f"Sees the bead: {', '.join(FOCUS_CAMERAS)}.")]
StageOption = Annotated[str, typer.Option(help=f"Focuses: {', '.join(STAGES)}.")]
AxisOption = Annotated[str, typer.Option(help="Which axis of the stage focuses: x, y or z.")]
CameraValues = Annotated[
    list[str] | None,
    typer.Option("--camera-option", help="name=value of the camera; may be given more than once."),
]
StageValues = Annotated[
    list[str] | None, typer.Option("--stage-option", help="name=value of the stage; may be given more than once.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the files. Default: focus/<time> in the data folder.")
]
LiveOption = Annotated[bool, typer.Option("--show-live", help="Do it in the live window instead.")]
LoopOption = Annotated[
    float | None, typer.Option("--loop-hz", min=0.01, max=10000, help="Frames a second: sets the exposure.")
]
ExposureOption = Annotated[float | None, typer.Option("--exposure-s", min=0, help="Of the focus camera.")]
RegionOption = Annotated[
    Region | None,
    typer.Option(
        "--track-roi-xy", metavar="X Y W H", help="Region of the bead, px. Default: found, or calibrated."
    ),
]
ModelOption = Annotated[Model, typer.Option("--calibration-model", help="What is fitted to the sweep.")]
HalfRangeOption = Annotated[
    float, typer.Option("--calibration-half-range-um", help="Reach of the sweep to either side.")
]
StepsOption = Annotated[int, typer.Option("--calibration-steps", help="Positions one way.")]
SlopeOption = Annotated[
    Slope, typer.Option("--calibration-expected-slope", help="Sign of the signal's change with z, if known.")
]


@dataclass(frozen=True)
class BenchOptions:
    """Which camera and stage, and how they are set."""

    camera: str = "simulate"
    stage: str = "simulate"
    axis: str = "z"
    camera_values: tuple[str, ...] = ()
    stage_values: tuple[str, ...] = ()
    loop_hz: float | None = None
    exposure_s: float | None = None

    def open(self) -> Microscope:
        """Open the microscope; what was told wrong is said in one line, before anything is opened."""
        of_camera = read_parameters(list(self.camera_values))
        of_stage = read_parameters(list(self.stage_values))
        if self.exposure_s is not None and self.loop_hz is not None:
            raise BadInputError("--loop-hz sets the exposure: give it or --exposure-s, not both")
        if (self.camera, self.stage) == ("simulate", "simulate") and self.axis == "z":
            return _simulated(of_camera, of_stage)
        return focus_microscope(
            "microscope",
            camera=self.camera,
            stage=self.stage,
            axis=self.axis,
            camera_options=of_camera,
            stage_options=of_stage,
        )

    @property
    def wanted_exposure_s(self) -> float | None:
        """Exposure that was asked for; None leaves the camera's own."""
        return 1.0 / self.loop_hz if self.loop_hz is not None else self.exposure_s

    def live_arguments(self) -> list[str]:
        """Return these options as `parfocal live` takes them."""
        given = ["--camera", self.camera, "--stage", self.stage, "--axis", self.axis]
        for option, values in (("--camera-option", self.camera_values), ("--stage-option", self.stage_values)):
            for value in values:
                name, _, told = value.partition("=")
                given += [f"--{name}", told] if name in _OF_LIVE else [option, value]
        if self.wanted_exposure_s is not None:
            given += ["--exposure-ms", f"{1e3 * self.wanted_exposure_s:g}"]
        return given


_OF_LIVE = ("config", "seed")  # which the window has options of its own for


def _simulated(of_camera: Mapping[str, Any], of_stage: Mapping[str, Any]) -> Microscope:
    """Return the whole simulated microscope: its bead camera looks at the same drifting sample."""
    kinds: dict[str, type] = {"sample": str, "seed": int, "height_px": int, "width_px": int, "realtime": bool}
    if of_stage:
        raise BadInputError("stage simulate: its options are the camera's, since they share a world")
    for name, value in of_camera.items():
        if name not in kinds:
            raise BadInputError(f"camera simulate: no option {name!r}, expected one of {', '.join(kinds)}")
        if type(value) is not kinds[name]:
            raise BadInputError(f"camera simulate: {name} is {value!r}, expected {kinds[name].__name__}")
    return simulated_microscope("microscope", **of_camera)


def region_px(given: Region | None) -> Region | None:
    """Return y, x, height, width of `--track-roi-xy X Y W H`."""
    if given is None:
        return None
    x, y, width, height = given
    if width != height or width < 7 or x < 0 or y < 0:
        raise BadInputError(
            f"--track-roi-xy is {x} {y} {width} {height}, expected X Y W H of a square of 7 px or more"
        )
    return y, x, height, width


def read_settings(path: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of `LockSettings`: those of a JSON or YAML file, and over them those given by name."""
    told: dict[str, Any] = {}
    if path is not None:
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BadInputError(f"--settings {path}: cannot be read ({' '.join(str(error).split())})") from error
        if not isinstance(read, dict):
            raise BadInputError(f"--settings {path}: names and values were expected, such as `max_step_um: 0.1`")
        told = {str(name): value for name, value in read.items()}
    known = {f.name: f.default for f in fields(LockSettings)}
    for name, value in told.items():
        if name not in known:
            raise BadInputError(f"--settings {path}: no option {name!r}; see LockSettings for all")
        _check_type(path, name, value, known[name])
    return told | {name: value for name, value in given.items() if value is not None}


def _check_type(path: Path | None, name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, expected = isinstance(value, str), "a word"
    elif isinstance(default, int):
        fits, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        is_none = value is None and (default is None or name in _MAY_BE_NONE)
        fits, expected = is_none or (isinstance(value, int | float) and not isinstance(value, bool)), "a number"
    if not fits:
        raise BadInputError(f"--settings {path}: {name} is {value!r}, expected {expected}")


_MAY_BE_NONE = ("max_abs_excursion_um",)  # its default is a number; None turns it off
