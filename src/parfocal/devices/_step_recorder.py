"""What is beyond a plan's pace: a readback looked at often, moves with their time, a shutter."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from parfocal.devices._camera import Camera
from parfocal.devices._stage import StageAxis
from parfocal.devices._status import PlainStatus
from parfocal.focus import Trace

_MOST_READINGS = 400
_LEAST_READINGS = 40


class TimedMove:
    """An axis that notes when it was sent: `sent_s`, on the clock of a camera's frames."""

    def __init__(self, axis: StageAxis, now_s: Callable[[], float]) -> None:
        self.axis = axis
        self.name = f"{axis.name}_timed"
        self.parent = None
        self.sent_s = float("nan")
        self._now_s = now_s

    def set(self, value: float) -> Any:
        """Move to an absolute position, um; see `StageAxis.set`."""
        self.axis.check_value(float(value))
        status = self.axis.set(value)
        # When the driver had it, as a focus lock has it: what waits for its arrival is started later.
        self.sent_s = self._now_s() - (time.monotonic() - self.axis.sent_s)
        return status

    def stop(self, *, success: bool = False) -> None:
        """Stop the axis."""
        self.axis.stop(success=success)


class DarkSwitch:
    """What makes frames dark and lets light in again, as a Movable: 1 is dark, 0 is not.

    Parameters
    ----------
    camera : Camera
        Whose own shutter it is; its driver has `set_shutter(is_open)`.
    """

    def __init__(self, camera: Camera) -> None:
        self.name = f"{camera.name}_shutter"
        self.parent = None
        self._camera = camera

    @staticmethod
    def fits(camera: Camera) -> bool:
        """Say whether a camera has a shutter of its own."""
        return hasattr(camera.source, "set_shutter")

    def set(self, is_dark: int) -> PlainStatus:
        """Close the shutter (1), or open it (0)."""
        status = PlainStatus(self)
        source: Any = self._camera.source
        try:
            self._camera.owner.call(lambda: source.set_shutter(not is_dark))
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()
        return status


class StepRecorder:
    """Sends an axis on a step and looks at its readback as often as its driver answers.

    `prepare` says where to and for how long, `trigger` goes and is done when time is up, `read` gives two arrays,
    `<name>_t_s` (from the command) and `<name>_position_um`.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    axis : StageAxis
        What is sent; its soft limits hold.
    duration_s : float
        How long to look.
    """

    def __init__(self, name: str, axis: StageAxis, duration_s: float) -> None:
        self.name = name
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self._axis = axis
        self._duration_s = duration_s
        self._n = self._how_many()
        self._to_um = float("nan")
        self._stopped = threading.Event()
        self.trace = Trace(np.zeros(self._n), np.full(self._n, np.nan))

    def set(self, to_um: float) -> PlainStatus:
        """Say where the next `trigger` goes, um."""
        self._axis.check_value(float(to_um))
        self._to_um = float(to_um)
        status = PlainStatus(self)
        status.set_finished()
        return status

    def trigger(self) -> PlainStatus:
        """Go, and look."""
        status = PlainStatus(self)
        self._stopped.clear()
        threading.Thread(target=self._record, args=(status,), name=self.name, daemon=True).start()
        return status

    def stop(self, *, success: bool = False) -> None:
        """End looking; the axis is stopped by whoever moved it."""
        self._stopped.set()

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the trace."""
        now = time.time()
        values = {"t_s": self.trace.t_s.tolist(), "position_um": self.trace.position_um.tolist()}
        return OrderedDict((f"{self.name}_{key}", {"value": v, "timestamp": now}) for key, v in values.items())

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the trace."""
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key, unit in (("t_s", "s"), ("position_um", "um")):
            described[f"{self.name}_{key}"] = {
                "source": f"parfocal:{self._axis.name}",
                "dtype": "array",
                "dtype_numpy": "<f8",
                "shape": [self._n],
                "units": unit,
            }
        return described

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Return nothing: the start document tells how steps were made."""
        return OrderedDict()

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe nothing."""
        return OrderedDict()

    def _how_many(self) -> int:
        """Return how many readings fit into the time, by how long a few of them take."""
        began_s = time.perf_counter()
        for _ in range(5):
            self._read_um()
        each_s = max((time.perf_counter() - began_s) / 5, self._duration_s / _MOST_READINGS)
        return int(np.clip(self._duration_s / each_s, _LEAST_READINGS, _MOST_READINGS))

    def _read_um(self) -> float:
        return float(self._axis.driver.position_um(self._axis.axis))

    def _record(self, status: PlainStatus) -> None:
        t_s, position = np.zeros(self._n), np.full(self._n, np.nan)
        try:
            before_s = time.perf_counter()
            moving = self._axis.set(self._to_um)
            began_s = (before_s + time.perf_counter()) / 2
            for k in range(self._n):
                left_s = began_s + self._duration_s * k / self._n - time.perf_counter()
                if self._stopped.wait(left_s) if left_s > 0 else self._stopped.is_set():
                    break
                before_s = time.perf_counter()
                position[k] = self._read_um()
                # The reading is of some moment between question and answer.
                t_s[k] = (before_s + time.perf_counter()) / 2 - began_s
            moving.wait(self._axis.timeout_s + self._duration_s)
            seen = np.isfinite(position)
            if not seen.all():
                t_s, position = (
                    np.interp(np.arange(self._n), np.flatnonzero(seen), v[seen]) for v in (t_s, position)
                )
            self.trace = Trace(t_s, position)
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()
