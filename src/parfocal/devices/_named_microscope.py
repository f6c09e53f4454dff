"""The microscope that `--camera` and `--stage` name, for every command and window that takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parfocal.devices._factories import focus_microscope, simulated_microscope
from parfocal.devices._microscope import Microscope
from parfocal.errors import BadInputError

_OF_SIMULATED: dict[str, type] = {
    "sample": str,
    "seed": int,
    "height_px": int,
    "width_px": int,
    "realtime": bool,
    "noise_maps": str,
}


def named_microscope(
    name: str,
    camera: str = "simulate",
    stage: str = "simulate",
    axis: str = "z",
    camera_options: Mapping[str, Any] | None = None,
    stage_options: Mapping[str, Any] | None = None,
) -> Microscope:
    """Return a focus camera and a stage; both simulated: a whole microscope, with a bead camera of its own.

    Parameters
    ----------
    name : str
        Name of the device.
    camera, stage, axis : str
        As of `focus_microscope`.
    camera_options, stage_options : mapping, optional
        Their options; where both are simulated the camera's are of the world that they share: `sample`, `seed`,
        `height_px`, `width_px`, `realtime`, `noise_maps`.

    Raises
    ------
    BadInputError
        No such camera, stage, axis or option, or an option of the wrong kind: in one line, before anything opens.
    """
    of_camera, of_stage = dict(camera_options or {}), dict(stage_options or {})
    if (camera, stage, axis) != ("simulate", "simulate", "z"):
        return focus_microscope(name, camera, stage, axis, of_camera, of_stage)
    if of_stage:
        raise BadInputError("stage simulate: its options are the camera's, since they share a world")
    for option, value in of_camera.items():
        if option not in _OF_SIMULATED:
            expected = ", ".join(_OF_SIMULATED)
            raise BadInputError(f"camera simulate: no option {option!r}, expected one of {expected}")
        if type(value) is not _OF_SIMULATED[option]:
            raise BadInputError(
                f"camera simulate: {option} is {value!r}, expected {_OF_SIMULATED[option].__name__}"
            )
    return simulated_microscope(name, **of_camera)
