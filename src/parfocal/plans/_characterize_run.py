"""What the plans that characterize share: one run, one stream of frames, one result, kept for whoever needs it."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator

from parfocal.devices import Characterizer, Columns
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs

STREAM = "frames"


class CharacterizeRun:
    """One run under way: takes frames, and hands each with what is known of it to what works them out."""

    def __init__(self, microscope: Any, camera: Any, characterizer: Any, recorder: Any = None) -> None:
        from parfocal.focus import Probed

        self.microscope = microscope
        self.camera = camera
        self.characterizer = characterizer
        self.recorder = recorder
        self.point = Columns("probe", asdict(Probed()))

    def take(self, told: Any) -> MsgGenerator[None]:
        """Take one frame of which `told` is known (a `Probed`)."""
        yield Msg("checkpoint")
        asked_s = self.camera.feed.now_s()
        yield from bps.trigger(self.camera, wait=True)
        yield from self.save(replace(told, asked_s=asked_s, read_s=self.camera.feed.now_s()))

    def save(self, told: Any) -> MsgGenerator[None]:
        """Save the frame that was taken as an event, with the latest trace of a recorder if there is one."""
        stage, recorder = self.microscope.xyz, self.recorder
        self.point.note(**asdict(told))
        yield Msg("create", None, name=STREAM)
        reading = yield Msg("read", self.camera)
        for readable in (stage.x, stage.y, stage.z, self.point, *((recorder,) if recorder is not None else ())):
            yield Msg("read", readable)
        yield Msg("save")
        yield Msg("checkpoint")
        if reading:
            t_s = reading[f"{self.camera.name}_t_s"]["value"]
            trace = recorder.trace if recorder is not None and told.part == "step" else None
            self.characterizer.add(self.camera.last_frame, told, t_s, trace)


def camera_named(microscope: Any, name: str, plan: str) -> Any:
    """Return a camera of the microscope; `BadInputError` where there is none of that name."""
    if not hasattr(microscope, "focus_camera") or not hasattr(microscope, "xyz"):
        raise BadInputError(f"{plan}: {microscope!r} has no cameras and stage; a Microscope was expected")
    if name not in ("camera", "focus_camera"):
        raise BadInputError(f"{plan}: camera is {name!r}, expected camera or focus_camera")
    if microscope.lock.is_engaged:
        raise BadInputError(f"{plan}: the lock holds z; release it first")
    return microscope.camera if name == "camera" else microscope.focus_camera


def looked_at(microscope: Any, axis: str, camera: str, plan: str) -> tuple[str, Any, Any]:
    """Return which camera looks at an axis (`auto`: the focus camera along z), that camera, and the axis.

    Raises
    ------
    BadInputError
        There is no such axis or camera, or the lock holds z.
    """
    if axis not in ("x", "y", "z"):
        raise BadInputError(f"{plan}: axis is {axis!r}, expected x, y or z")
    name = ("focus_camera" if axis == "z" else "camera") if camera == "auto" else camera
    device = camera_named(microscope, name, plan)
    return name, device, getattr(microscope.xyz, axis)


def in_light(
    microscope: Any,
    camera: Any,
    home_um: dict[Any, float],
    exposure_s: float | None,
    channel: str,
    measure: Callable[[], MsgGenerator[str]],
    stop: Callable[[], object] = lambda: None,
) -> MsgGenerator[str]:
    """Measure with camera and axes staged, by this exposure, in the light; afterwards all is as it was.

    Parameters
    ----------
    microscope, camera
        What is measured with; the light is the microscope's where its imaging camera looks.
    home_um : dict
        Where axes are to be in the end.
    exposure_s : float, optional
        Of the camera, for what is measured.
    channel : str
        Of the light.
    measure : callable
        Gives the plan that opens the run.
    stop : callable
        Called in the end, before axes are moved.
    """
    light = microscope.light if camera is microscope.camera else None
    before_s = camera.facts.settings.exposure_s

    def run() -> MsgGenerator[str]:
        if exposure_s is not None:
            yield from stubs.move_all({camera.exposure_s: float(exposure_s)})
        yield from stubs.light_on(light, channel)
        return (yield from measure())

    def make_safe() -> MsgGenerator[None]:
        yield from stubs.light_off(light)
        stop()
        yield from stubs.move_all(home_um)
        yield from stubs.move_all({camera.exposure_s: before_s})

    return (yield from bpp.finalize_wrapper(bpp.stage_wrapper(run(), [camera, *home_um]), make_safe))


def characterize_run(
    microscope: Any,
    camera: Any,
    kind: Any,
    about: dict[str, Any],
    settings: dict[str, Any],
    start: dict[str, Any],
    body: Callable[[CharacterizeRun], MsgGenerator[None]],
    recorder: Any = None,
) -> MsgGenerator[str]:
    """Open a run, let `body` take its frames, work them out, keep the result, and go by it.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        What was measured is not fit for use; the message says why. It is kept all the same.
    """
    from parfocal.focus import characterizing

    characterizer = Characterizer("characterization", kind, characterizing(kind, about, settings))
    run = CharacterizeRun(microscope, camera, characterizer, recorder)
    told = {
        "detectors": [camera.name],
        "hints": {"dimensions": [(["time"], STREAM)]},
        "instrument": microscope.backend.name,
        "parfocal": {
            "axes": {axis: getattr(microscope.xyz, axis).name for axis in "xyz"},
            "camera": camera.name,
            "characterize": {"kind": kind, "about": about, "settings": settings},
        },
    }
    uid = yield from bps.open_run(told | start)
    yield from body(run)
    yield from bps.trigger(characterizer, wait=True)
    found = characterizer.found
    if found is not None:
        yield Msg("create", None, name="characterization")
        yield Msg("read", characterizer)
        yield Msg("save")
    yield from bps.close_run()
    if found is not None:
        microscope.characterizations.keep(found, uid)
        microscope.use_characterizations()
        if not found.is_usable:
            raise HardwareError(f"{start['plan_name']}: not fit for use: {found.why_not()}")
    return uid


def stage_identity(microscope: Any, camera: Any, axis: str) -> dict[str, Any]:
    """Return what a measurement of an axis by a camera holds for."""
    facts, driver = camera.facts, microscope.xyz.driver
    stage = str(getattr(driver, "backend", type(driver).__name__))
    return {"camera": facts.model, "serial": facts.serial, "stage": stage, "axis": axis}


def check_number(plan: str, name: str, value: Any, low: float, high: float = float("inf")) -> None:
    """Raise `BadInputError` for what is no number, or none within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bounds = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
        raise BadInputError(f"{plan}: {name} is {value!r}, expected {bounds}")
