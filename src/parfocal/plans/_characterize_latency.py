"""Characterize latency: from a command to motion in the picture, and from the end of an exposure to the frame."""

from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.protocols import Readable
from bluesky.utils import Msg, MsgGenerator, plan

from parfocal.devices import TimedMove
from parfocal.plans import stubs
from parfocal.plans._characterize_run import (
    CharacterizeRun,
    characterize_run,
    check_number,
    in_light,
    looked_at,
    stage_identity,
)

_PLAN = "characterize_latency"


@plan
def characterize_latency(
    microscope: Readable[Any],
    axis: str = "z",
    camera: str = "auto",
    half_step_um: float | None = None,
    span_s: float = 0.04,
    n_delays: int = 10,
    n_repeats: int = 6,
    n_pictures: int = 6,
    settle_s: float = 0.08,
    exposure_s: float | None = None,
    channel: str = "",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Measure how long after a command the picture has moved, and how long after its exposure a frame is there.

    The axis goes a small step, and a frame is taken a while before or after the command, another while each time.
    How much of the motion each frame shows, over the middle of its exposure on the camera's clock, is the answer
    of the stage as a focus lock sees it, and the lock counts its commands as in force so much later from then on.
    It needs something in view, in focus, that stays where it is; the axis is where it was at the end.

    Parameters
    ----------
    microscope : Microscope
        Has stage and camera.
    axis : {"x", "y", "z"}
        Which axis.
    camera : {"auto", "camera", "focus_camera"}
        Which camera looks; `auto`: the focus camera along z, else the imaging camera.
    half_step_um : float, optional
        Half of the step; default 0.15 along z, else two pixels.
    span_s : float
        How long after a command frames are taken; all motion is to have ended by then.
    n_delays : int
        Frames at different times of one step.
    n_repeats : int
        How often each, up and down by turns.
    n_pictures : int
        Pictures at either end and in the middle.
    settle_s : float
        Wait before each step.
    exposure_s : float, optional
        Of the camera; shorter than what is measured tells more.
    channel : str
        Of the light, for the imaging camera.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        Frames do not follow the moves, or show them before they were sent.
    """
    bench: Any = microscope
    name, device, movable = looked_at(bench, axis, camera, _PLAN)
    default_um = 0.15 if axis == "z" else 2 * float(device.facts.pixel_size_um[0])
    half = float(half_step_um if half_step_um is not None else default_um)
    check_number(_PLAN, "half_step_um", half, 1e-6)
    check_number(_PLAN, "span_s", span_s, 1e-3, 10)
    for what, value, low in (
        ("n_delays", n_delays, 4),
        ("n_repeats", n_repeats, 2),
        ("n_pictures", n_pictures, 1),
    ):
        check_number(_PLAN, what, value, low, 1000)
    home_um = yield from stubs.position_of(movable)
    movable.check_value(home_um - half)
    movable.check_value(home_um + half)
    timed = TimedMove(movable, device.feed.now_s)

    def body(taking: CharacterizeRun) -> MsgGenerator[None]:
        from parfocal.focus import Probed

        exposed_s = float(device.facts.settings.exposure_s)
        for number in range(n_pictures):
            for side in (-1, 0, 1):
                yield Msg("checkpoint")
                yield from bps.mv(movable, home_um + side * half)
                yield Msg("sleep", None, settle_s)
                yield from taking.take(Probed("probe", number=number, side=side, exposure_s=exposed_s))
        # From one that ends before the command to one that begins when all is over.
        leads = np.linspace(-exposed_s - 0.002, span_s - exposed_s / 2, n_delays).tolist()
        for level in range(n_repeats):
            up = 1 if level % 2 == 0 else -1
            for number, lead_s in enumerate(leads):
                from_um, to_um = home_um - up * half, home_um + up * half
                yield Msg("checkpoint")
                yield from bps.mv(movable, from_um)
                yield Msg("sleep", None, settle_s)
                yield from _step_and_frame(device, timed, to_um, lead_s, f"{level}-{number}")
                told = Probed(
                    "delay",
                    level=level,
                    number=number,
                    from_um=from_um,
                    to_um=to_um,
                    exposure_s=exposed_s,
                    sent_s=timed.sent_s,
                )
                yield from taking.save(told)

    def run() -> MsgGenerator[str]:
        about = stage_identity(bench, device, axis)
        start = {
            "plan_name": _PLAN,
            "plan_args": {
                "axis": axis,
                "camera": name,
                "half_step_um": half,
                "span_s": span_s,
                "n_delays": n_delays,
                "n_repeats": n_repeats,
                "n_pictures": n_pictures,
                "settle_s": settle_s,
            },
            "motors": [movable.name],
        } | (md or {})
        return (yield from characterize_run(bench, device, "latency", about, {"half_step_um": half}, start, body))

    return (yield from in_light(bench, device, {movable: home_um}, exposure_s, channel, run))


def _step_and_frame(camera: Any, timed: TimedMove, to_um: float, lead_s: float, which: str) -> MsgGenerator[None]:
    """Send a step, and take a frame `lead_s` after the command; before it, where that is below 0."""
    group = f"latency-{which}"
    if lead_s < 0:
        yield Msg("trigger", camera, group=group)
        yield Msg("sleep", None, -lead_s)
        yield Msg("set", timed, to_um, group=group)
    else:
        yield Msg("set", timed, to_um, group=group)
        yield Msg("sleep", None, lead_s)
        yield Msg("trigger", camera, group=group)
    yield Msg("wait", None, group=group)
