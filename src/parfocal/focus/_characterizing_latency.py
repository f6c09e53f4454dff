"""From the frames of `characterize_latency` to when pictures follow commands, and when frames are there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import Estimate
from parfocal.focus._characterization import Characterization
from parfocal.focus._probed import Issue, Pictures, Probed, Trace, middle_of, probe_of
from parfocal.robust import robust_sd


@dataclass
class LatencyCollector:
    """Collects frames from before a step to when all is over; see `characterizing`."""

    about: Mapping[str, Any]
    half_step_um: float
    _pictures: Pictures = field(default_factory=dict[int, list[NDArray[np.generic]]])
    _taken: dict[tuple[int, int], tuple[Probed, float, NDArray[np.generic]]] = field(
        default_factory=dict[tuple[int, int], tuple[Probed, float, NDArray[np.generic]]]
    )
    _timed: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    _seen: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        if told.part == "probe":
            if (told.side, told.number) in self._seen:
                return
            self._seen.add((told.side, told.number))
            self._pictures.setdefault(told.side, []).append(middle_of(frame))
            began_s, ended_s = t_s - told.exposure_s / 2, t_s + told.exposure_s / 2
            self._timed.append((began_s - told.asked_s, told.read_s - ended_s))
        elif told.part == "delay":
            self._taken[told.level, told.number] = (told, t_s, middle_of(frame))

    def result(self) -> Characterization:
        timed = np.array(self._timed).reshape(-1, 2)
        begins, reads = Estimate.of_middle(timed[:, 0]), Estimate.of_middle(timed[:, 1])
        numbers: dict[str, Any] = {
            "trigger_to_exposure_s": begins.value,
            "trigger_to_exposure_se_s": begins.se,
            "exposure_to_read_s": reads.value,
            "exposure_to_read_se_s": reads.se,
            "exposure_to_read_max_s": float(timed[:, 1].max()) if len(timed) else math.nan,
        }
        issues: list[Issue] = []
        rows: list[dict[str, Any]] = []
        delay = Estimate(math.nan, math.nan)
        try:
            probe = probe_of(self._pictures, self.half_step_um)
            for (level, number), (told, t_s, frame) in sorted(self._taken.items()):
                at_um = probe.displacement_um(frame)
                up = 1.0 if told.to_um > told.from_um else -1.0
                after_s = t_s - told.sent_s
                row = {"level": level, "number": number, "after_s": after_s, "at_um": at_um, "up": up, "t_s": t_s}
                rows.append(row | {"exposure_s": told.exposure_s})
            delay, share, left = delay_of(rows, self.half_step_um)
            if not (0.6 < share < 1.4 and left < 0.3):
                issues.append(
                    ("refuses", "pictures do not follow the moves: is there a sample in focus, and still?")
                )
        except BadInputError as error:
            issues.append(("refuses", f"no latency: {error}"))
        if math.isfinite(delay.value) and not -1e-3 - 3 * delay.se < delay.value:
            issues.append(
                (
                    "refuses",
                    f"frames show a move {-delay.value:.3g} s before it was sent: check the camera's clock",
                )
            )
        elif not math.isfinite(delay.value) and not issues:
            issues.append(("refuses", "no latency: the frames do not follow the moves"))
        numbers |= {"command_to_motion_s": delay.value, "command_to_motion_se_s": delay.se, "n_frames": len(rows)}
        return Characterization("latency", self.about, numbers, tuple(rows), tuple(issues))


def delay_of(rows: list[dict[str, Any]], half_step_um: float) -> tuple[Estimate, float, float]:
    """Return the time by which pictures follow commands, the share of moves that they show, and what is left.

    Time is as if moves were sudden, its error by leaving out one round after the other, and what is left is
    in half steps. The answer is fitted as a dead time and a lag of first order, each frame its mean over the
    exposure, with a steady drift of the sample and a scale of the pictures beside it; what is wild counts little.
    """
    from scipy.optimize import least_squares

    kept = [row for row in rows if math.isfinite(row["at_um"])]
    levels = sorted({row["level"] for row in kept})

    def pooled(left_out: int | None, start: NDArray[np.float64]) -> NDArray[np.float64]:
        used = [row for row in kept if row["level"] != left_out]
        at, since = np.array([row["at_um"] for row in used]), np.array([row["t_s"] for row in used])
        since -= since[0]

        def rest(p: NDArray[np.float64]) -> NDArray[np.float64]:
            return (at - _answer_um(p, used, since, half_step_um)) / half_step_um

        found = least_squares(rest, start, loss="soft_l1", f_scale=0.1, x_scale=[1.0, 1.0, 0.01, 1e-3, 0.1])
        return np.asarray(found.x, np.float64)

    if len(kept) < 8 or len(levels) < 2:
        return Estimate(math.nan, math.nan), math.nan, math.nan
    starts = [np.array([dead, lag, 0.0, 0.0, 1.0]) for dead in (0.0, 5.0) for lag in (1.0, 5.0, 20.0)]
    tried = [pooled(None, start) for start in starts]
    whole = float(np.median([p[0] + max(p[1], 0.05) for p in tried]))
    best = min(tried, key=lambda p: abs(p[0] + max(float(p[1]), 0.05) - whole))
    each = np.array([(p := pooled(level, best))[0] + max(float(p[1]), 0.05) for level in levels])
    n = len(levels)
    found = Estimate(1e-3 * whole, 1e-3 * math.sqrt((n - 1) / n * float(((each - each.mean()) ** 2).sum())))
    return found, float(best[4]), _left(kept, best, half_step_um)


def _answer_um(
    p: NDArray[np.float64], rows: list[dict[str, Any]], since_s: NDArray[np.float64], half_step_um: float
) -> NDArray[np.float64]:
    """Return where frames show the load, by dead time and lag (ms), drift (um, um/s) and scale.

    A frame shows the mean over its exposure, not the place at the middle of it: with exposures as long as the
    lag, taking the one for the other moves the answer by a millisecond.
    """
    after, up, exposure = (1e3 * np.array([row[key] for row in rows]) for key in ("after_s", "up", "exposure_s"))
    half = np.maximum(exposure, 0.01) / 2
    gone = (_gone_ms(after + half - p[0], p[1]) - _gone_ms(after - half - p[0], p[1])) / (2 * half)
    return p[4] * 1e-3 * up * half_step_um * (2 * gone - 1) + p[2] + p[3] * since_s


def _gone_ms(t_ms: NDArray[np.float64], lag_ms: float) -> NDArray[np.float64]:
    """Return the integral of the share of a step that is done, from its begin to `t_ms`."""
    lag, t = max(float(lag_ms), 0.05), np.maximum(t_ms, 0.0)
    return t + lag * np.expm1(-t / lag)


def _left(rows: list[dict[str, Any]], p: NDArray[np.float64], half_step_um: float) -> float:
    at, t = np.array([row["at_um"] for row in rows]), np.array([row["t_s"] for row in rows])
    return robust_sd(at - _answer_um(p, rows, t - t[0], half_step_um)) / half_step_um
