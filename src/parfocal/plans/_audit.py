"""Ask an auditor from a plan, and say in the metadata what was agreed with it."""

from dataclasses import dataclass
from typing import Any, Literal

from bluesky.utils import Msg, MsgGenerator

from parfocal.devices import Auditor, Columns
from parfocal.errors import BadInputError
from parfocal.plans import stubs

STREAM = "audit"


@dataclass(frozen=True)
class AuditOptions:
    """What a plan's own judge is told."""

    judge: dict[str, float]
    expected: dict[str, Any] | None
    timeout_s: float
    on_timeout: Literal["accept", "reject", "fail"]


@dataclass(frozen=True)
class Said:
    """A verdict, as it was read."""

    accepted: bool
    reason: str
    frame: int
    is_provisional: bool


def auditor_for(camera: Any, given: Any, options: AuditOptions, n_slices: int) -> Auditor:
    """Return the auditor that a plan was given, else one with a judge of slices.

    Raises
    ------
    BadInputError
        What was given is no Auditor of this camera, or a setting of the judge is wrong.
    """
    if given is not None:
        if not isinstance(given, Auditor) or given.camera is not camera:
            raise BadInputError(f"{given!r} is no auditor of {camera.name}: an Auditor of it was expected")
        return given
    from parfocal.slices import JudgeSettings, LookSettings, SliceJudge, expectations_from

    if not options.timeout_s > 0 or options.on_timeout not in ("accept", "reject", "fail"):
        raise BadInputError(
            f"judge_timeout_s={options.timeout_s}, on_timeout={options.on_timeout!r}: "
            "a time above 0, and accept, reject or fail were expected"
        )
    # A short run would end before the judge has learned.
    n_learn = max(3, min(JudgeSettings().n_learn, n_slices))
    settings = JudgeSettings.told({"n_learn": n_learn, **options.judge})
    expected = expectations_from(options.expected) if options.expected is not None else None
    judge = SliceJudge(expected, settings, look_settings(camera, LookSettings))
    return Auditor(STREAM, camera, judge, timeout_s=options.timeout_s, on_timeout=options.on_timeout)


def look_settings(camera: Any, cls: Any) -> Any:
    """Return the settings of a look at frames of a camera: its offset and end, where it tells them."""
    model = camera.facts.camera_model
    if model is None:
        return cls()
    import numpy as np

    return cls(offset_adu=float(np.mean(model.offset_adu)), saturation_adu=float(model.saturation_adu))


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
