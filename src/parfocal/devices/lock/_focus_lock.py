"""The focus lock as a device: armed with a calibration, engaged and released by plans, read into events.

::

    arm(calibration) --> engage() --> the loop holds z (lease), `setpoint` moves what it holds
                                          |   samples --> ring --> `lock.samples`, stream `lock`
                                          |   per event --> `read`: was this frame in lock?
                         release()  <-----+   any fault releases z and says so

Nothing that looks on runs in the loop: signals are put from a thread beside it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from parfocal.devices._camera import Camera, default_frames_root
from parfocal.devices._stage import StageAxis
from parfocal.devices._status import PlainStatus, finished
from parfocal.devices.lock._announcer import LockAnnouncer
from parfocal.devices.lock._armed import (
    Armed,
    arm_with,
    camera_model_of,
    optics_facts,
    options_of,
    region_of,
    warm_up,
)
from parfocal.devices.lock._loop import LockLoop, LockTarget
from parfocal.devices.lock._reading import configuration, describe_configuration, describe_reading, reading
from parfocal.devices.lock._regions import RoiPx
from parfocal.devices.lock._ring import LockRing, is_in_lock
from parfocal.devices.lock._samples import LockSampleStream
from parfocal.devices.lock._setpoint import LockHolding, LockSetpoint
from parfocal.devices.lock._shelf import CalibrationShelf
from parfocal.errors import BadInputError, HardwareError
from parfocal.fitting import Calibration, OpticsFacts
from parfocal.focus import (
    Command,
    LockController,
    LockSettings,
    LockState,
    MeasureKind,
    RoiMeasure,
    measure_of,
    settings_of_vote,
)

_ENGAGE_TIMEOUT_S = 30.0
_PAUSE_FOLLOWS_S = 0.5


class FocusLock:
    """Holds z on a bead, at the camera's rate.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    camera : Camera
        Sees the bead; may be the one that plans use.
    axis : StageAxis
        Focuses; leased while locked.
    facts : callable, optional
        Returns the present light path, against which a calibration is checked. Default: from the camera.
    synchronous : bool
        See `LockLoop`.

    Attributes
    ----------
    setpoint : LockSetpoint
        A Movable: distance from the focus found at engage, um along z.
    holding : LockHolding
        A Movable: 1 leaves z alone, 0 looks where the focus is and goes on.
    samples : LockSampleStream
        For `declare_stream` and `collect`.
    state : ophyd.Signal
        The `LockState` as text.
    is_held : ophyd.Signal
        0 while the bead is lost, else 1: for a suspender.
    ring : LockRing
        The latest samples, for whoever shows them.
    reason : str
        Why the lock gave up; empty where it did not.
    command_to_motion_s : float
        How long the stage takes to follow a command, as if it then moved at once: where it was measured, s.
    expected_slope : str
        Sign of the error signal's change with z: where it was measured `positive` or `negative`, else `unknown`.
    latency_run, stage_run : str
        The runs that these were measured in.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        axis: StageAxis,
        *,
        facts: Callable[[], OpticsFacts] | None = None,
        synchronous: bool = False,
    ) -> None:
        self.name = name
        self.parent = None
        self.hints: dict[str, Any] = {"fields": [f"{name}_error_um"]}
        self.camera = camera
        self.axis = axis
        self.synchronous = synchronous
        self.ring = LockRing()
        self.samples = LockSampleStream(name, self.ring)
        self.setpoint = LockSetpoint(self)
        self.holding = LockHolding(self)
        self._calibrations_root: Path | None = None
        self._announcer = LockAnnouncer(name, self._gave_up)
        self.state, self.is_held = self._announcer.state, self._announcer.is_held
        self.reason = ""
        self.command_to_motion_s = 0.0
        self.latency_run = self.stage_run = ""
        self.expected_slope = "unknown"
        self._facts = facts if facts is not None else partial(optics_facts, camera)
        self._armed: Armed | None = None
        self._loop: LockLoop | None = None
        self._engaging: PlainStatus | None = None
        self._mark = 0
        self._releasing: threading.Timer | None = None

    @property
    def patience_s(self) -> float:
        """A bead that is lost for longer is given up: FAULT, and z is free."""
        return self._announcer.patience_s

    @patience_s.setter
    def patience_s(self, patience_s: float) -> None:
        self._announcer.patience_s = patience_s

    # -- arm, engage, release ------------------------------------------------------------------------

    @property
    def armed(self) -> Armed | None:
        """What it is armed with; None before that."""
        return self._armed

    @property
    def is_engaged(self) -> bool:
        """Whether the loop runs and holds z."""
        return self._loop is not None

    @property
    def controller(self) -> LockController | None:
        """The controller at work, for whoever asks how it does; None while the lock is off."""
        return self._loop.controller if self._loop is not None else None

    @property
    def roi_px(self) -> RoiPx | None:
        """The region of the calibrated bead: y, x, height, width; None before arming."""
        return next(iter(self.rois_px), None)

    @property
    def rois_px(self) -> tuple[RoiPx, ...]:
        """The regions being fitted, one a bead, that of the calibrated one first; none before arming."""
        if self._loop is not None:
            return self._loop.rois_px
        return (self._armed.roi_px,) if self._armed is not None else ()

    def arm(
        self,
        calibration: Calibration,
        roi_px: RoiPx | None = None,
        settings: LockSettings | None = None,
        *,
        measure: RoiMeasure | None = None,
        run_uid: str = "",
    ) -> None:
        """Take a calibration and say where the bead is.

        Raises
        ------
        BadInputError
            The calibration is not fit to arm with or is of another light path, or the region is outside the
            frame: in one line.
        """
        if self.is_engaged:
            raise BadInputError(f"{self.name} is engaged: release it before arming it with another calibration")
        self._armed = arm_with(
            self.name, self.camera, self._facts(), calibration, roi_px, settings, measure=measure, run_uid=run_uid
        )
        warm_up(self._armed, self.camera)
        self._announcer.settle(LockState.CALIBRATED_READY)

    def prepare(
        self,
        calibration: str = "",
        roi_px: RoiPx | None = None,
        settings: Mapping[str, Any] | None = None,
        measure: str = "direct",
    ) -> None:
        """Arm from plain values, as a plan has them.

        Parameters
        ----------
        calibration : str
            See `CalibrationShelf.find`; empty keeps what it is armed with, else takes the newest.
        roi_px : tuple of int, optional
            Default: what it is armed with, else that of the calibration.
        settings : mapping, optional
            Options of `LockSettings` by name; those not named have their defaults.
        measure : {"direct", "widths", "moments"}
            See `parfocal.focus.measure_of`.

        Raises
        ------
        BadInputError
            In one line, what cannot be used and why.
        """
        before = self._armed
        if calibration or before is None:
            kept = self.calibrations.find(calibration or "newest")
            model, uid = kept.calibration, kept.run_uid
        else:
            model, uid = before.calibration, before.run_uid
            roi_px = roi_px if roi_px is not None else before.roi_px
        options = options_of(self.name, settings or {}, measure)
        kind: MeasureKind = measure  # pyright: ignore[reportAssignmentType]  (checked by measure_of)
        how = measure_of(kind, model, background_percentile=options.background_percentile)
        self.arm(model, region_of(roi_px), options, measure=how, run_uid=uid)

    def keep(self, calibration: Calibration, run_uid: str) -> None:
        """Keep a calibration among those of the data folder."""
        self.calibrations.keep(calibration, run_uid)

    def about(self) -> dict[str, Any]:
        """Return what a start document says of the lock: calibration, its run, law, region."""
        if self._armed is None:
            return {}
        measured = {"latency_run": self.latency_run, "noise_run": self.camera.facts.noise_run}
        times = {
            "command_to_motion_s": self.command_to_motion_s,
            "exposure_s": self.camera.facts.settings.exposure_s,
        }
        return self._armed.about() | times | measured

    def set(self, engaged: bool | int, timeout_s: float = _ENGAGE_TIMEOUT_S) -> PlainStatus:
        """Engage (true) or release (false), as a plan does: `bps.abs_set(lock, True)`."""
        if engaged:
            return self.engage(timeout_s)
        self.release()
        return finished(self)

    def engage(self, timeout_s: float = _ENGAGE_TIMEOUT_S) -> PlainStatus:
        """Take z and find the focus; the status is done when locked, and fails with the reason where it is not.

        What fails leaves z where it is and gives it back.
        """
        status = PlainStatus(self)
        self.pause()  # what stopped before has no more to say
        if self.is_engaged:
            status.set_exception(BadInputError(f"{self.name} is engaged already"))
            return status
        try:
            self._begin(status)
        except Exception as error:
            self._end()
            status.set_exception(error)
            return status
        late = threading.Timer(timeout_s, self._too_late, (status, timeout_s))
        late.daemon = True
        late.start()
        status.add_callback(lambda _: late.cancel())
        return status

    def _begin(self, status: PlainStatus) -> None:
        armed = self._armed
        if armed is None:
            raise BadInputError(f"{self.name} has no calibration: calibrate focus first, then arm it")
        self.axis.lease(self.name)
        settings, model = armed.settings, armed.calibration.model
        if model is None:  # nothing is armed without
            raise BadInputError(f"{self.name}: this calibration has no model; calibrate again")
        judging = settings if settings.n_beads == 1 else settings_of_vote(settings)
        usual_misfit = armed.calibration.misfit_per_photon
        controller = LockController(judging, model, armed.roi_px[2:], usual_misfit=usual_misfit)
        controller.engage()
        self.setpoint.reset()
        self.reason = ""
        self._engaging = status
        self._mark = self.ring.cursor
        target = LockTarget(
            self.camera, self.axis, self.name, armed.roi_px, settings, model, self.command_to_motion_s
        )
        self._loop = LockLoop(
            target,
            controller,
            armed.measure,
            camera_model_of(self.camera),
            self.ring,
            self._note,
            self.synchronous,
        )
        self._loop.start()

    def _too_late(self, status: PlainStatus, timeout_s: float) -> None:
        if not status.done:
            last = self._announcer.last
            said = last.reason if last is not None else ""
            self._end()
            status.set_exception(
                HardwareError(f"{self.name} did not lock within {timeout_s:g} s{': ' + said if said else ''}")
            )

    def release(self) -> None:
        """Stop holding focus; z stays where it is, and anybody may move it again."""
        was_engaged, self._releasing = self.is_engaged, None
        self._end()
        if was_engaged and self.state.get() != LockState.FAULT:
            self._announcer.settle(LockState.CALIBRATED_READY)

    def _end(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
        self.axis.end_lease(self.name)
        engaging, self._engaging = self._engaging, None
        if engaging is not None:
            engaging.set_exception(HardwareError(f"{self.name} was released before it had locked"))
        self.setpoint.fail(HardwareError(f"{self.name} was released"))

    @property
    def calibrations(self) -> CalibrationShelf:
        """The data folder's calibrations."""
        return CalibrationShelf(self._calibrations_root or default_frames_root().with_name("calibrations"))

    @calibrations.setter
    def calibrations(self, root: Path | str) -> None:
        self._calibrations_root = Path(root)

    def need_loop(self) -> LockLoop:
        """Return the loop at work; `HardwareError` while the lock is off."""
        if self._loop is None:
            why = f" ({self.reason})" if self.reason else ""
            raise HardwareError(f"{self.name} is not engaged{why}: engage it first")
        return self._loop

    # -- what the loop says ---------------------------------------------------------------------------

    def _note(self, command: Command) -> None:
        """Hear of a step, in the loop's thread."""
        if command.state == LockState.LOCKED:
            engaging, self._engaging = self._engaging, None
            if engaging is not None:
                engaging.set_finished()
        self.setpoint.note(command)
        self._announcer.hear(command)

    def _gave_up(self, command: Command) -> None:
        """Give z back, and tell whoever waits why."""
        self.reason = command.reason
        engaging, self._engaging = self._engaging, None
        if engaging is not None:
            engaging.set_exception(HardwareError(f"{self.name} did not lock: {command.reason}"))
        self.setpoint.fail(HardwareError(f"{self.name} gave up: {command.reason}"))
        self._end()

    # -- read into events ---------------------------------------------------------------------------

    def trigger(self) -> PlainStatus:
        """Begin to watch for the next `read`; fails where the lock was to hold focus and gave up."""
        self._mark = self.ring.cursor
        status = PlainStatus(self)
        if self._loop is None and self.reason:
            status.set_exception(HardwareError(f"{self.name} gave up: {self.reason}"))
        else:
            status.set_finished()
        return status

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Say whether focus was held since `trigger`, and the latest numbers."""
        taken = self.ring.since(self._mark)
        last = self.ring.since(0, most=1)
        states = taken.columns["state"] or last.columns["state"]
        held = self.is_engaged and bool(states) and all(is_in_lock(state) for state in states)
        state = (states[-1] if states else LockState.IDLE) if self.is_engaged else self.state.get()
        return reading(self.name, held, str(state), last, self.setpoint.position, taken.n)

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe what `read` returns."""
        return describe_reading(self.name)

    def read_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the calibration's hash and run, the law, and the region."""
        return configuration(self.name, self._armed)

    def describe_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the configuration."""
        return describe_configuration(self.name)

    def stop(self, *, success: bool = False) -> None:
        """Release, unless a pause follows: a RunEngine stops what it touched when it ends, and when it pauses."""
        if not self.is_engaged or self._releasing is not None:
            return
        timer = threading.Timer(_PAUSE_FOLLOWS_S, lambda: self._release_for(timer))
        timer.daemon = True
        self._releasing = timer
        timer.start()

    def _release_for(self, timer: threading.Timer) -> None:
        """Release, unless a pause came while the timer's thread waited for its turn: that cannot be cancelled."""
        if self._releasing is timer:
            self.release()

    def pause(self) -> None:
        """Go on holding focus while a plan waits."""
        releasing, self._releasing = self._releasing, None
        if releasing is not None:
            releasing.cancel()

    def close(self) -> None:
        """Release for good."""
        self.release()
        self._announcer.close()
