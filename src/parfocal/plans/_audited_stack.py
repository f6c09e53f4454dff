"""A z-stack of a sample that may move: the planes that it spoilt are taken again."""

import time
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.devices import POINT, Columns
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._acquire import readables_of
from parfocal.plans._audit import (
    PROGRESS,
    AuditOptions,
    ask,
    ask_again,
    audit_metadata,
    auditor_for,
    stack_judge,
)
from parfocal.plans._check import check_light_and_exposure, is_count, is_number
from parfocal.plans._frame_run import end_safely, start_document
from parfocal.plans._parts import parts_of


@plan
def z_stack_audited(
    microscope: Readable[Any],
    half_range_um: float = 5.0,
    step_um: float = 0.5,
    max_attempts: int = 3,
    rest_s: float = 0.0,
    *,
    channel: str = "",
    exposure_s: float | None = None,
    judge: dict[str, float] | None = None,
    auditor: Readable[Any] | None = None,
    judge_timeout_s: float = 5.0,
    on_timeout: Literal["accept", "reject", "fail"] = "accept",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take a z-stack, find the planes that were taken while the sample moved, and take those again.

    Each plane is compared with those before it as it comes, so that the audit tells of a motion as it happens.
    When the stack is complete, all planes are judged by all others, and only those out of line are taken again,
    until none is, or each was taken `max_attempts` times. All attempts are kept.

    Parameters
    ----------
    microscope : Microscope
        What to image with.
    half_range_um : float
        Reach to either side of where z stands, um.
    step_um : float
        Distance between planes, um.
    max_attempts : int
        How often a plane is taken at most; the last verdict stands.
    rest_s : float
        Wait before planes are taken again, so that the sample comes to rest.
    channel : str
        Light channel; empty for the one that is chosen.
    exposure_s : float, optional
        Default: as the camera is set.
    judge : dict, optional
        How strict the judge is: fields of `parfocal.slices.StackSettings`.
    auditor : Auditor, optional
        One of your own, with a judge that remembers; then `judge`, `judge_timeout_s` and `on_timeout` are left
        alone.
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
        raise BadInputError(f"z_stack_audited: {parts.name} has no camera and z, a Microscope was expected")
    check_light_and_exposure("z_stack_audited", parts, channel, exposure_s)
    are_numbers = all(is_number(value) for value in (half_range_um, step_um, rest_s))
    if not (are_numbers and 0 < step_um <= half_range_um and is_count(max_attempts, 1) and rest_s >= 0):
        raise BadInputError(
            f"z_stack_audited: +-{half_range_um} um in steps of {step_um} um, max_attempts={max_attempts}, "
            f"rest_s={rest_s}: a range above 0, a step within it, 1 attempt or more, 0 s or more were expected"
        )
    own = auditor_for(
        parts.camera, auditor, AuditOptions(judge_timeout_s, on_timeout), lambda: stack_judge(judge or {})
    )
    home_um = yield from stubs.position_of(parts.z)
    n_side = int(half_range_um / step_um + 1e-9)
    planes_um = [home_um + k * step_um for k in range(-n_side, n_side + 1)]
    for z_um in (planes_um[0], planes_um[-1]):
        check = getattr(parts.z, "check_value", None)
        if check is not None:
            check(z_um)
    start = start_document(
        parts,
        "z_stack_audited",
        {
            "half_range_um": half_range_um,
            "step_um": step_um,
            "max_attempts": max_attempts,
            "rest_s": rest_s,
        },
        num_points=len(planes_um),
        shape=[len(planes_um)],
        dimensions=[([parts.z.name], "primary")],
        about={"audit": audit_metadata(own, max_attempts, "never")},
        md=md,
    )
    point, progress = Columns("point", POINT), Columns("progress", PROGRESS)
    readables = readables_of(parts, point)
    frames: dict[int, tuple[int, int]] = {}  # the latest of each plane, and which attempt it is
    retaken = 0

    def take(plane: int, attempt: int) -> MsgGenerator[None]:
        point.note(plane=plane, exposure_s=float(parts.camera.exposure_s.get()), attempt=attempt)
        progress.note(done=len(frames), total=len(planes_um), retaken=retaken)
        yield from stubs.image_point(parts.detectors, readables, moves={parts.z: planes_um[plane]})
        said = yield from ask(own, f"{plane:02d}", attempt, progress)
        frames[plane] = (said.frame, attempt)

    def inner() -> MsgGenerator[str]:
        nonlocal retaken
        uid = yield from bps.open_run(start)
        if exposure_s is not None:
            yield from stubs.move_all({parts.camera.exposure_s: exposure_s})
        yield from stubs.light_on(parts.light, channel)
        for plane in range(len(planes_um)):
            yield from take(plane, 1)
        for attempt in range(1, max_attempts + 1):
            moved: list[int] = []
            for plane, (frame, taken) in sorted(frames.items()):
                said = yield from ask_again(own, f"{plane:02d}", taken, frame, progress)
                if not said.accepted:
                    moved.append(plane)
            if not moved or attempt == max_attempts:
                break
            yield from stubs.wait_until(time.monotonic() + rest_s)
            for plane in moved:
                retaken += 1
                yield from take(plane, attempt + 1)
        yield from bps.close_run()
        return uid

    return (yield from end_safely(parts, inner(), home_um))
