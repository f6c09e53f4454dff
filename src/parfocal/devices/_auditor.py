"""A judge's verdict as a Readable: plans ask it like any other instrument."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._camera import Camera
from parfocal.devices._status import PlainStatus
from parfocal.errors import HardwareError
from parfocal.slices import Verdict

Judge = Callable[[NDArray[np.generic]], Verdict]
TimeoutPolicy = Literal["accept", "reject", "fail"]


class Auditor:
    """Judge the camera's last frame: `trigger_and_read([auditor], name="audit")`.

    Each event says `accepted` (1 or 0), `reason`, `score`, which `frame` was judged, `judge_s` (seconds it
    took), and `timed_out`. A judge that takes longer than `timeout_s` is not waited for: the declared policy
    decides, and the event says so. A judge that raises rejects, with the exception as reason, unless the
    policy is `fail`.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    camera : Camera
        Whose last frame is judged.
    judge : callable
        `[y, x] -> Verdict`; a pure function, run in a worker thread.
    timeout_s : float
        How long a plan is ready to wait.
    on_timeout : {"accept", "reject", "fail"}
        What holds when the judge is late. `fail` fails the status, and with it the plan's step.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        judge: Judge,
        *,
        timeout_s: float = 5.0,
        on_timeout: TimeoutPolicy = "accept",
    ) -> None:
        self.name = name
        self.parent = None
        self.camera = camera
        self.judge = judge
        self.timeout_s = timeout_s
        self.on_timeout: TimeoutPolicy = on_timeout
        self.hints: dict[str, Any] = {"fields": [f"{name}_accepted"]}
        # Two, so that one judge that hangs does not keep the next slice waiting.
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix=name)
        self._result: dict[str, Any] = {}

    def trigger(self) -> PlainStatus:
        """Hand the last frame to the judge; done with its verdict, or by the policy after `timeout_s`."""
        status = PlainStatus(self)
        pixels = self.camera.last_frame
        frame = int(self.camera.read()[f"{self.camera.name}_frame"]["value"])
        if pixels is None:
            status.set_exception(HardwareError(f"{self.name}: no frame to judge; trigger the camera first"))
            return status
        started = time.monotonic()
        decided = threading.Lock()
        late = threading.Timer(self.timeout_s, lambda: conclude(None))
        late.daemon = True
        future: Future[Verdict] = self._pool.submit(self.judge, pixels)

        def conclude(done: Future[Verdict] | None) -> None:
            if not decided.acquire(blocking=False):
                return
            late.cancel()
            try:
                verdict = self._late() if done is None else self._verdict_of(done)
            except HardwareError as error:
                status.set_exception(error)
                return
            self._result = {
                "accepted": int(verdict.accepted),
                "reason": verdict.reason,
                "score": float(verdict.score),
                "frame": frame,
                "judge_s": time.monotonic() - started,
                "timed_out": int(done is None),
            }
            status.set_finished()

        late.start()
        future.add_done_callback(conclude)
        return status

    def _late(self) -> Verdict:
        if self.on_timeout == "fail":
            raise HardwareError(f"{self.name}: no verdict within {self.timeout_s:g} s")
        reason = f"no verdict within {self.timeout_s:g} s; policy {self.on_timeout}"
        return Verdict(self.on_timeout == "accept", reason)

    def _verdict_of(self, done: Future[Verdict]) -> Verdict:
        error = done.exception()
        if error is None:
            return done.result()
        said = f"{type(error).__name__}: {error}"
        if self.on_timeout == "fail":
            raise HardwareError(f"{self.name}: the judge failed with {said}")
        return Verdict(False, f"the judge failed with {said}")

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the last verdict."""
        now = time.time()
        return OrderedDict((f"{self.name}_{k}", {"value": v, "timestamp": now}) for k, v in self._result.items())

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the verdict."""
        kinds = {
            "accepted": "integer",
            "reason": "string",
            "score": "number",
            "frame": "integer",
            "judge_s": "number",
            "timed_out": "integer",
        }
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key, dtype in kinds.items():
            described[f"{self.name}_{key}"] = {"source": "judge", "dtype": dtype, "shape": []}
        return described

    def read_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the time-out and what holds after it."""
        now = time.time()
        values = {"timeout_s": self.timeout_s, "on_timeout": self.on_timeout}
        return OrderedDict((f"{self.name}_{k}", {"value": v, "timestamp": now}) for k, v in values.items())

    def describe_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the time-out and what holds after it."""
        return OrderedDict(
            [
                (f"{self.name}_timeout_s", {"source": "plan", "dtype": "number", "shape": [], "units": "s"}),
                (f"{self.name}_on_timeout", {"source": "plan", "dtype": "string", "shape": []}),
            ]
        )
