"""A volume of nuclei that is taken again, better, until what is found in it is certain."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.devices import POINT, Columns
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._acquire import readables_of
from parfocal.plans._audit import PROGRESS, AuditOptions, ask, audit_metadata, auditor_for
from parfocal.plans._check import check_light_and_exposure, is_count, is_number
from parfocal.plans._frame_run import end_safely, start_document
from parfocal.plans._parts import parts_of


@dataclass(frozen=True)
class _Attempt:
    """How a volume is taken."""

    number: int
    exposure_s: float
    step_um: float
    z_um: list[float]

    @property
    def light_s(self) -> float:
        return self.exposure_s * len(self.z_um)


@plan
def acquire_until_certain(
    microscope: Readable[Any],
    half_range_um: float = 6.0,
    step_um: float = 1.0,
    max_attempts: int = 3,
    light_budget_s: float = 60.0,
    max_uncertain: float = 0.1,
    exposure_factor: float = 3.0,
    step_factor: float = 0.7,
    min_step_um: float = 0.25,
    *,
    backend: str = "",
    model: str = "",
    diameter_um: float = 0.0,
    limits: dict[str, float] | None = None,
    channel: str = "",
    exposure_s: float | None = None,
    judge_timeout_s: float = 120.0,
    on_timeout: Literal["accept", "reject", "fail"] = "accept",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Image a volume; while too many of its nuclei are uncertain, image it again with more light and finer steps.

    Each plane is labelled as it comes. When a volume is complete, its objects are judged by signals of the network
    that need no truth (how well flow and mask agree, how sure the edge is ...). Every attempt is kept, as a time
    point of its own; stream `audit` says after the last plane of each what was found.

    Parameters
    ----------
    microscope : Microscope
        What to image with.
    half_range_um : float
        Reach to either side of where z stands, um.
    step_um : float
        Distance between planes of the first attempt, um.
    max_attempts : int
        How often the volume is taken at most.
    light_budget_s : float
        Exposure that the sample may get in all, s: an attempt that would go beyond is not begun.
    max_uncertain : float
        Share of uncertain nuclei with which a volume is accepted.
    exposure_factor, step_factor : float
        From one attempt to the next: how much longer the exposure is, and how much finer the step.
    min_step_um : float
        Finest step.
    backend, model, diameter_um : str, str, float
        As in the analysis `nuclei`; the backend must be one with a network.
    limits : dict, optional
        From where an object is uncertain: fields of `parfocal.segmentation.CertaintyLimits`.
    channel : str
        Light channel; empty for the one that is chosen.
    exposure_s : float, optional
        Of the first attempt. Default: as the camera is set.
    judge_timeout_s : float
        How long to wait for a verdict.
    on_timeout : {"accept", "reject", "fail"}
        What holds when it is late.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    BadInputError
        Something cannot be done; nothing has moved.
    """
    parts = parts_of(microscope)
    if parts.camera is None or parts.z is None:
        raise BadInputError(f"acquire_until_certain: {parts.name} has no camera and z, a Microscope was expected")
    check_light_and_exposure("acquire_until_certain", parts, channel, exposure_s)
    numbers = (half_range_um, step_um, light_budget_s, max_uncertain, exposure_factor, step_factor, min_step_um)
    if not (
        all(is_number(value) for value in numbers)
        and 0 < min_step_um <= step_um <= half_range_um
        and is_count(max_attempts, 1)
        and light_budget_s > 0
        and 0 <= max_uncertain < 1
        and exposure_factor >= 1
        and 0 < step_factor <= 1
    ):
        raise BadInputError(
            f"acquire_until_certain: +-{half_range_um} um in steps of {step_um} um (finest {min_step_um}), "
            f"max_attempts={max_attempts}, light_budget_s={light_budget_s}, max_uncertain={max_uncertain}, "
            f"exposure_factor={exposure_factor}, step_factor={step_factor}: a range above 0, steps within it, "
            "1 attempt or more, a budget above 0, a share of 0 to 1, a factor of 1 or more, and one of 0 to 1 "
            "were expected"
        )
    home_um = yield from stubs.position_of(parts.z)
    first_s = float(parts.camera.exposure_s.get()) if exposure_s is None else exposure_s
    before_s = float(parts.camera.exposure_s.get())
    attempts = [
        _attempt(number, first_s, exposure_factor, step_um, step_factor, min_step_um, half_range_um, home_um)
        for number in range(max_attempts)
    ]
    if attempts[0].light_s > light_budget_s:
        raise BadInputError(
            f"acquire_until_certain: the first attempt takes {attempts[0].light_s:g} s of light, "
            f"the budget is {light_budget_s:g} s"
        )
    for attempt in attempts:
        check_light_and_exposure("acquire_until_certain", parts, channel, attempt.exposure_s)
        for z_um in (attempt.z_um[0], attempt.z_um[-1]):
            check = getattr(parts.z, "check_value", None)
            if check is not None:
                check(z_um)
    judge = _judge(parts.camera, backend, model, diameter_um, max_uncertain, limits)
    own = auditor_for(parts.camera, None, AuditOptions(judge_timeout_s, on_timeout), lambda: judge)
    pixel_um = parts.camera.facts.pixel_size_um
    about = start_document(
        parts,
        "acquire_until_certain",
        {
            "half_range_um": half_range_um,
            "step_um": step_um,
            "max_attempts": max_attempts,
            "light_budget_s": light_budget_s,
            "max_uncertain": max_uncertain,
            "exposure_factor": exposure_factor,
            "step_factor": step_factor,
            "backend": backend,
            "model": model,
        },
        num_points=len(attempts[0].z_um),
        shape=[len(attempts[0].z_um)],
        dimensions=[([parts.z.name], "primary")],
        about={"audit": audit_metadata(own, max_attempts, "never")},
        md=md,
    )
    point, progress = Columns("point", POINT), Columns("progress", PROGRESS)
    readables = readables_of(parts, point)

    def take(attempt: _Attempt) -> MsgGenerator[bool]:
        judge.begin(len(attempt.z_um), (attempt.step_um, float(pixel_um[0]), float(pixel_um[1])))
        yield from stubs.move_all({parts.camera.exposure_s: attempt.exposure_s})
        accepted = True
        for plane, z_um in enumerate(attempt.z_um):
            point.note(
                plane=plane, time_point=attempt.number, attempt=attempt.number + 1, exposure_s=attempt.exposure_s
            )
            progress.note(done=plane, total=len(attempt.z_um), retaken=attempt.number)
            yield from stubs.image_point(parts.detectors, readables, moves={parts.z: z_um})
            said = yield from ask(own, f"{attempt.number:02d}/{plane:03d}", attempt.number + 1, progress)
            accepted = said.accepted
        return accepted

    def inner() -> MsgGenerator[str]:
        uid = yield from bps.open_run(about)
        yield from stubs.light_on(parts.light, channel)
        light_s = 0.0
        for attempt in attempts:
            if light_s + attempt.light_s > light_budget_s:
                break
            accepted = yield from take(attempt)
            light_s += attempt.light_s
            if accepted:
                break
        yield from bps.close_run()
        return uid

    def as_before() -> MsgGenerator[None]:
        yield from stubs.move_all({parts.camera.exposure_s: before_s})

    return (yield from end_safely(parts, bpp.finalize_wrapper(inner(), as_before), home_um))


def _attempt(
    number: int,
    exposure_s: float,
    exposure_factor: float,
    step_um: float,
    step_factor: float,
    min_step_um: float,
    half_range_um: float,
    home_um: float,
) -> _Attempt:
    finer_um = max(min_step_um, step_um * step_factor**number)
    n_side = math.floor(half_range_um / finer_um + 1e-9)
    z_um = [home_um + k * finer_um for k in range(-n_side, n_side + 1)]
    return _Attempt(number, exposure_s * exposure_factor**number, finer_um, z_um)


def _judge(
    camera: Any,
    backend: str,
    model: str,
    diameter_um: float,
    max_uncertain: float,
    limits: dict[str, float] | None,
) -> Any:
    from parfocal.callbacks import volume_judge

    # The model that is promoted in the data folder that the frames go to.
    root = getattr(camera, "frames_root", None)
    models = None if root is None else Path(root).parent / "models"
    return volume_judge(backend, model, diameter_um, max_uncertain, limits, models)
