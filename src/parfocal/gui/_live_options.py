"""Options of `parfocal live` for its fields, under the names of `parfocal calibrate` and `parfocal lock`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from parfocal.focus import Law

_OF_FIELDS = "Fields of the window (default: as remembered)"


def _field(*names: str, text: str = "", metavar: str | None = None) -> typer.models.OptionInfo:
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, rich_help_panel=_OF_FIELDS)


Region = tuple[int, int, int, int]
RegionOption = Annotated[
    Region | None, _field("--track-roi-xy", text="The bead's region, px, as --roi.", metavar="X Y W H")
]
ExposureMsOption = Annotated[float | None, _field("--exposure-ms", text="Exposure of the bead camera.")]
ExposureOption = Annotated[float | None, _field("--exposure-s", text="The same in seconds.")]
LoopOption = Annotated[float | None, _field("--loop-hz", text="Frames a second: sets the exposure.")]
ModelOption = Annotated[
    Literal["zhuang", "linear", "poly2", "piecewise"] | None,
    _field("--calibration-model", text="What is fitted to the sweep, and to a CSV."),
]
HalfRangeOption = Annotated[
    float | None, _field("--calibration-half-range-um", text="Reach of the sweep to either side.")
]
StepsOption = Annotated[int | None, _field("--calibration-steps", text="Positions one way.")]
SlopeOption = Annotated[
    Literal["auto", "positive", "negative"] | None,
    _field("--calibration-expected-slope", text="Sign of the signal's change with z."),
]
SettleOption = Annotated[float | None, _field("--settle-s", text="Wait after each move of the sweep.")]
OneWayOption = Annotated[bool | None, _field("--one-way/--both-ways", text="How the sweep goes.")]
GoToFocusOption = Annotated[
    bool | None, _field("--go-to-focus/--no-go-to-focus", text="Where the sweep leaves z.")
]
LawOption = Annotated[Law | None, _field("--law", text="From measurements to moves.")]
KpOption = Annotated[float | None, _field("--kp", text="Gain of --law pi, and chooses it.")]
KiOption = Annotated[float | None, _field("--ki", text="Gain of --law pi, 1/s, and chooses it.")]
MaxStepOption = Annotated[float | None, _field("--max-step", text="Longest correction a frame, um.")]
DeadbandOption = Annotated[float | None, _field("--command-deadband-um", text="No shorter move.")]
ExcursionOption = Annotated[
    float | None, _field("--af-max-excursion-um", text="How far z may go from where it was at engage.")
]
BeadsOption = Annotated[int | None, _field("--beads", text="Followed at most.")]
TrackOption = Annotated[bool | None, _field("--track-roi/--no-track-roi", text="Whether the region follows.")]
TrackGainOption = Annotated[float | None, _field("--track-gain", text="Share of the offset followed.")]
TrackDeadbandOption = Annotated[float | None, _field("--track-deadband-px", text="Offset not followed.")]
TrackStepOption = Annotated[float | None, _field("--track-max-step-px", text="Most px a frame.")]
FitOption = Annotated[
    bool | None, _field("--use-gaussian-fit/--no-gaussian-fit", text="Fit the spot, or take its moments.")
]
FastOption = Annotated[bool, _field("--fast-mode", text="Fit widths and invert their ratio.")]
PercentileOption = Annotated[
    float | None, _field("--background-percentile", text="Of the pixels, for --no-gaussian-fit.")
]
LightOption = Annotated[
    float | None, _field("--min-roi-intensity-fraction", text="Least light, over its running mean.")
]
TimeoutOption = Annotated[float | None, _field("--engage-timeout-s", text="Time to lock.")]
SettingsOption = Annotated[
    Path | None,
    _field("--settings", text="JSON or YAML with options of LockSettings; options given here win."),
]
