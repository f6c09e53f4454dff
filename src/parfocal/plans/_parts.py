"""What a plan was handed, taken apart: detectors, axes, light."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class Parts:
    """The parts of a microscope that a plan works with; None for what is not there.

    Parameters
    ----------
    name : str
        Name of the instrument, for the start document.
    detectors : tuple
        Readables that are triggered for each event.
    camera : object, optional
        The detector whose exposure and field of view are known, if there is one.
    x, y, z : object, optional
        Movables.
    light : object, optional
        Has settable `channel` and `on`.
    """

    name: str
    detectors: tuple[Any, ...]
    camera: Any = None
    x: Any = None
    y: Any = None
    z: Any = None
    light: Any = None

    @property
    def axes(self) -> dict[str, Any]:
        """The axes there are, by letter."""
        return {k: v for k, v in (("x", self.x), ("y", self.y), ("z", self.z)) if v is not None}

    @property
    def surroundings(self) -> tuple[Any, ...]:
        """Everything that is read into an event beside the detectors."""
        lights = (self.light,) if self.light is not None else ()
        return (*self.axes.values(), *lights)


def parts_of(microscope: Any, z: Any = None) -> Parts:
    """Take a microscope apart; or make one of any Readables and a Movable.

    Parameters
    ----------
    microscope : Microscope, Readable or sequence of Readables
        A device with `camera`, `xyz` and `light`, or plain detectors.
    z : Movable, optional
        The axis to move instead of the microscope's own, and the only way to name one for plain detectors.

    Raises
    ------
    BadInputError
        It is neither.
    """
    # A queue hands on names of devices that it does not know as they are.
    if z is not None and not hasattr(z, "set"):
        raise BadInputError(f"{z!r} cannot be moved: a Movable such as a stage axis was expected for z")
    if hasattr(microscope, "camera") and hasattr(microscope, "xyz"):
        stage, light = microscope.xyz, getattr(microscope, "light", None)
        return Parts(
            microscope.backend.name,
            (microscope.camera,),
            microscope.camera,
            stage.x,
            stage.y,
            z if z is not None else stage.z,
            light,
        )
    several = isinstance(microscope, Sequence) and not isinstance(microscope, str)
    detectors: tuple[Any, ...] = tuple(microscope) if several else (microscope,)
    for detector in detectors:
        if not (hasattr(detector, "read") and hasattr(detector, "describe")):
            raise BadInputError(
                f"{detector!r} cannot be imaged with: a microscope, or Readables such as a camera, were expected"
            )
    camera = next((d for d in detectors if hasattr(d, "exposure_s")), None)
    return Parts("+".join(d.name for d in detectors), detectors, camera, z=z)
