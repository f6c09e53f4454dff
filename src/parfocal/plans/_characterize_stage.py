"""Characterize an axis of a stage: answer to steps, play, and which way it goes."""

from dataclasses import replace
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.protocols import Readable
from bluesky.utils import Msg, MsgGenerator, plan

from parfocal.devices import StepRecorder
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._characterize_run import (
    CharacterizeRun,
    camera_named,
    characterize_run,
    check_number,
    in_light,
    looked_at,
    stage_identity,
)

_PLAN = "characterize_stage"


@plan
def characterize_stage(
    microscope: Readable[Any],
    axis: str = "z",
    camera: str = "auto",
    step_um: float | None = None,
    n_steps: int = 8,
    duration_s: float = 0.2,
    half_step_um: float | None = None,
    approach_um: float | None = None,
    n_approaches: int = 16,
    n_pictures: int = 4,
    settle_s: float = 0.03,
    tolerance_um: float = 0.0,
    beyond_focus_signal: str = "",
    exposure_s: float | None = None,
    channel: str = "",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Measure how an axis answers steps, its play, and which way it goes; at the end it is where it was.

    Steps up and down are looked at in the readback. Play is what the readback does not see: the same place is come
    to from below and from above, by turns, and pictures tell how far the sample stands apart, in the stage's own
    unit, by what a motion of the axis does to them. Of z, beads seen through a cylindrical lens tell the sign. It
    needs something in view, in focus, that stays where it is.

    Parameters
    ----------
    microscope : Microscope
        Has the stage.
    axis : {"x", "y", "z"}
        Which axis.
    camera : {"auto", "camera", "focus_camera"}
        Which camera looks; `auto`: the focus camera along z, else the imaging camera.
    step_um : float, optional
        Size of the steps; default 0.5 along z, else 10.
    n_steps : int
        How many, up and down by turns.
    duration_s : float
        How long the readback is looked at after each.
    half_step_um : float, optional
        How far to either side pictures are taken, to see what a motion does; default 0.2 along z, else two pixels.
    approach_um : float, optional
        From how far a place is come to; more than the play. Default 2 along z, else 20.
    n_approaches : int
        How many, from either side by turns.
    n_pictures : int
        Pictures on either side and in the middle.
    settle_s : float
        Wait after each move.
    tolerance_um : float
        What counts as settled; four times the readback's noise at least.
    beyond_focus_signal : {"", "positive", "negative"}
        Sign of the error signal ln(sigma_x / sigma_y) of a bead beyond the focal plane, as the lens was built: it
        tells which way z goes to the sample. Empty where it is not known.
    exposure_s : float, optional
        Of the camera.
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
        The axis did not answer.
    """
    bench: Any = microscope
    name, device, movable = looked_at(bench, axis, camera, _PLAN)
    is_z = axis == "z"
    step = float(step_um if step_um is not None else 0.5 if is_z else 10.0)
    default_um = 0.2 if is_z else 2 * float(device.facts.pixel_size_um[0])
    half = float(half_step_um if half_step_um is not None else default_um)
    approach = float(approach_um if approach_um is not None else 2.0 if is_z else 20.0)
    for what, value, low in (
        ("step_um", step, 1e-6),
        ("half_step_um", half, 1e-6),
        ("approach_um", approach, half),
    ):
        check_number(_PLAN, what, value, low)
    for what, value, low in (
        ("n_steps", n_steps, 2),
        ("n_approaches", n_approaches, 6),
        ("n_pictures", n_pictures, 1),
    ):
        check_number(_PLAN, what, value, low, 10_000)
    check_number(_PLAN, "duration_s", duration_s, 0.005, 60)
    if beyond_focus_signal not in ("", "positive", "negative"):
        raise BadInputError(
            f"{_PLAN}: beyond_focus_signal is {beyond_focus_signal!r}, expected positive, negative or nothing"
        )
    home_um = yield from stubs.position_of(movable)
    for end_um in (home_um - half - approach, home_um + half + approach, home_um - step, home_um + step):
        movable.check_value(end_um)
    recorder = StepRecorder("trace", movable, duration_s)

    def go(to_um: float) -> MsgGenerator[None]:
        yield Msg("checkpoint")
        yield from bps.mv(movable, to_um)
        if settle_s:
            yield Msg("sleep", None, settle_s)

    def body(taking: CharacterizeRun) -> MsgGenerator[None]:
        from parfocal.focus import Probed

        # The stage is where pictures begin before the first of them.
        for number in range(n_pictures):
            for side in (-1, 0, 1):
                at_um = home_um + side * half
                yield from go(at_um - approach)
                yield from go(at_um)
                yield from taking.take(
                    Probed("probe", number=number, side=side, to_um=at_um, exposure_s=actual_s())
                )
        for number in range(n_approaches):
            side = -1 if number % 2 == 0 else 1
            from_um = home_um + side * approach
            yield from go(from_um)
            yield from go(home_um)
            yield from taking.take(Probed("side", number=number, side=side, from_um=from_um, to_um=home_um))

    def steps(taking: CharacterizeRun) -> MsgGenerator[None]:
        from parfocal.focus import Probed

        ends = (home_um, home_um + step)
        for number in range(n_steps):
            from_um, to_um = ends if number % 2 == 0 else ends[::-1]
            yield from go(from_um)
            yield from bps.mv(recorder, to_um)
            yield from bps.trigger(recorder, wait=True)
            told = Probed("step", number=number, from_um=from_um, to_um=to_um)
            yield from taking.take(told)

    def actual_s() -> float:
        return float(device.facts.settings.exposure_s)

    def run() -> MsgGenerator[str]:
        about = stage_identity(bench, device, axis)
        told = {
            "half_step_um": half,
            "tolerance_um": float(tolerance_um),
            "beyond_focus_signal": beyond_focus_signal,
        }
        start = {
            "plan_name": _PLAN,
            "plan_args": {
                "axis": axis,
                "camera": name,
                "step_um": step,
                "n_steps": n_steps,
                "duration_s": duration_s,
                "half_step_um": half,
                "approach_um": approach,
                "n_approaches": n_approaches,
                "n_pictures": n_pictures,
                "settle_s": settle_s,
                "tolerance_um": tolerance_um,
                "beyond_focus_signal": beyond_focus_signal,
            },
            "motors": [movable.name],
        } | (md or {})

        def both(taking: CharacterizeRun) -> MsgGenerator[None]:
            yield from steps(taking)
            yield from body(taking)

        return (yield from characterize_run(bench, device, "stage", about, told, start, both, recorder))

    return (yield from in_light(bench, device, {movable: home_um}, exposure_s, channel, run, recorder.stop))


@plan
def characterize_pixel_size(
    microscope: Readable[Any],
    travel_um: float | None = None,
    approach_um: float = 5.0,
    n_rounds: int = 2,
    settle_s: float = 0.03,
    exposure_s: float | None = None,
    channel: str = "",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Measure pixel size and the affine between stage and camera; x and y are where they were at the end.

    The stage goes round a square about where it is, each place come to from below on both axes, and each frame is
    laid on the first. It needs a sample with structure all over the view.

    Parameters
    ----------
    microscope : Microscope
        Has stage and imaging camera.
    travel_um : float, optional
        Half the side of the square; default: an eighth of the view, by the pixel size that is told.
    approach_um : float
        From how far below a place is come to, so that play does not enter.
    n_rounds : int
        How often round.
    settle_s : float
        Wait after each move.
    exposure_s : float, optional
        Of the camera.
    channel : str
        Of the light.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        The frames could not be laid on each other.
    """
    bench: Any = microscope
    plan_name = "characterize_pixel_size"
    device = camera_named(bench, "camera", plan_name)
    x, y = bench.xyz.x, bench.xyz.y
    pixel_um = float(device.facts.pixel_size_um[0])
    reach = float(travel_um if travel_um is not None else min(device.facts.shape) * pixel_um / 8)
    check_number(plan_name, "travel_um", reach, 1e-6)
    check_number(plan_name, "approach_um", approach_um, 0)
    check_number(plan_name, "n_rounds", n_rounds, 1, 1000)
    home: dict[Any, float] = {}
    for axis in (x, y):
        home[axis] = yield from stubs.position_of(axis)
    for axis, at_um in home.items():
        axis.check_value(at_um - reach - approach_um)
        axis.check_value(at_um + reach)
    around = ((0, 0), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))

    def body(taking: CharacterizeRun) -> MsgGenerator[None]:
        from parfocal.focus import Probed

        point = Probed("shift", exposure_s=float(device.facts.settings.exposure_s))
        for number, (up, right) in enumerate(around * n_rounds):
            goal = {y: home[y] + up * reach, x: home[x] + right * reach}
            yield Msg("checkpoint")
            if approach_um:
                yield from stubs.move_all({axis: um - approach_um for axis, um in goal.items()})
            yield from stubs.move_all(goal)
            if settle_s:
                yield Msg("sleep", None, settle_s)
            yield from taking.take(replace(point, number=number, y_um=goal[y], x_um=goal[x]))

    def run() -> MsgGenerator[str]:
        about = stage_identity(bench, device, "xy")
        start = {
            "plan_name": plan_name,
            "plan_args": {
                "travel_um": reach,
                "approach_um": approach_um,
                "n_rounds": n_rounds,
                "channel": channel,
            },
            "motors": [x.name, y.name],
        } | (md or {})
        told = {"told_pixel_size_um": pixel_um}
        return (yield from characterize_run(bench, device, "pixel_size", about, told, start, body))

    return (yield from in_light(bench, device, home, exposure_s, channel, run))
