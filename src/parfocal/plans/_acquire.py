"""One engine under all imaging plans: visits to positions, each with a failure policy.

Every plan here is a `useq.MDASequence`. Its events fall into visits (one position at one time point); a visit
that fails is skipped, tried again, or ends the run, as the plan was told, and the documents say which.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator
from useq import HardwareAutofocus, MDAEvent, MDASequence

from parfocal.devices import FAILURE, POINT, Columns, Together
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs
from parfocal.plans._check import check_events
from parfocal.plans._failures import FAILURES, reason_of
from parfocal.plans._frame_run import end_safely, start_document
from parfocal.plans._parts import Parts

OnError = Literal["abort", "skip", "retry"]


@dataclass(frozen=True)
class Policy:
    """What to do when a position fails: `abort` the run, `skip` it, or `retry` it n times, then skip."""

    on_error: OnError = "abort"
    retries: int = 2

    @property
    def attempts(self) -> int:
        """How often a visit is tried."""
        return 1 + self.retries if self.on_error == "retry" else 1


@dataclass
class _State:
    """What the engine remembers between events."""

    z_shift_um: dict[int, float] = field(default_factory=dict[int, float])
    at: dict[str, float] = field(default_factory=dict[str, float])
    light: str | None = None
    exposure_ms: float | None = None
    origin_s: float = 0.0
    default_exposure_ms: float | None = None
    readables: tuple[Any, ...] = ()
    done: int = 0
    failed: int = 0


def acquire(
    parts: Parts,
    sequence: MDASequence,
    *,
    plan_name: str,
    plan_args: dict[str, Any],
    policy: Policy = Policy(),
    probe: Any = None,
    autofocus_half_range_um: float = 3.0,
    exposure_s: float | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Run a sequence on an instrument: one run, one event a frame.

    The z axis is put back where it was and the light put out whatever happens. Nothing moves before the whole
    sequence was checked.

    Parameters
    ----------
    parts : Parts
        The instrument.
    sequence : MDASequence
        What to do. Positions without coordinates are where the stage stands.
    plan_name, plan_args
        For the start document.
    policy : Policy
        What to do when a position fails.
    probe : Auditor, optional
        Scores frames where the sequence asks for autofocus.
    autofocus_half_range_um : float
        Reach of the autofocus sweep.
    exposure_s : float, optional
        For events that name none; default: as the camera is set.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        The run's uid.
    """
    home: dict[str, float] = {}
    for name, axis in parts.axes.items():
        home[name] = yield from stubs.position_of(axis)
    events = list(_with_positions(sequence, home))
    check_events(sequence, events, parts, can_autofocus=probe is not None)
    if exposure_s is not None and parts.camera is None:
        raise BadInputError(f"{plan_name}: {parts.name} has no camera that takes an exposure")
    visits = [list(group) for _, group in itertools.groupby(events, key=_visit)]
    point, failure = Columns("point", POINT), Columns("failure", FAILURE)
    state = _State(
        default_exposure_ms=exposure_s * 1000 if exposure_s is not None else None,
        readables=readables_of(parts, point),
    )

    def run() -> MsgGenerator[str]:
        uid = yield from bps.open_run(_told_first(parts, sequence, events, plan_name, plan_args, policy, md))
        state.origin_s = time.monotonic()
        for visit in visits:
            yield from _visit_with_policy(
                parts, visit, policy, state, point, failure, probe, autofocus_half_range_um
            )
        if state.failed and not state.done:
            raise HardwareError(f"{plan_name}: all {state.failed} position visits failed; see stream `failures`")
        yield from bps.close_run()
        return uid

    return (yield from end_safely(parts, run(), home.get("z", 0.0)))


def readables_of(parts: Parts, point: Columns) -> tuple[Any, ...]:
    """Return what an event reads: the detectors one by one, stage, light and point together."""
    alone = [part for part in parts.surroundings if not Together.can_join(part)]
    joined = [part for part in parts.surroundings if Together.can_join(part)]
    return (*parts.detectors, *alone, Together("surroundings", (*joined, point)))


def _visit_with_policy(
    parts: Parts,
    visit: list[MDAEvent],
    policy: Policy,
    state: _State,
    point: Columns,
    failure: Columns,
    probe: Any,
    half_range_um: float,
) -> MsgGenerator[None]:
    for attempt in range(1, policy.attempts + 1):
        try:
            for event in visit:
                yield from _one_event(parts, event, attempt, state, point, probe, half_range_um)
            yield from stubs.light_off(parts.light)
            state.light = None
        except FAILURES as error:
            state.at.clear()
            state.light, state.exposure_ms = None, None
            last = attempt == policy.attempts
            action = "abort" if policy.on_error == "abort" else "skip" if last else "retry"
            where = {
                "position": visit[0].index.get("p", 0),
                "position_name": visit[0].pos_name or "",
                "time_point": visit[0].index.get("t", 0),
            }
            values = {**where, "attempt": attempt, "action": action, "reason": reason_of(error)}
            yield from stubs.light_off(parts.light)
            yield from stubs.record(failure, values, stream="failures")
            if action == "abort":
                raise
            if action == "skip":
                state.failed += 1
                return
        else:
            state.done += 1
            return


def _one_event(
    parts: Parts,
    event: MDAEvent,
    attempt: int,
    state: _State,
    point: Columns,
    probe: Any,
    half_range_um: float,
) -> MsgGenerator[None]:
    yield from _wait_for_its_time(event, state)
    place = event.index.get("p", 0)
    moves = _moves(parts, event, state, state.z_shift_um.get(place, 0.0))
    yield from _prepare_light_and_camera(parts, event, state)
    if isinstance(event.action, HardwareAutofocus):
        # Once per position: the shift found here holds for all planes that follow at this position.
        yield from stubs.move_all(moves)
        shift = yield from stubs.autofocus(parts.detectors, parts.z, probe, half_range_um=half_range_um)
        state.z_shift_um[place] = state.z_shift_um.get(place, 0.0) + shift
        state.at.pop("z", None)
        return
    # Not a message: nothing moves, and a repeated step repeats it from the same values.
    point.note(
        position=event.index.get("p", 0),
        position_name=event.pos_name or "",
        time_point=event.index.get("t", 0),
        plane=event.index.get("z", 0),
        tile=event.index.get("g", 0),
        channel=event.channel.config if event.channel is not None else "",
        exposure_s=_exposure_s(parts),
        attempt=attempt,
    )
    yield from stubs.image_point(parts.detectors, state.readables, moves=moves)


def _moves(parts: Parts, event: MDAEvent, state: _State, z_shift_um: float) -> dict[Any, float]:
    """Return the axes that have to move; one that already was sent there is left alone."""
    moves: dict[Any, float] = {}
    for name, axis in parts.axes.items():
        value = getattr(event, f"{name}_pos")
        if value is None:
            continue
        target = float(value) + (z_shift_um if name == "z" else 0.0)
        if state.at.get(name) != target:
            moves[axis] = target
            state.at[name] = target
    return moves


def _wait_for_its_time(event: MDAEvent, state: _State) -> MsgGenerator[None]:
    if event.reset_event_timer:
        state.origin_s = time.monotonic()
    if event.min_start_time:
        due_s = state.origin_s + float(event.min_start_time)
        if due_s > time.monotonic():
            yield from stubs.wait_until(due_s)


def _prepare_light_and_camera(parts: Parts, event: MDAEvent, state: _State) -> MsgGenerator[None]:
    channel = event.channel.config if event.channel is not None else ""
    if parts.light is not None and state.light != channel:
        yield from stubs.light_on(parts.light, channel)
        state.light = channel
    exposure_ms = event.exposure if event.exposure is not None else state.default_exposure_ms
    if exposure_ms is not None and exposure_ms != state.exposure_ms:
        yield from stubs.move_all({parts.camera.exposure_s: float(exposure_ms) / 1000})
        state.exposure_ms = exposure_ms


def _exposure_s(parts: Parts) -> float:
    return float(parts.camera.exposure_s.get()) if parts.camera is not None else float("nan")


def _visit(event: MDAEvent) -> tuple[int, ...]:
    """Return (time point, position, tile): what belongs to one visit."""
    return event.index.get("t", 0), event.index.get("p", 0), event.index.get("g", 0)


def _with_positions(sequence: MDASequence, home: dict[str, float]) -> Iterator[MDAEvent]:
    """Fill in where the stage stands for coordinates that the sequence leaves open, but moves relative to."""
    positions = sequence.stage_positions
    if not positions:
        filled = sequence.replace(stage_positions=[dict(home)]) if _is_relative(sequence) else sequence
    else:
        filled = sequence.replace(
            stage_positions=[
                p.replace(**{axis: home[axis] for axis in home if getattr(p, axis) is None}) for p in positions
            ]
        )
    # useq's autofocus plan remembers where it last focused, in itself: a copy asks for it afresh.
    return MDASequence.model_validate(filled.model_dump()).iter_events()


def _is_relative(sequence: MDASequence) -> bool:
    return bool(
        (sequence.z_plan is not None and sequence.z_plan.is_relative)
        or (sequence.grid_plan is not None and sequence.grid_plan.is_relative)
    )


def _told_first(
    parts: Parts,
    sequence: MDASequence,
    events: list[MDAEvent],
    plan_name: str,
    plan_args: dict[str, Any],
    policy: Policy,
    md: dict[str, Any] | None,
) -> dict[str, Any]:
    used = sequence.used_axes
    dimensions: list[Any] = []
    if "t" in used:
        dimensions.append((["time"], "primary"))
    if ("p" in used or "g" in used) and parts.x is not None and parts.y is not None:
        dimensions.append(([*_fields(parts.x), *_fields(parts.y)], "primary"))
    if "z" in used and parts.z is not None:
        dimensions.append((_fields(parts.z), "primary"))
    return start_document(
        parts,
        plan_name,
        plan_args,
        num_points=sum(not isinstance(e.action, HardwareAutofocus) for e in events),
        shape=[n for n in sequence.shape if n > 1] or [1],
        dimensions=dimensions or [(["time"], "primary")],
        about={
            "on_error": policy.on_error,
            "retries": policy.retries,
            "useq": sequence.model_dump(mode="json", exclude_unset=True, exclude={"uid"}),
        },
        md=md,
    )


def _fields(axis: Any) -> list[str]:
    return list(getattr(axis, "hints", {}).get("fields", [axis.name]))
