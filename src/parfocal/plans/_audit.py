"""Ask an auditor from a plan, and say in the metadata what was agreed with it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from bluesky.utils import Msg, MsgGenerator

from parfocal.devices import Auditor, Columns
from parfocal.errors import BadInputError
from parfocal.plans import stubs

STREAM = "audit"

PROGRESS: dict[str, Any] = {"done": 0, "total": 0, "retaken": 0}
"""How far a plan with retakes has come: slices with a verdict, all slices, frames taken again."""


@dataclass(frozen=True)
class AuditOptions:
    """What holds when a plan's own judge is late."""

    timeout_s: float
    on_timeout: Literal["accept", "reject", "fail"]


@dataclass(frozen=True)
class Said:
    """A verdict, as it was read."""

    accepted: bool
    reason: str
    frame: int
    is_provisional: bool


def auditor_for(camera: Any, given: Any, options: AuditOptions, judge: Callable[[], Any]) -> Auditor:
    """Return the auditor that a plan was given, else one of a judge made here.

    Raises
    ------
    BadInputError
        What was given is no Auditor of this camera, or an option is wrong.
    """
    if given is not None:
        if not isinstance(given, Auditor) or given.camera is not camera:
            raise BadInputError(f"{given!r} is no auditor of {camera.name}: an Auditor of it was expected")
        return given
    if not options.timeout_s > 0 or options.on_timeout not in ("accept", "reject", "fail"):
        raise BadInputError(
            f"judge_timeout_s={options.timeout_s}, on_timeout={options.on_timeout!r}: "
            "a time above 0, and accept, reject or fail were expected"
        )
    return Auditor(STREAM, camera, judge(), timeout_s=options.timeout_s, on_timeout=options.on_timeout)


def slice_judge(camera: Any, told: dict[str, float], expected: dict[str, Any] | None, n_slices: int) -> Any:
    """Return a judge of slices, from plain values."""
    from parfocal.slices import JudgeSettings, LookSettings, SliceJudge, expectations_from, look_at

    # A short run would end before the judge has learned.
    n_learn = max(3, min(JudgeSettings().n_learn, n_slices))
    settings = settings_from(JudgeSettings, {"n_learn": n_learn, **told})
    given = expectations_from(expected) if expected is not None else None
    look = LookSettings.of_camera(camera.facts.camera_model)
    # Compiled before there is a deadline: the first time on a machine that takes longer than a verdict may.
    look_at(np.indices(camera.facts.shape).sum(axis=0).astype(camera.facts.dtype), look)
    return SliceJudge(given, settings, look)


def stack_judge(told: dict[str, float]) -> Any:
    """Return a judge of a stack's planes, from plain values."""
    from parfocal.slices import StackJudge, StackSettings

    return StackJudge(settings_from(StackSettings, told))


def settings_from(cls: Any, told: dict[str, Any]) -> Any:
    """Return settings of a judge from plain values.

    Raises
    ------
    BadInputError
        One is unknown, or no number above 0.
    """
    kinds = {f.name: type(getattr(cls(), f.name)) for f in fields(cls)}
    for name, value in told.items():
        if name not in kinds:
            raise BadInputError(f"judge: no setting {name!r}, there are: {', '.join(kinds)}")
        # A bool is an int to Python, and a NaN is no number to anybody.
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise BadInputError(f"judge: {name}={value!r}, a number above 0 was expected")
    return cls(**{name: kinds[name](value) for name, value in told.items()})


def audit_metadata(auditor: Auditor, max_attempts: int, refocus: str) -> dict[str, Any]:
    """Return what a start document says about the audit: who judges, how, and what holds when it is late."""
    about: dict[str, Any] = {
        "auditor": auditor.name,
        "timeout_s": auditor.timeout_s,
        "on_timeout": auditor.on_timeout,
        "max_attempts": max_attempts,
        "refocus": refocus,
    }
    describe = getattr(auditor.judge, "as_dict", None)
    if describe is not None:
        about["judge"] = describe()
    return about


def ask(auditor: Auditor, slice_id: str, attempt: int, *beside: Columns) -> MsgGenerator[Said]:
    """Have the camera's last frame judged, and save the verdict."""
    auditor.note(slice_id, attempt)
    return (yield from _verdict(auditor, beside))


def ask_again(auditor: Auditor, slice_id: str, attempt: int, frame: int, *beside: Columns) -> MsgGenerator[Said]:
    """Have a frame of the past judged by what is known now, and save the verdict."""
    auditor.note(slice_id, attempt, again=frame)
    return (yield from _verdict(auditor, beside))


def _verdict(auditor: Auditor, beside: tuple[Columns, ...]) -> MsgGenerator[Said]:
    yield Msg("checkpoint")
    yield from stubs.trigger_all((auditor,))
    yield Msg("create", None, name=STREAM)
    read = yield Msg("read", auditor)
    for columns in beside:
        yield Msg("read", columns)
    yield Msg("save")
    yield Msg("checkpoint")
    if not read:  # a simulated RunEngine reads nothing
        return Said(True, "", 0, False)
    told = {key.removeprefix(f"{auditor.name}_"): reading["value"] for key, reading in read.items()}
    return Said(bool(told["accepted"]), told["reason"], int(told["frame"]), bool(told["provisional"]))
