"""The stage: axes as positioners in um, with limits, settling, time-outs and stop."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

from ophyd import Component, Device, Kind
from ophyd.positioner import PositionerBase
from ophyd.status import DeviceStatus, MoveStatus
from ophyd.utils import LimitError

from parfocal.devices._stage_driver import StageDriver
from parfocal.devices._status import PlainStatus, finished
from parfocal.errors import BadInputError, HardwareError

_POLL_S = 0.002


class LeasedError(HardwareError):
    """A move of an axis that somebody else holds; nothing was moved."""


class OutOfLimitsError(BadInputError, LimitError):
    """A move beyond the soft limits of an axis; nothing was moved."""


class _AxisStatus(MoveStatus):
    """A move that fails has stopped already: ophyd's would stop the axis once more, and hit its next move."""

    def _handle_failure(self) -> None:
        super(DeviceStatus, self)._handle_failure()


class StageAxis(Device, PositionerBase):
    """One axis of a stage.

    `read` gives the readback under the axis's own name and `<name>_setpoint` beside it, both in um. `set`
    checks the soft limits before anything moves. A move that does not end within `timeout_s`, or that ends
    farther than `tolerance_um` from where it was sent, fails its status and says so.

    Parameters
    ----------
    axis : str
        The driver's name of the axis.
    driver : StageDriver, optional
        May be left out where the parent has one.
    limits_um : (float, float), optional
        Soft limits; None means none.
    settle_s : float
        Wait after arrival.
    timeout_s : float
        Longest time of a move beyond what its length and velocity need.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        axis: str,
        driver: StageDriver | None = None,
        limits_um: tuple[float, float] | None = None,
        settle_s: float = 0.0,
        timeout_s: float = 5.0,
        tolerance_um: float = 0.5,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("labels", {"motors"})  # what IPython's %wa lists
        self.axis = axis
        self.driver: StageDriver = driver if driver is not None else parent.driver
        self.limits_um = limits_um
        self.settle_s = settle_s
        self.timeout_s = timeout_s
        self.tolerance_um = tolerance_um
        self._setpoint_um: float | None = None
        self._sent_s = float("nan")
        self._leased_to = ""
        self._cancel = threading.Event()
        super().__init__(prefix, name=name, parent=parent, **kwargs)

    @property
    def limits(self) -> tuple[float, float]:
        """Soft limits (low, high), um; (0, 0) where there are none, as ophyd has it."""
        return self.limits_um if self.limits_um is not None else (0.0, 0.0)

    @property
    def egu(self) -> str:
        """The unit of all positions."""
        return "um"

    @property
    def position(self) -> float:
        """Where the axis is, um."""
        return self.driver.position_um(self.axis)

    @property
    def setpoint_um(self) -> float:
        """Where the axis was last sent, um; where it is, if it never was."""
        return self._setpoint_um if self._setpoint_um is not None else self.position

    @property
    def sent_s(self) -> float:
        """When the driver had taken the last move, s of `time.monotonic`; NaN before the first."""
        return self._sent_s

    @property
    def leased_to(self) -> str:
        """Who alone moves this axis now; empty for anybody."""
        return self._leased_to

    def lease(self, to: str) -> None:
        """Let one holder alone move this axis, by `nudge`; until `end_lease`, `set` is refused.

        Raises
        ------
        LeasedError
            Another holds it.
        """
        if self._leased_to not in ("", to):
            raise LeasedError(f"{self.name} is held by {self._leased_to}, release that before {to} takes it")
        self._leased_to = to

    def end_lease(self, to: str) -> None:
        """Give the axis back; nothing where another holds it."""
        if self._leased_to == to:
            self._leased_to = ""

    def nudge(self, to: str, position: float) -> None:
        """Send the axis somewhere without waiting: for its holder, who watches where it goes.

        Raises
        ------
        LeasedError
            The caller does not hold it.
        OutOfLimitsError
            Beyond the soft limits; nothing was moved.
        """
        if self._leased_to != to:
            raise LeasedError(f"{self.name} is not held by {to}, which may not move it")
        self.check_value(position)
        self._cancel.set()
        self.driver.move(self.axis, position)
        self._setpoint_um = position

    def check_value(self, pos: float) -> None:
        """Raise `OutOfLimitsError` if a position lies outside the soft limits, or is not a number."""
        if not pos == pos or pos in (float("inf"), float("-inf")):
            raise OutOfLimitsError(f"{self.name}: cannot move to {pos}, a finite position in um was expected")
        if self.limits_um is not None and not self.limits_um[0] <= pos <= self.limits_um[1]:
            low, high = self.limits_um
            raise OutOfLimitsError(
                f"{self.name}: cannot move to {pos:g} um, soft limits are {low:g} to {high:g} um"
            )

    def set(self, new_position: float, **kwargs: Any) -> MoveStatus | PlainStatus:
        """Move to an absolute position, um; the status is done when the axis has arrived and settled.

        Raises
        ------
        OutOfLimitsError, LeasedError
            At once, before anything moves.
        """
        return self.move(float(new_position), wait=False, **kwargs)

    def move(
        self,
        position: float,
        wait: bool = True,
        timeout: float | None = None,
        moved_cb: Any = None,
    ) -> MoveStatus | PlainStatus:
        """Move to an absolute position, um. See `set`."""
        self.check_value(position)
        if self._leased_to:
            raise LeasedError(
                f"{self.name} is held by {self._leased_to}: move {self._leased_to}.setpoint, or release it first"
            )
        self._cancel.set()
        cancel = self._cancel = threading.Event()
        asked_s = time.monotonic()
        try:
            self.driver.move(self.axis, position)
            self._sent_s = time.monotonic()
        except Exception as error:
            refused = PlainStatus(self)
            refused.set_exception(error)
            return refused
        self._setpoint_um = position
        self._started_moving = True
        at_um = self._arrived_at_um(position)
        if at_um is not None and not self.settle_s:
            self._note_arrival(position, at_um)
            if moved_cb is not None:
                moved_cb(obj=self)
            return finished(self)
        status = _AxisStatus(self, position, settle_time=self.settle_s)
        if moved_cb is not None:
            status.add_callback(lambda _: moved_cb(obj=self))
        if at_um is not None:
            self._finish(status, position, at_um)
        else:
            velocity = max(self.driver.velocity_um_per_s(self.axis), 1e-6)
            patience_s = timeout if timeout is not None else self.timeout_s
            deadline = asked_s + patience_s + abs(position - self.position) / velocity
            args = (status, position, deadline, cancel)
            threading.Thread(target=self._watch, args=args, name=f"{self.name}-move", daemon=True).start()
        if wait:
            status.wait()
        return status

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is; a move under way fails its status."""
        self._cancel.set()
        was_moving = self.driver.is_moving(self.axis)
        self.driver.stop(self.axis)
        if was_moving:  # a RunEngine stops everything at the end, arrived or not
            self._setpoint_um = self.position
        super().stop(success=success)

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return readback and setpoint, um."""
        now = time.time()
        reading: OrderedDict[str, dict[str, Any]] = OrderedDict()
        reading[self.name] = {"value": self.position, "timestamp": now}
        reading[f"{self.name}_setpoint"] = {"value": self.setpoint_um, "timestamp": now}
        return reading

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe readback and setpoint."""
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key in (self.name, f"{self.name}_setpoint"):
            described[key] = {
                "source": f"parfocal:{self.axis}",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [],
                "units": "um",
            }
        return described

    def read_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Return velocity, settling and limits, and what kind of stage it is."""
        now = time.time()
        low, high = self.limits_um if self.limits_um is not None else (float("-inf"), float("inf"))
        values = {
            "velocity_um_per_s": self.driver.velocity_um_per_s(self.axis),
            "settle_s": self.settle_s,
            "low_limit_um": low,
            "high_limit_um": high,
            "backend": str(getattr(self.driver, "backend", type(self.driver).__name__)),
        }
        return OrderedDict((f"{self.name}_{k}", {"value": v, "timestamp": now}) for k, v in values.items())

    def describe_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe velocity, settling and limits, and what kind of stage it is."""
        units = {
            "velocity_um_per_s": "um/s",
            "settle_s": "s",
            "low_limit_um": "um",
            "high_limit_um": "um",
        }
        source = f"parfocal:{self.axis}"
        described: OrderedDict[str, dict[str, Any]] = OrderedDict(
            (f"{self.name}_{key}", {"source": source, "dtype": "number", "shape": [], "units": unit})
            for key, unit in units.items()
        )
        described[f"{self.name}_backend"] = {"source": source, "dtype": "string", "shape": []}
        return described

    @property
    def hints(self) -> dict[str, Any]:
        """The readback is what a plot shows."""
        return {"fields": [self.name]}

    def _arrived_at_um(self, position: float) -> float | None:
        """Return where the axis is, if it stands near enough to `position`."""
        if self.driver.is_moving(self.axis):
            return None
        at_um = self.position
        return at_um if abs(at_um - position) <= self.tolerance_um else None

    def _watch(self, status: MoveStatus, position: float, deadline: float, cancel: threading.Event) -> None:
        """Wait for the end of a move. A thread of its own: hardware is polled, plans are not kept."""
        try:
            while self.driver.is_moving(self.axis):
                if cancel.wait(_POLL_S):
                    if not status.done:
                        status.set_exception(HardwareError(f"{self.name} was stopped on its way"))
                    return
                if time.monotonic() > deadline:
                    self.driver.stop(self.axis)
                    status.set_exception(
                        HardwareError(
                            f"{self.name} stalled at {self.position:.3f} um on its way to {position:g} um; "
                            "check the stage, then run again"
                        )
                    )
                    return
            at_um = self.position
            if abs(at_um - position) > self.tolerance_um:
                status.set_exception(
                    HardwareError(
                        f"{self.name} ended at {at_um:.3f} um, sent to {position:g} um "
                        f"(tolerance {self.tolerance_um:g} um)"
                    )
                )
                return
            self._finish(status, position, at_um)
        except Exception as error:
            if not status.done:
                status.set_exception(error)

    def _finish(self, status: MoveStatus, position: float, at_um: float) -> None:
        status.set_finished()
        self._note_arrival(position, at_um)

    def _note_arrival(self, position: float, at_um: float) -> None:
        self._set_position(at_um)
        self._run_subs(sub_type=self.SUB_DONE, timestamp=time.time(), value=position)


class Stage(Device):
    """Axes `x`, `y` and `z` of one driver."""

    x = Component(StageAxis, axis="x", kind=Kind.normal)
    y = Component(StageAxis, axis="y", kind=Kind.normal)
    z = Component(StageAxis, axis="z", kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        driver: StageDriver | None = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        self.driver: StageDriver = driver if driver is not None else parent.backend.stage
        super().__init__(prefix, name=name, parent=parent, **kwargs)
