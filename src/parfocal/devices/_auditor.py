"""A judge's verdict as a Readable: plans ask it like any other instrument."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._camera import Camera
from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError, HardwareError
from parfocal.slices import Verdict

Judge = Callable[[NDArray[np.generic]], Verdict]
TimeoutPolicy = Literal["accept", "reject", "fail"]


@runtime_checkable
class RememberingJudge(Protocol):
    """A judge that learns from what it sees, and can be asked again (see `parfocal.slices.SliceJudge`)."""

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the `scores` in its verdicts."""
        ...

    def __call__(self, pixels: NDArray[np.generic], /) -> Verdict:
        """Judge a frame that nobody will ask about again."""
        ...

    def see(self, pixels: NDArray[np.generic], frame: int, slice_id: str) -> Verdict:
        """Judge a frame of a slice and remember it by its number; the same number again replaces it."""
        ...

    def again(self, frame: int) -> Verdict:
        """Judge a frame once more, by what is known now."""
        ...


class Auditor:
    """Judge the camera's last frame: `trigger_and_read([auditor], name="audit")`.

    Each event says `accepted` (1 or 0), `reason`, `score`, which `frame` was judged, `judge_s` (seconds it
    took), `timed_out`, whether the verdict is `provisional` (of a judge that still learns), of which `slice_id`
    and `attempt` the plan said the frame is (`note`); and the scores of a judge that remembers. A judge that takes
    longer than `timeout_s` is not waited for: the declared policy decides, and the event says so. A judge that
    raises rejects, with the exception as reason, unless the policy is `fail`.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    camera : Camera
        Whose last frame is judged.
    judge : callable
        `[y, x] -> Verdict`; a pure function, run in a worker thread; or a `RememberingJudge`.
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
        self._about: dict[str, Any] = {"slice_id": "", "attempt": 1}
        self._again: int | None = None

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores that its judge gives beside the one that decides."""
        return self.judge.score_names if isinstance(self.judge, RememberingJudge) else ()

    def note(self, slice_id: str, attempt: int, again: int | None = None) -> None:
        """Say which slice the next verdict is about; `again` names a frame of the past, to be judged once more."""
        self._about = {"slice_id": slice_id, "attempt": attempt}
        self._again = again

    def trigger(self) -> PlainStatus:
        """Hand the last frame to the judge; done with its verdict, or by the policy after `timeout_s`."""
        status = PlainStatus(self)
        pixels = self.camera.last_frame
        frame = int(self.camera.read()[f"{self.camera.name}_frame"]["value"])
        # What is asked is settled here: a note for the next frame comes too late for this one.
        if self._again is not None:
            frame, asked = self._again, self._ask_again(self._again)
        elif pixels is not None:
            asked = self._judge_of(pixels, frame)
        else:
            status.set_exception(HardwareError(f"{self.name}: no frame to judge; trigger the camera first"))
            return status
        started = time.monotonic()
        decided, about = threading.Lock(), self._about
        late = threading.Timer(self.timeout_s, lambda: conclude(None))
        late.daemon = True
        future = self._pool.submit(asked)

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
                **about,
                "accepted": int(verdict.accepted),
                "reason": verdict.reason,
                "score": float(verdict.score),
                "frame": frame,
                "judge_s": time.monotonic() - started,
                "timed_out": int(done is None),
                "provisional": int(verdict.is_provisional),
                **{key: float(verdict.scores.get(key, float("nan"))) for key in self.score_names},
            }
            status.set_finished()

        late.start()
        future.add_done_callback(conclude)
        return status

    def _judge_of(self, pixels: NDArray[np.generic], frame: int) -> Callable[[], Verdict]:
        judge = self.judge
        if isinstance(judge, RememberingJudge):
            slice_id = str(self._about["slice_id"])
            return lambda: judge.see(pixels, frame, slice_id)
        return lambda: judge(pixels)

    def _ask_again(self, frame: int) -> Callable[[], Verdict]:
        judge = self.judge
        if not isinstance(judge, RememberingJudge):
            raise BadInputError(f"{self.name}: its judge remembers no frames, it cannot be asked again")
        return lambda: judge.again(frame)

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
            "provisional": "integer",
            "slice_id": "string",
            "attempt": "integer",
            **dict.fromkeys(self.score_names, "number"),
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
