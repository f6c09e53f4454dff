"""From the frames and traces of `characterize_stage` to its answer to steps, its play, and which way z goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import (
    Estimate,
    StepResponse,
    backlash_um,
    cut_rois,
    find_beads,
    moments_error,
    step_response,
)
from parfocal.focus._characterization import Characterization
from parfocal.focus._probed import Issue, Pictures, Probed, Trace, middle_of, probe_of
from parfocal.imaging import MotionProbe, mean_frame

_ROI_PX = 21
_MOST_BEADS = 5
_SURE = 4.0
_FOLDS = 0.45


@dataclass
class StageCollector:
    """Collects steps, pictures of motions, and approaches from either side; see `characterizing`."""

    about: Mapping[str, Any]
    half_step_um: float
    tolerance_um: float
    beyond_focus_signal: str
    _steps: dict[int, StepResponse] = field(default_factory=dict[int, StepResponse])
    _traces: dict[int, Trace] = field(default_factory=dict[int, Trace])
    _pictures: Pictures = field(default_factory=dict[int, list[NDArray[np.generic]]])
    _sides: dict[int, tuple[int, float, NDArray[np.generic]]] = field(
        default_factory=dict[int, tuple[int, float, NDArray[np.generic]]]
    )
    _seen: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        if told.part == "step" and trace is not None:
            self._steps[told.number] = step_response(
                trace.t_s, trace.position_um, told.from_um, told.to_um, self.tolerance_um
            )
            self._traces[told.number] = trace
        elif told.part == "probe":
            if (told.side, told.number) not in self._seen:
                self._seen.add((told.side, told.number))
                self._pictures.setdefault(told.side, []).append(middle_of(frame))
        elif told.part == "side":
            self._sides[told.number] = (told.side, t_s, middle_of(frame))

    def result(self) -> Characterization:
        issues: list[Issue] = []
        numbers: dict[str, Any] = {"n_steps": len(self._steps), **self._of_steps(issues)}
        play, moved = self._play(issues)
        numbers |= {"backlash_um": play.value, "backlash_se_um": play.se}
        slope, here, n_beads = self._slope()
        # Far from focus the signal folds back, and its slope is that of the other side.
        is_sure = abs(slope.value) > _SURE * slope.se and abs(here) < _FOLDS
        numbers |= {
            "signal_slope_per_um": slope.value,
            "signal_slope_se_per_um": slope.se,
            "n_beads": n_beads,
            "expected_slope": ("positive" if slope.value > 0 else "negative") if is_sure else "unknown",
            "z_sign": 0,
        }
        if is_sure and self.beyond_focus_signal:
            # A focal plane that rises with z leaves the bead behind: its distance beyond the plane falls.
            beyond = 1 if self.beyond_focus_signal == "positive" else -1
            numbers["z_sign"] = int(-beyond * np.sign(slope.value))
        elif is_sure:
            issues.append(
                ("tells", "which way z goes to the sample is not known: tell beyond_focus_signal of the lens")
            )
        rows = [
            {"part": "step", "number": k, **asdict(step), **_thinned(self._traces[k])}
            for k, step in sorted(self._steps.items())
        ]
        rows += [
            {"part": "side", "number": k, "side": side, "t_s": t_s, "moved_um": at}
            for (k, (side, t_s, _)), at in zip(sorted(self._sides.items()), moved)
        ]
        return Characterization("stage", self.about, numbers, tuple(rows), tuple(issues))

    def _of_steps(self, issues: list[Issue]) -> dict[str, float]:
        steps = [self._steps[k] for k in sorted(self._steps)]
        found: dict[str, float] = {}
        for name in ("dead_s", "delay_s", "rise_s", "settling_s", "overshoot_um"):
            one = Estimate.of_middle([getattr(step, name) for step in steps])
            short, unit = name.rsplit("_", 1)
            found |= {name: one.value, f"{short}_se_{unit}": one.se}
        if steps:
            # How coarsely the readback was looked at does not average out where steps are alike.
            coarse = float(np.median([step.settling_se_s for step in steps]))
            for name in ("settling_se_s", "delay_se_s", "dead_se_s"):
                found[name] = math.hypot(found[name], coarse) if len(steps) > 1 else coarse
            found["settling_max_s"] = float(np.max([step.settling_s for step in steps]))
        found["noise_um"] = float(np.median([step.noise_um for step in steps])) if steps else math.nan
        found["miss_um"] = float(np.max([abs(step.miss_um) for step in steps])) if steps else math.nan
        if not steps or not math.isfinite(found["delay_s"]):
            issues.append(("refuses", "the axis did not answer the steps it was sent"))
        return found

    def _play(self, issues: list[Issue]) -> tuple[Estimate, list[float]]:
        """Return the play, and where each frame was seen to be."""
        unknown = Estimate(math.nan, math.nan)
        taken = [self._sides[k] for k in sorted(self._sides)]
        if not taken:
            return unknown, []
        try:
            probe = self._probe()
            moved = [probe.displacement_um(frame) for _, _, frame in taken]
            play = backlash_um(moved, [side for side, _, _ in taken], [t_s for _, t_s, _ in taken])
        except BadInputError as error:
            issues.append(("warns", f"no backlash: {error}"))
            return unknown, [math.nan] * len(taken)
        if play.se > 0.1 * self.half_step_um:
            issues.append(("warns", f"backlash is uncertain by {play.se:.3g} um: is there a sample in focus?"))
        return play, moved

    def _probe(self) -> MotionProbe:
        return probe_of(self._pictures, self.half_step_um)

    def _slope(self) -> tuple[Estimate, float, int]:
        """Return how the error signal of beads changes along the axis, per um, the signal, and how many beads."""
        low, high = self._pictures.get(-1, []), self._pictures.get(1, [])
        if not low or not high:
            return Estimate(math.nan, math.nan), math.nan, 0
        beads = find_beads(np.stack([mean_frame(low), mean_frame(high)]), roi_px=_ROI_PX)[:_MOST_BEADS]
        if not len(beads):
            return Estimate(math.nan, math.nan), math.nan, 0
        each: list[float] = []
        means: list[float] = []
        for before, beyond in zip(low, high):
            rois = np.concatenate([cut_rois(np.stack([before, beyond]), y, x, _ROI_PX) for y, x in beads.tolist()])
            signals = np.asarray(moments_error(rois), np.float64).reshape(len(beads), 2)
            each.append(float(np.nanmedian(signals[:, 1] - signals[:, 0])) / (2 * self.half_step_um))
            means.append(float(np.nanmedian(signals)))
        return Estimate.of(each), float(np.median(means)), len(beads)


def _thinned(trace: Trace, most: int = 120) -> dict[str, list[float]]:
    step = max(1, math.ceil(trace.t_s.size / most))
    return {"t_s": trace.t_s[::step].tolist(), "position_um": trace.position_um[::step].tolist()}
