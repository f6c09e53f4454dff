"""Options of `parfocal calibrate` and `parfocal lock`, under the names that Focus Feedback gave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from parfocal.cli._catalog import read_parameters
from parfocal.devices import FOCUS_CAMERAS, STAGES, Microscope, named_microscope
from parfocal.errors import BadInputError

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
        return named_microscope("microscope", self.camera, self.stage, self.axis, of_camera, of_stage)

    @property
    def wanted_exposure_s(self) -> float | None:
        """Exposure that was asked for; None leaves the camera's own."""
        return 1.0 / self.loop_hz if self.loop_hz is not None else self.exposure_s
