"""Refuse what cannot be done before anything moves."""

import math
from numbers import Integral, Real
from typing import Any

from useq import AcquireImage, HardwareAutofocus, MDAEvent, MDASequence

from parfocal.errors import BadInputError
from parfocal.plans._parts import Parts


def check_events(sequence: MDASequence, events: list[MDAEvent], parts: Parts, *, can_autofocus: bool) -> None:
    """Raise `BadInputError` for the first thing in a sequence that the instrument cannot do.

    Checked: that there is something to do; actions, properties, SLM images and ROIs, which we do not do;
    axes and channels that are not there; and every position against the soft limits.
    """
    if not events:
        raise BadInputError("the sequence has no events: positions, planes, channels or times were expected")
    seen: dict[str, set[float]] = {axis: set() for axis in "xyz"}
    channels: set[str] = set()
    for event in events:
        _check_supported(event, can_autofocus)
        if event.channel is not None:
            channels.add(event.channel.config)
        for axis in "xyz":
            value = getattr(event, f"{axis}_pos")
            if value is not None:
                seen[axis].add(float(value))
    if sequence.keep_shutter_open_across:
        raise BadInputError(
            "keep_shutter_open_across is not supported: the light is on for a position's frames and off between"
        )
    for axis, values in seen.items():
        _check_axis(axis, values, parts)
    _check_channels(channels, parts)
    _check_exposures({float(e.exposure) for e in events if e.exposure is not None}, parts)


def check_light_and_exposure(plan: str, parts: Parts, channel: str, exposure_s: float | None) -> None:
    """Raise `BadInputError` for a channel that is not there or an exposure that is no time; "" and None pass."""
    if channel:
        _check_channels({channel}, parts)
    if exposure_s is not None and not (is_number(exposure_s) and exposure_s > 0):
        raise BadInputError(f"{plan}: exposure_s={exposure_s!r}, a time above 0 s was expected")


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number, and no truth value."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def is_count(value: Any, least: int) -> bool:
    """Say whether a value is a whole number of at least `least`."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def _check_supported(event: MDAEvent, can_autofocus: bool) -> None:
    if isinstance(event.action, HardwareAutofocus):
        if not can_autofocus:
            raise BadInputError(
                "the sequence asks for autofocus, but the plan was given no `probe` to score frames with"
            )
        if event.action.autofocus_motor_offset is not None or event.action.autofocus_device_name is not None:
            raise BadInputError(
                "autofocus_motor_offset and autofocus_device_name belong to hardware autofocus, which is not "
                "supported: leave them out, and the focus is found from frames"
            )
    elif not isinstance(event.action, AcquireImage):
        raise BadInputError(f"action {type(event.action).__name__} is not supported: images and autofocus are")
    for what in ("properties", "slm_image", "roi"):
        if getattr(event, what, None):
            raise BadInputError(f"`{what}` in a sequence is not supported; set it on the device before")


def _check_axis(axis: str, values: set[float], parts: Parts) -> None:
    if not values:
        return
    movable: Any = parts.axes.get(axis)
    if movable is None:
        raise BadInputError(f"the sequence moves {axis}, but {parts.name} has no such axis")
    check = getattr(movable, "check_value", None)
    for value in sorted(values):
        if not value == value:
            raise BadInputError(f"{movable.name}: cannot move to {value}, a position in um was expected")
        if check is not None:
            check(value)


def _check_channels(channels: set[str], parts: Parts) -> None:
    if not channels:
        return
    known = tuple(getattr(getattr(parts.light, "driver", None), "channels", ()))
    for channel in sorted(channels):
        if known and channel not in known:
            raise BadInputError(f"no channel {channel!r} on {parts.name}, there are {', '.join(known)}")
        if parts.light is None:
            raise BadInputError(f"the sequence asks for channel {channel!r}, but {parts.name} has no light")


def _check_exposures(exposures_ms: set[float], parts: Parts) -> None:
    if exposures_ms and parts.camera is None:
        raise BadInputError(f"the sequence sets exposures, but {parts.name} has no camera that takes one")
    if exposures_ms and min(exposures_ms) <= 0:
        raise BadInputError(f"exposure of {min(exposures_ms):g} ms: a time above 0 was expected")
