"""`slices`, retakes: sections with planted faults, judged as they are taken, and taken again."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parfocal.bench._table import Row
from parfocal.devices.simulated import PlantedFault, SimulatedWorld, planted_faults

_SIDE_PX = 256
_STEP_UM = 43.0
_EXPOSURE_S = 0.05
_GOOD_UM = 2.0
_BAD_UM = 3.0


@dataclass
class Retakes:
    """What became of a run of sections.

    Attributes
    ----------
    n_faulty, n_mended : int
        Sections whose first frame was truly bad; those of them whose last frame was accepted and is truly good.
    n_good, n_retaken_good : int
        Sections whose first frame was truly good; those of them that were taken again.
    n_unclear : int
        Sections whose first frame lay between: 2 to 3 um out of focus, and no fault planted.
    overhead : float
        Time beyond the retakes themselves over the time of the same sections without an audit.
    judge_s : float
        Median seconds to a verdict.
    by_kind : dict
        Of the planted faults, by kind: (planted, rejected, named as what they are).
    """

    n_faulty: int = 0
    n_mended: int = 0
    n_good: int = 0
    n_retaken_good: int = 0
    n_unclear: int = 0
    overhead: float = 0.0
    judge_s: float = 0.0
    by_kind: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def in_words(self) -> str:
        """Return the numbers behind the two shares in one line."""
        kinds = ", ".join(f"{k} {r}/{n} rejected ({c} by name)" for k, (n, r, c) in sorted(self.by_kind.items()))
        mended, retaken = (
            interval(self.n_mended, self.n_faulty),
            interval(self.n_retaken_good, self.n_good),
        )
        return (
            f"{self.n_mended}/{self.n_faulty} faulty mended (95 %: {mended[0]:.1%} to {mended[1]:.1%}), "
            f"{self.n_retaken_good}/{self.n_good} good retaken ({retaken[0]:.1%} to {retaken[1]:.1%}), "
            f"{self.n_unclear} unclear; {kinds}; {self.overhead:.1%} time beyond the retakes, "
            f"{self.judge_s * 1e3:.1f} ms a verdict"
        )


def retake_rows(n_slices: int = 400, seed: int = 0) -> list[Row]:
    """Measure how many faulty sections are mended, how many good ones taken again, and the time that it costs."""
    found = run_sections(n_slices, seed)
    mended = 100 * found.n_mended / max(found.n_faulty, 1)
    spared = 100 * found.n_retaken_good / max(found.n_good, 1)
    return [
        Row.limited("slices/retaken-faulty", mended, 95.0, unit="%", higher_is_better=True, name=found.in_words()),
        Row.limited("slices/retaken-good", max(spared, 1e-3), 2.0, unit="%", name="at most"),
        Row.limited(
            "slices/audit-time",
            max(100 * found.overhead, 1e-3),
            15.0,
            unit="%",
            name="beyond the retakes, at most",
        ),
    ]


def run_sections(n_slices: int, seed: int = 0, share: float = 0.2) -> Retakes:
    """Image sections of a simulated sample with faults planted in a share of them, and compare with the truth.

    Time is that of a microscope with an exposure of 50 ms: the world's own for exposures and moves, the
    processor's for everything else (so that other programs on this machine do not count), but for what computes
    the images.
    """
    faults = planted_faults(n_slices, share, seed, (_SIDE_PX, _SIDE_PX))
    with _bench(n_slices, seed, {}) as (bench, places):
        plain_s = bench.run_plain(places)
    with _bench(n_slices, seed, faults) as (bench, places):
        return bench.run_audited(places, faults, plain_s)


def interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of k successes of n."""
    if n == 0:
        return 0.0, 1.0
    share, wide = k / n, z * z / n
    middle = (share + wide / 2) / (1 + wide)
    half = z * math.sqrt(share * (1 - share) / n + wide / (4 * n)) / (1 + wide)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class _Truth:
    defocus_um: float
    is_disturbed: bool

    @property
    def is_bad(self) -> bool:
        return self.is_disturbed or abs(self.defocus_um) > _BAD_UM

    @property
    def is_good(self) -> bool:
        return not self.is_disturbed and abs(self.defocus_um) < _GOOD_UM


class _Bench:
    """A simulated microscope whose images are watched: what each truly shows, and how long it took to compute."""

    def __init__(self, microscope: Any, world: SimulatedWorld) -> None:
        from bluesky import RunEngine

        self.microscope, self.world = microscope, world
        self.engine = RunEngine({})
        self.rendering_s = 0.0
        self.shown = _Truth(0.0, False)
        frame = world.scene.frame

        def watched(x_um: float, y_um: float, z_um: float, *rest: Any, **more: Any) -> Any:
            began = time.process_time()
            image = frame(x_um, y_um, z_um, *rest, **more)
            disturbance, t_s = more["disturbance"], rest[2]
            off_um = world.scene.focus_um(x_um, y_um, t_s) - z_um
            self.shown = _Truth(off_um, bool(disturbance.path_um) or disturbance.illumination is not None)
            self.rendering_s += time.process_time() - began
            return image

        world.scene.frame = watched

    def now_s(self) -> float:
        """Return the time that a microscope's clock would show."""
        return time.process_time() - self.rendering_s + self.world.now_s()

    def run_plain(self, places: list[list[float]]) -> float:
        from parfocal.plans import positions

        began = self.now_s()
        self.engine(positions(self.microscope, places, exposure_s=_EXPOSURE_S))
        return self.now_s() - began

    def run_audited(self, places: list[list[float]], faults: dict[int, PlantedFault], plain_s: float) -> Retakes:
        from parfocal.plans import acquire_sections

        told = _Told(self)
        self.engine.subscribe(told)
        began = self.now_s()
        self.engine(acquire_sections(self.microscope, places, exposure_s=_EXPOSURE_S))
        took_s = self.now_s() - began
        found = Retakes(overhead=(took_s - told.retaking_s - plain_s) / plain_s)
        found.judge_s = sorted(told.judge_s)[len(told.judge_s) // 2]
        for number in range(len(places)):
            attempts = told.of(number)
            first, last = attempts[0], attempts[-1]
            if first.truth.is_bad:
                found.n_faulty += 1
                found.n_mended += len(attempts) > 1 and last.truth.is_good and last.accepted
            elif first.truth.is_good:
                found.n_good += 1
                found.n_retaken_good += len(attempts) > 1
            else:
                found.n_unclear += 1
            if number in faults:
                kind = faults[number].kind
                counts = found.by_kind.setdefault(kind, [0, 0, 0])
                name = {"blur": "blurred", "motion": "moved", "shading": "shaded"}[kind]
                counts[0] += 1
                counts[1] += len(attempts) > 1
                counts[2] += first.reason.startswith(name)
        return found


@dataclass
class _Attempt:
    truth: _Truth
    accepted: bool = True
    reason: str = ""


class _Told:
    """What the documents say of each section, beside what was true."""

    def __init__(self, bench: _Bench) -> None:
        self._bench = bench
        self._streams: dict[str, str] = {}
        self._frames: dict[int, tuple[int, int]] = {}
        self._attempts: dict[tuple[int, int], _Attempt] = {}
        self._rejected_at_s: float | None = None
        self.retaking_s = 0.0
        self.judge_s: list[float] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
        if name != "event":
            return
        data, stream = doc["data"], self._streams[doc["descriptor"]]
        if stream == "primary":
            key = (data["point_position"], data["point_attempt"])
            self._frames[data["camera_frame"]] = key
            self._attempts[key] = _Attempt(self._bench.shown)
        elif stream == "audit":
            attempt = self._attempts[self._frames[data["audit_frame"]]]
            attempt.accepted, attempt.reason = bool(data["audit_accepted"]), data["audit_reason"]
            self.judge_s.append(data["audit_judge_s"])
            self._count_time(bool(data["audit_accepted"]))

    def _count_time(self, accepted: bool) -> None:
        """Add up the spans from a rejection to the verdict on what was taken instead."""
        now_s = self._bench.now_s()
        if self._rejected_at_s is not None:
            self.retaking_s += now_s - self._rejected_at_s
        self._rejected_at_s = None if accepted else now_s

    def of(self, number: int) -> list[_Attempt]:
        """Return the attempts at a section."""
        return [self._attempts[key] for key in sorted(self._attempts) if key[0] == number]


@contextmanager
def _bench(
    n_slices: int, seed: int, faults: dict[int, PlantedFault]
) -> Generator[tuple[_Bench, list[list[float]]]]:
    from parfocal.devices import Backend, Microscope
    from parfocal.devices.simulated import simulated_core

    core = simulated_core("nuclei", seed, (_SIDE_PX, _SIDE_PX), realtime=False)
    backend = Backend("simulated", core.camera, core.stage, core.light)
    columns = math.ceil(math.sqrt(n_slices))
    places: list[list[float]] = []
    for k in range(n_slices):
        x_um, y_um = ((k % columns) - columns / 2) * _STEP_UM, ((k // columns) - columns / 2) * _STEP_UM
        places.append([x_um, y_um, core.scene.focus_um(x_um, y_um)])
        if k in faults:
            core.plant(x_um, y_um, faults[k])
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder:
        microscope = Microscope(name="microscope", backend=backend, frames_root=Path(folder))
        try:
            yield _Bench(microscope, core), places
        finally:
            microscope.destroy()
