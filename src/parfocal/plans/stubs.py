"""Plan stubs: steps that open no run. Use them in plans of your own.

Inner loops yield bare messages: bluesky's `@plan` formats a stack trace at every call, which costs half of a
step-scan event.
"""

import itertools
import time
from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import Msg, MsgGenerator

from parfocal.errors import BadInputError

_LONGEST_SLEEP_S = 0.5
_COUNT = itertools.count()


def image_point(
    detectors: Sequence[Any],
    readables: Sequence[Any],
    *,
    moves: dict[Any, Any] | None = None,
    stream: str = "primary",
) -> MsgGenerator[dict[str, Any]]:
    """Move, take one frame, save one event, and set a checkpoint on either side.

    What is no detector (stage, light) is read while the detectors expose: it tells where the stage was then,
    and costs no time. The checkpoint after the save is what keeps a pause from repeating the event.

    Parameters
    ----------
    detectors : sequence of Readable
        Triggered, all at once.
    readables : sequence of Readable
        Read into the event, the detectors among them.
    moves : dict, optional
        Movable -> where to, all started at once and waited for before the trigger.
    stream : str
        Name of the event stream.

    Returns
    -------
    dict
        What was read, `{key: {"value", "timestamp"}}`.
    """
    yield Msg("checkpoint")
    if moves:
        yield from move_all(moves)
    reading: dict[str, Any] = {}
    group = yield from _start_all(detectors)
    try:
        # Within the try: a trigger that failed at once is thrown into the plan here, with the event open.
        yield Msg("create", None, name=stream)
        for readable in sorted(readables, key=lambda r: r in detectors):
            if group and readable in detectors:
                yield Msg("wait", None, group=group)
                group = ""
            read = yield Msg("read", readable)
            if read is not None:  # a simulated RunEngine reads nothing
                reading.update(read)
        if group:
            yield Msg("wait", None, group=group)
    except Exception:
        yield Msg("drop")
        raise
    yield Msg("save")
    yield Msg("checkpoint")
    return reading


def move_all(moves: dict[Any, Any]) -> MsgGenerator[None]:
    """Start all moves (Movable -> where to) and wait for them."""
    group = _group("move")
    for movable, target in moves.items():
        yield Msg("set", movable, target, group=group)
    yield Msg("wait", None, group=group)


def trigger_all(detectors: Sequence[Any]) -> MsgGenerator[None]:
    """Trigger all that can be, and wait for them."""
    group = yield from _start_all(detectors)
    yield Msg("wait", None, group=group)


def _start_all(detectors: Sequence[Any]) -> MsgGenerator[str]:
    group = _group("trigger")
    for detector in detectors:
        if hasattr(detector, "trigger"):
            yield Msg("trigger", detector, group=group)
    return group


def _group(what: str) -> str:
    """Return a group name of its own for each wait.

    A status that fails at once is thrown into the plan before its `wait`, and stays in its group: the next
    `wait` for a group of the same name would end with it, and not with the new statuses.
    """
    return f"{what}-{next(_COUNT)}"


def record(readable: Any, values: dict[str, Any], *, stream: str) -> MsgGenerator[None]:
    """Save one event of what the plan itself knows (see `parfocal.devices.Columns`)."""
    yield Msg("set", readable, values)
    yield Msg("create", None, name=stream)
    yield Msg("read", readable)
    yield Msg("save")
    yield Msg("checkpoint")


def wait_until(due_s: float) -> MsgGenerator[None]:
    """Wait for a time of `time.monotonic()`, in short sleeps, so that a pause does not start it over."""
    while (left := due_s - time.monotonic()) > 0:
        yield Msg("sleep", None, min(left, _LONGEST_SLEEP_S))
        yield Msg("checkpoint")


def position_of(axis: Any) -> MsgGenerator[float]:
    """Return where a Movable is: its setpoint where it tells one, else its readback."""
    if hasattr(axis, "locate"):
        location = yield Msg("locate", axis)
        return float(location["setpoint"]) if location else 0.0
    if hasattr(axis, "setpoint_um"):
        return float(axis.setpoint_um)
    value = yield from bps.rd(axis)
    return float(value) if value is not None else 0.0


def light_on(light: Any, channel: str = "") -> MsgGenerator[None]:
    """Choose a channel (if one is named) and let light onto the sample."""
    if light is None:
        return
    if channel:
        yield from move_all({light.channel: channel})
    yield from move_all({light.on: 1})


def light_off(light: Any) -> MsgGenerator[None]:
    """Keep light from the sample."""
    if light is not None:
        yield from move_all({light.on: 0})


def autofocus(
    detectors: Sequence[Any],
    z: Any,
    probe: Any,
    *,
    half_range_um: float = 3.0,
    n_planes: int = 9,
    stream: str = "autofocus",
) -> MsgGenerator[float]:
    """Sweep z about where it is, ask the probe for a score of each plane, and go to the best.

    Parameters
    ----------
    detectors : sequence of Readable
        What takes the frames.
    z : Movable
        The focus axis.
    probe : Auditor
        Its judge scores the last frame: the larger, the sharper.
    half_range_um : float
        Reach of the sweep to either side.
    n_planes : int
        Planes in the sweep, 5 or more.
    stream : str
        Where the sweep's events go.

    Returns
    -------
    float
        The shift from where z was, um: 0 where the sweep did not bracket focus, and z is back where it was.
    """
    from parfocal.focus import best_plane  # numba wakes here, not when a queue lists its plans

    if n_planes < 5:
        raise BadInputError(f"autofocus: 5 or more planes are needed for a best plane, got {n_planes}")
    start_um = yield from position_of(z)
    planes = [start_um + half_range_um * (2 * i / (n_planes - 1) - 1) for i in range(n_planes)]
    scores: list[float] = []
    for z_um in planes:
        yield Msg("checkpoint")
        yield from move_all({z: z_um})
        yield from trigger_all(detectors)
        yield from trigger_all((probe,))
        yield Msg("create", None, name=stream)
        yield Msg("read", z)
        reading = yield Msg("read", probe)
        yield Msg("save")
        yield Msg("checkpoint")
        scores.append(reading[f"{probe.name}_score"]["value"] if reading else 0.0)
    best = best_plane(planes, scores)
    found = best.found and not best.peak_at_edge
    target_um = best.z_um if found else start_um
    yield from move_all({z: target_um})
    yield Msg("checkpoint")
    return target_um - start_um
