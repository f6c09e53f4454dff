"""Plans that lock focus, and other plans under the lock."""

import math
import time
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable
from bluesky.utils import Msg, MsgGenerator, make_decorator, plan, single_gen

from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs

_COLLECT_S = 0.5
_STREAM = "lock"


@plan
def engage_lock(
    microscope: Readable[Any],
    calibration: str = "",
    roi_px: tuple[int, int, int, int] | None = None,
    law: str = "kalman",
    measure: str = "direct",
    settings: dict[str, Any] | None = None,
    timeout_s: float = 30.0,
) -> MsgGenerator[None]:
    """Arm the lock if it is told with what, engage it, and wait until it is locked. Opens no run.

    Parameters
    ----------
    microscope : Microscope
        With a calibrated `lock`.
    calibration : str
        A file in the data folder's `calibrations`, the beginning of a hash, or `newest`; empty takes what the lock
        is armed with, else the newest that applies.
    roi_px : tuple of int, optional
        The bead's region: y, x, height, width. Default: that of the calibration.
    law : {"kalman", "pi"}
        What turns measurements into commands.
    measure : {"direct", "widths", "moments"}
        How a frame is measured.
    settings : dict, optional
        More options of `LockSettings`, by name.
    timeout_s : float
        Time to lock.

    Raises
    ------
    BadInputError
        The calibration is not to be used here: in one line, before anything moves.
    HardwareError
        It did not lock; the message says why. z is free again.
    """
    lock = _lock_of(microscope)
    lock.prepare(calibration, roi_px, {**(settings or {}), "law": law}, measure)
    yield from bps.abs_set(lock, True, timeout_s=timeout_s, wait=True)


@plan
def release_lock(microscope: Readable[Any]) -> MsgGenerator[None]:
    """Release the lock: z stays where it is, and may be moved again.

    Parameters
    ----------
    microscope : Microscope
        With a `lock`.
    """
    yield from bps.abs_set(_lock_of(microscope), False, wait=True)


@plan
def lock_focus(
    microscope: Readable[Any],
    duration_s: float = 60.0,
    calibration: str = "",
    roi_px: tuple[int, int, int, int] | None = None,
    law: str = "kalman",
    measure: str = "direct",
    settings: dict[str, Any] | None = None,
    timeout_s: float = 30.0,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Hold focus for some time, and record every step of the lock in stream `lock`.

    Parameters
    ----------
    microscope : Microscope
        With a calibrated `lock`.
    duration_s : float
        How long, from when it is locked, at most: `microscope.lock.release()` ends it well before.
    calibration, roi_px, law, measure, settings, timeout_s
        As in `engage_lock`.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        It did not lock, or gave up; the run says why.
    """
    device: Any = microscope
    lock = _lock_of(device)
    if not duration_s > 0:
        raise BadInputError(f"lock_focus: duration_s is {duration_s}, a time above 0 was expected")
    lock.prepare(calibration, roi_px, {**(settings or {}), "law": law}, measure)
    about = {
        "plan_name": "lock_focus",
        "plan_args": {"duration_s": duration_s, "law": law, "measure": measure, "settings": settings or {}},
        "detectors": [lock.name],
        "hints": {"dimensions": [(["time"], _STREAM)]},
        "instrument": device.backend.name,
        "parfocal": {"lock": lock.about()},
    } | (md or {})

    def inner() -> MsgGenerator[str]:
        uid = yield from bps.open_run(about)
        yield from bps.declare_stream(lock.samples, name=_STREAM, collect=True)
        lock.samples.rewind()
        yield from bps.abs_set(lock, True, timeout_s=timeout_s, wait=True)
        until_s = time.monotonic() + duration_s
        while (left_s := until_s - time.monotonic()) > 0 and lock.is_engaged:
            yield Msg("checkpoint")
            yield Msg("sleep", None, min(_COLLECT_S, left_s))
            yield from _collect(lock)
        if not lock.is_engaged and lock.reason:
            raise HardwareError(f"lock_focus: the lock gave up: {lock.reason}")
        return uid

    def close_failed(error: Exception) -> MsgGenerator[None]:
        yield from _collect(lock)  # the last samples say best what went wrong
        yield from bps.close_run(exit_status="fail", reason=" ".join(str(error).split()))

    def finish() -> MsgGenerator[str]:
        uid = yield from inner()
        yield from release_lock(microscope)
        yield from _collect(lock)
        yield from bps.close_run()
        return uid

    safe = bpp.contingency_wrapper(finish(), except_plan=close_failed, auto_raise=True)
    return (yield from bpp.finalize_wrapper(safe, lambda: release_lock(microscope)))


def focus_locked(
    plan: MsgGenerator[Any],
    microscope: Any,
    calibration: str = "",
    roi_px: tuple[int, int, int, int] | None = None,
    law: str = "kalman",
    measure: str = "direct",
    settings: dict[str, Any] | None = None,
    timeout_s: float = 30.0,
    suspend: bool = True,
    patience_s: float = 60.0,
    reach_um: float = 1.0,
) -> MsgGenerator[Any]:
    """Run a plan with focus held: a preprocessor. `RE(focus_locked(z_stack(microscope), microscope))`.

    The lock is engaged before the plan begins and released whatever happens. Meanwhile

    - moves of z become moves of the lock's setpoint: a plane at +0.3 um is 0.3 um from the focus, wherever that
      has drifted to. Beyond the calibrated range the lock is held (frames say so) and verified on the way back;
    - the lock is held while x or y move, and looks again where the bead is when they have arrived; farther than
      `reach_um` from where it was engaged the bead is out of sight, and the lock stays held (frames say so);
    - every event tells whether its frame was in lock (`lock_in_lock`), with error and offset;
    - where lock and plan share a camera, the light stays on until the end: the lock needs it;
    - every step of the lock is recorded in stream `lock`, and the start document cites the calibration;
    - with `suspend`, the plan waits at its last checkpoint while the bead is lost, and goes on when it is found;
    - a lock that gives up leaves z where the focus was held last, whatever plane the plan was at.

    Parameters
    ----------
    plan : generator of Msg
        Any plan that images with this microscope.
    microscope : Microscope
        With a calibrated `lock`.
    calibration, roi_px, law, measure, settings, timeout_s
        As in `engage_lock`.
    suspend : bool
        Wait while the bead is lost.
    patience_s : float
        How long; then the lock gives up, and the plan's next frame fails with the reason.
    reach_um : float
        How far x and y may be from where the lock was engaged for the bead to be in its region again.
    """
    from bluesky.suspenders import SuspendBoolLow

    lock = _lock_of(microscope)
    engaged: list[_UnderLock] = []

    def inner() -> MsgGenerator[Any]:
        lock.patience_s = patience_s
        yield from engage_lock(microscope, calibration, roi_px, law, measure, settings, timeout_s)
        under = _UnderLock(microscope, reach_um)
        engaged.append(under)
        locked = bpp.plan_mutator(bpp.msg_mutator(plan, under.change), under.surround)
        if not suspend:
            return (yield from locked)
        suspender = SuspendBoolLow(lock.is_held)
        yield Msg("install_suspender", None, suspender)
        return (
            yield from bpp.finalize_wrapper(locked, lambda: single_gen(Msg("remove_suspender", None, suspender)))
        )

    def make_safe() -> MsgGenerator[None]:
        yield from release_lock(microscope)
        lock.patience_s = math.inf  # as it was: it is this plan's, not the lock's
        if microscope.focus_camera is microscope.camera:  # the lock has kept the light on
            yield from stubs.light_off(microscope.light)
        for under in engaged:
            yield from under.go_back()

    return (yield from bpp.finalize_wrapper(inner(), make_safe))


focus_locked_decorator = make_decorator(focus_locked)
"""`focus_locked` as a decorator: `@focus_locked_decorator(microscope)`."""


class _UnderLock:
    """Changes a plan's messages so that it runs under a lock."""

    def __init__(self, microscope: Any, reach_um: float) -> None:
        self._lock = microscope.lock
        self._z = microscope.xyz.z
        self._sideways = (microscope.xyz.x, microscope.xyz.y)
        self._engaged_at_um = tuple(axis.setpoint_um for axis in self._sideways)
        self._reach_um = reach_um
        self._cameras = (microscope.camera, microscope.focus_camera)
        self._zero_um = self._z.setpoint_um  # what the plan calls z, the lock calls an offset from here
        self._stream = ""
        self._moving: set[Any] = set()
        self._collected_s = time.monotonic()
        self._has_run = False
        is_shared = microscope.focus_camera is microscope.camera
        self._needed_light = microscope.light.on if is_shared else None
        self._focus_um = self._zero_um  # where offset 0 was, the last time that focus was held

    def change(self, msg: Msg) -> Msg:
        """Send moves of z to the lock's setpoint, and cite the calibration in the start document."""
        if msg.command == "set" and msg.obj is self._z:
            offset_um = float(msg.args[0]) - self._zero_um
            if self._has_given_up():  # a plan that ends puts z back, where there is no lock to do so
                return Msg("set", self._z, self._focus_um + offset_um, run=msg.run, **msg.kwargs)
            return Msg("set", self._lock.setpoint, offset_um, run=msg.run, **msg.kwargs)
        if msg.command == "set" and msg.obj is self._needed_light:
            return Msg("set", msg.obj, 1, run=msg.run, **msg.kwargs)
        if msg.command == "open_run":
            parfocal = {**msg.kwargs.get("parfocal", {}), "lock": self._lock.about()}
            return msg._replace(kwargs={**msg.kwargs, "parfocal": parfocal})
        return msg

    def go_back(self) -> MsgGenerator[None]:
        """Go where the focus was held last, if the lock gave up."""
        if self._has_given_up():
            yield from bps.mv(self._z, self._focus_um)

    def _has_given_up(self) -> bool:
        return bool(self._lock.reason) and not self._lock.is_engaged

    def surround(self, msg: Msg) -> tuple[Any, Any]:
        """Return what comes before a message, itself included, and what comes after it."""
        command = msg.command
        if command == "open_run":
            self._has_run = True
            return None, self._declare()
        if command == "close_run" and self._has_run:
            self._has_run = False
            return self._before(msg, _collect(self._lock)), None
        if command == "set" and msg.obj in self._sideways and self._is_far(msg):
            self._moving.add(msg.kwargs.get("group"))
            return self._before(msg, self._hold()), None
        if command == "wait" and self._moving & {msg.kwargs.get("group")}:
            self._moving.clear()
            return None, self._look_again() if self._is_in_sight() else None
        if command == "trigger" and msg.obj in self._cameras:
            if self._lock.is_engaged and self._lock.state.get() == "LOCKED":
                self._focus_um = self._z.setpoint_um - self._lock.setpoint.position
            return self._before(msg, single_gen(Msg("trigger", self._lock, group=msg.kwargs.get("group")))), None
        if command == "create":
            self._stream = msg.kwargs.get("name", "")
        if command == "save" and self._stream == "primary":
            return self._before(msg, single_gen(Msg("read", self._lock))), self._collect_if_due()
        return None, None

    def _before(self, msg: Msg, first: MsgGenerator[Any]) -> MsgGenerator[Any]:
        yield from first
        return (yield msg)

    def _declare(self) -> MsgGenerator[None]:
        self._lock.samples.rewind()
        yield from bps.declare_stream(self._lock.samples, name=_STREAM, collect=True)

    def _is_far(self, msg: Msg) -> bool:
        return abs(float(msg.args[0]) - msg.obj.setpoint_um) > 0.05

    def _is_in_sight(self) -> bool:
        off_um = [axis.setpoint_um - at for axis, at in zip(self._sideways, self._engaged_at_um, strict=True)]
        return math.hypot(*off_um) <= self._reach_um

    def _hold(self) -> MsgGenerator[None]:
        yield from bps.abs_set(self._lock.holding, True, wait=True)

    def _look_again(self) -> MsgGenerator[None]:
        yield from bps.abs_set(self._lock.holding, False, wait=True)

    def _collect_if_due(self) -> MsgGenerator[None] | None:
        if time.monotonic() - self._collected_s < _COLLECT_S:
            return None
        self._collected_s = time.monotonic()
        return _collect(self._lock)


def _collect(lock: Any) -> MsgGenerator[None]:
    yield from bps.collect(lock.samples, name=_STREAM, return_payload=False)


def _lock_of(microscope: Any) -> Any:
    if not hasattr(microscope, "lock") or not hasattr(microscope, "focus_camera"):
        raise BadInputError(f"{microscope!r} has no focus lock; a Microscope was expected")
    return microscope.lock
